"""The caller's place in a trace, from the W3C header `traceparent`. Source: Trace Context, level 1, section 3.2."""

import re
from dataclasses import dataclass

# version - trace id - parent id - flags; ids of only zeros and version ff are not valid; versions after 00 may go on.
_PATTERN = re.compile(
    r"(?!ff|00-.{52}-)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)
_RECORDED = 1


@dataclass(frozen=True, slots=True)
class Caller:
    """`records`: the caller keeps this trace (the flag «sampled»)."""

    trace_id: int
    span_id: int
    records: bool


def caller_of(traceparent: str) -> Caller | None:
    """None: no such header, or one that is not valid; the request then begins a trace of its own."""
    found = _PATTERN.fullmatch(traceparent)
    if found is None:
        return None
    return Caller(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _RECORDED))
