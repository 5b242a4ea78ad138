"""From the results of an `infer` request to the bytes of its answer."""

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trivet.runtime.live_exits import exit_word
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.serve.http.encoding import SMALLEST_COMPRESSED, compress
from trivet.serve.http.noted import note_timing, noted_encoder
from trivet.serve.http.options import Options
from trivet.serve.http.response import binary_answer, event_answer, json_answer, json_response
from trivet.wire.tensor import Buffer

if TYPE_CHECKING:
    from trivet.serve.http.openai.dialect import Dialect


def encode_answer(request: Request, results: Results, start: int, encode_from_ns: int) -> bytes:
    """The HTTP answer to a request.

    Raises: BadRequestError: an output cannot travel as the request wants it.
    """
    live, message, options = request.live, request.message, request.options
    if options is not None and options.dialect is not None:
        return _in_dialect(request, results, start, encode_from_ns)
    headers = b"" if options is None else _headers(request, results, options, encode_from_ns)
    if request.notes is not None:
        encoder, said = noted_encoder(request)
        headers += said
    else:
        encoder = live.encoder if live.exits is None else live.exits.encoder(request)
    parts: Sequence[Buffer]
    if request.rows == 1 and results.batch_axis:
        if message.binary_outputs is not False:
            row = encoder.binary_row(results.raw, start, message)
            if row is not None:
                json_size, body = row
                return _answer(options, [body], json_size, headers)
        elif live.json_rows and message.outputs is None:
            text = encoder.json_row(results.rows(), start, message.id)
            if text is not None:
                if options is None or not options.compression or len(text) < SMALLEST_COMPRESSED:
                    return json_response(text, headers)
                return _answer(options, [text], None, headers)
    parts, size = encoder.encode(results.part(start, request.rows), message)
    return _answer(options, parts, size, headers)


def _in_dialect(request: Request, results: Results, start: int, encode_from_ns: int) -> bytes:
    options: Options = request.options
    dialect: Dialect = options.dialect  # type: ignore[assignment]  # its caller has looked
    outputs = results.part(start, request.rows)
    headers = _headers(request, results, options, encode_from_ns)
    if request.notes is not None:
        headers += noted_encoder(request)[1]
    if options.events:
        return event_answer(dialect.events(outputs), headers)
    return _answer(options, [dialect.whole(outputs)], None, headers)


def _headers(request: Request, results: Results, options: Options, encode_from_ns: int) -> bytes:
    if not options.timing:
        return options.echoed
    return options.echoed + server_timing(request, results, encode_from_ns)


def _answer(options: Options | None, parts: Sequence[Buffer], json_size: int | None, headers: bytes) -> bytes:
    if (
        options is not None
        and options.compression
        and sum([len(part) for part in parts]) >= SMALLEST_COMPRESSED
    ):
        parts = [compress(b"".join(parts), options.compression)]
        headers += b"Content-Encoding: %b\r\n" % options.compression
    return json_answer(parts, headers) if json_size is None else binary_answer(parts, json_size, headers)


def encode_chunk(request: Request, results: Results) -> bytes | None:
    """One chunk of a streaming answer: a whole V2 answer in JSON, or what another dialect says; None: nothing yet.

    Raises: BadRequestError: an output cannot travel as JSON.
    """
    options: Options | None = request.options
    if options is not None and options.dialect is not None:
        return options.dialect.piece(results.outputs)
    encoder = request.live.encoder if request.notes is None else noted_encoder(request)[0]
    parts, _ = encoder.encode(results.outputs, request.message)
    return b"".join(parts)


def stream_headers(request: Request, encode_from_ns: int) -> bytes:
    """What a streaming answer says before its first chunk, whole lines; the times are those until then."""
    options: Options | None = request.options
    headers = b"" if options is None else _headers(request, Results({}, False, 1), options, encode_from_ns)
    return headers if request.notes is None else headers + noted_encoder(request)[1]


def server_timing(request: Request, results: Results, encode_from_ns: int) -> bytes:
    """Phases in milliseconds, as the W3C header wants them, with the configuration and the batch they ran in."""
    if not results.said:  # the same for all requests of the batch
        results.said = b"compute;dur=%.3f, batch;desc=%d, configuration;desc=%b\r\n" % (
            (request.ended_ns - request.started_ns) / 1e6,
            request.batch_rows,
            request.live.short_hash,
        )
    exits = b"" if request.live.exits is None else b"exit;desc=%b, " % _token(exit_word(request))
    notes = b"" if request.notes is None else note_timing(request.notes)
    if request.live.costing is not None:
        notes += b"cost;desc=%d, " % (0 if request.notes is None else request.notes.cost_nano)
    return b"Server-Timing: parse;dur=%b, queue;dur=%b, encode;dur=%b, %b%b%b" % (
        _MILLISECONDS[(request.arrival_ns - request.received_ns) // 1000],
        _MILLISECONDS[(request.started_ns - request.arrival_ns) // 1000],
        _MILLISECONDS[(encode_from_ns - request.ended_ns) // 1000],
        exits,
        notes,
        results.said,
    )


@functools.lru_cache(maxsize=1024)
def _token(word: str) -> bytes:
    """A word that may stand in a header's value as it is; what may not is replaced."""
    return _NO_TOKEN.sub("_", word).encode()


_NO_TOKEN = re.compile(r"[^A-Za-z0-9._+-]")


class _Milliseconds(dict[int, bytes]):
    """Microseconds -> the same in milliseconds, as text. Most phases are short, so few texts are written anew."""

    def __missing__(self, us: int) -> bytes:
        text = b"%.3f" % (us / 1000)
        if 0 <= us < _KEPT_US:
            self[us] = text
        return text


_KEPT_US = 10_000
_MILLISECONDS = _Milliseconds()
