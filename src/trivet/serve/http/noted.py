"""What an answer says of a request that took another way than its pipeline: parameters, headers, Server-Timing, counts."""

import functools
import re
from typing import TYPE_CHECKING

from trivet.runtime.notes import Notes
from trivet.wire.v2_response import ResponseEncoder

if TYPE_CHECKING:
    from trivet.runtime.request import Request

# Clients cause some of the combinations (rows that part ways): of ever new ones only so many are remembered.
_MAX_ENCODERS = 256
_NO_VALUE = re.compile(r"[^A-Za-z0-9._:/+-]")


def noted_encoder(request: "Request") -> tuple[ResponseEncoder, bytes]:
    """What writes an answer with the parameters `cache`, `instead`, `upstream` and `attempts`, where they say something;
    and the headers that say the same, whole lines.
    """
    live, notes = request.live, request.notes
    assert notes is not None  # who asks has looked
    answered_by = ""
    if live.exits is not None:
        answered_by = request.exit if isinstance(request.exit, str) else ",".join(request.exit)
    attempts = _attempts(notes)
    key = (answered_by, notes.cache, notes.instead, notes.upstream, attempts)
    found = live.noted_encoders.get(key)
    if found is None:
        if len(live.noted_encoders) >= _MAX_ENCODERS:
            live.noted_encoders.clear()
        words = {"cache": notes.cache, "instead": notes.instead, "upstream": notes.upstream}
        said: dict[str, str | int] = {name: word for name, word in words.items() if word}
        if attempts:
            said["attempts"] = attempts
        found = (live.encoder_saying(answered_by, said), _headers(*key[1:]))
        live.noted_encoders[key] = found
    return found


def note_timing(notes: Notes) -> bytes:
    """Members of a Server-Timing header, each with a comma behind it."""
    return _timing(notes.cache, notes.instead, notes.upstream, _attempts(notes))


def _attempts(notes: Notes) -> int:
    """The tries that are told of: one alone is nothing to tell, and is 0 here."""
    return notes.attempts if notes.attempts > 1 else 0


def count_notes(request: "Request") -> None:
    """An answer was given that another way has led to. Caches count their own."""
    notes, counts = request.notes, request.live.counts
    assert notes is not None  # as above
    if notes.instead:
        counts.add("trivet_instead_total", instead=notes.instead)
    if notes.upstream:
        counts.add("trivet_upstream_answers_total", upstream=notes.upstream)


def _headers(cache: str, instead: str, upstream: str, attempts: int) -> bytes:
    words = (("Cache", cache), ("Instead", instead), ("Upstream", upstream), ("Attempts", _number(attempts)))
    return "".join([f"X-Trivet-{name}: {_value(word)}\r\n" for name, word in words if word]).encode("ascii")


@functools.lru_cache(maxsize=1024)
def _timing(cache: str, instead: str, upstream: str, attempts: int) -> bytes:
    words = (("cache", cache), ("instead", instead), ("upstream", upstream), ("attempts", _number(attempts)))
    return "".join([f'{name};desc="{_value(word)}", ' for name, word in words if word]).encode("ascii")


def _number(attempts: int) -> str:
    return str(attempts) if attempts else ""


def _value(word: str) -> str:
    """What may stand in a header as it is; what may not is replaced."""
    return _NO_VALUE.sub("_", word)
