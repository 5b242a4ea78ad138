"""`infer`: from a request's body to the runtime, and from its results to an answer."""

from typing import TYPE_CHECKING, Any, NoReturn

from trivet.errors import BadRequestError, TooLargeError
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.table import LiveTable
from trivet.serve.http.encoding import SMALLEST_COMPRESSED, chosen_encoding, compress, decompress
from trivet.serve.http.response import (
    BINARY,
    JSON,
    MAX_ECHOED,
    binary_response,
    is_echoable,
    json_response,
    response,
)
from trivet.wire.tensor import Buffer, shown

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection
    from trivet.serve.http.head import Headers
    from trivet.serve.http.router import Router

_MAX_TIMEOUT_US = 3_600_000_000
_NANOSECONDS = {"us": 1_000, "ms": 1_000_000}


class Options:
    """What a request's headers ask of its answer; requests without such headers have none."""

    __slots__ = (
        "compression",
        "configuration",
        "events",
        "json_size",
        "key",
        "request_id",
        "timeout_ns",
        "timing",
        "traceparent",
    )

    def __init__(self, headers: "Headers") -> None:
        get = headers.get
        self.json_size = _count(get(b"inference-header-content-length"), "Inference-Header-Content-Length")
        self.compression = chosen_encoding(get(b"accept-encoding", b""))
        self.request_id = _echoed(get(b"x-request-id"), "X-Request-Id")
        self.traceparent = _echoed(get(b"traceparent"), "traceparent")
        self.timing = b"x-trivet-timing" in headers
        self.events = b"accept" in headers  # kept only where it asks for server-sent events
        self.key = get(b"x-trivet-key", b"")
        self.configuration = get(b"x-trivet-configuration", b"").decode("latin-1")
        budget_ms = _count(get(b"x-envoy-expected-rq-timeout-ms"), "x-envoy-expected-rq-timeout-ms")
        self.timeout_ns = min((budget_ms or 0) * 1_000, _MAX_TIMEOUT_US) * 1_000

    def headers(self) -> list[tuple[str, str]]:
        lines = []
        if self.request_id is not None:
            lines.append(("X-Request-Id", self.request_id))
        if self.traceparent is not None:
            lines.append(("traceparent", self.traceparent))
        return lines


class InferEndpoint:
    """The infer requests of one service version."""

    __slots__ = ("_max_json", "_router", "table")

    def __init__(self, router: "Router", table: LiveTable) -> None:
        self._router = router
        self._max_json = router.limits.max_json_bytes
        self.table = table

    def handle(self, connection: "Connection", headers: "Headers", body: bytes | bytearray) -> None:
        """Raises: RequestError: the request was not accepted; nothing has been answered yet."""
        json_size = None
        if headers:
            json_size = _only_json_size(headers)
            if json_size is None:
                self._handle_with_options(connection, headers, body)
                return
        if (len(body) if json_size is None else json_size) > self._max_json:
            self._refuse_json(body, json_size)
        live = self.table.only or self.table.pick(b"")
        message = live.decoder.decode(body, json_size)
        timeout_ns, priority = (0, 0) if message.parameters is None else _parameters(message.parameters)
        router = self._router
        request = live.request(
            message, connection.began_ns, router.now_ns(), timeout_ns, priority, connection
        )
        router.num_accepted += 1
        connection.expect(request)
        router.runtime.submit(request)

    def _handle_with_options(
        self, connection: "Connection", headers: "Headers", body: bytes | bytearray
    ) -> None:
        options = Options(headers)
        encoding = headers.get(b"content-encoding")
        data: Any = body
        if encoding is not None:
            data = decompress(body, encoding, self._router.limits.max_decompressed_bytes)
        if (len(data) if options.json_size is None else options.json_size) > self._max_json:
            self._refuse_json(data, options.json_size)
        live = self.table.pick(options.key or headers.get(b"x-request-id", b""))
        if options.configuration:
            chosen = self.table.by_hash(options.configuration)
            if chosen is None:
                raise BadRequestError(f"no live configuration has the hash {shown(options.configuration)}")
            live = chosen
        message = live.decoder.decode(data, options.json_size)
        timeout_ns, priority = _parameters(message.parameters or {})
        router = self._router
        request = live.request(
            message,
            connection.began_ns,
            router.now_ns(),
            timeout_ns or options.timeout_ns,
            priority,
            connection,
        )
        request.options = options
        router.num_accepted += 1
        connection.expect(request)
        router.runtime.submit(request)

    def _refuse_json(self, body: Buffer, json_size: int | None) -> NoReturn:
        size = len(body) if json_size is None else json_size
        raise TooLargeError(
            f"the JSON has {size} bytes; at most {self._max_json} are read (limits.max_json): send large tensors as "
            "binary, with Inference-Header-Content-Length"
        )


def encode_answer(request: Request, results: Results, start: int, encode_from_ns: int) -> bytes:
    """The HTTP answer to a request.

    Raises: BadRequestError: an output cannot travel as the request wants it.
    """
    live, message, options = request.live, request.message, request.options
    if options is None and request.rows == 1:
        if message.binary_outputs is not False:
            row = live.encoder.binary_row(results.raw, start, message) if results.batch_axis else None
            if row is not None:
                return binary_response(*row)
        elif live.json_rows and message.outputs is None and results.batch_axis:
            body = live.encoder.json_row(results.rows(), start, message.id)
            if body is not None:
                return json_response(body)
    parts, json_size = live.encoder.encode(results.part(start, request.rows), message)
    if options is None:
        return response(200, parts, *_content(json_size))
    return _with_options(request, options, parts, json_size, encode_from_ns)


def encode_chunk(request: Request, results: Results) -> bytes:
    """One chunk of a streaming answer: a whole V2 answer in JSON.

    Raises: BadRequestError: an output cannot travel as JSON.
    """
    parts, _ = request.live.encoder.encode(results.outputs, request.message)
    return b"".join(parts)


def stream_headers(request: Request, encode_from_ns: int) -> list[tuple[str, str]]:
    """What a streaming answer says before its first chunk; the times are those until then."""
    options: Options | None = request.options
    if options is None:
        return []
    headers = options.headers()
    if options.timing:
        headers.append(("Server-Timing", server_timing(request, encode_from_ns)))
    return headers


def _content(json_size: int | None) -> tuple[str, list[tuple[str, str]]]:
    if json_size is None:
        return JSON, []
    return BINARY, [("Inference-Header-Content-Length", str(json_size))]


def _with_options(
    request: Request, options: Options, parts: list[Any], json_size: int | None, encode_from_ns: int
) -> bytes:
    content_type, headers = _content(json_size)
    headers += options.headers()
    if options.compression and sum(len(part) for part in parts) >= SMALLEST_COMPRESSED:
        parts = [compress(b"".join(parts), options.compression)]
        headers.append(("Content-Encoding", options.compression.decode()))
    if options.timing:
        headers.append(("Server-Timing", server_timing(request, encode_from_ns)))
    return response(200, parts, content_type, headers)


def server_timing(request: Request, encode_from_ns: int) -> str:
    """Phases in milliseconds, as the W3C header wants them, with the configuration and the batch they ran in."""
    phases = (
        ("parse", request.arrival_ns - request.received_ns),
        ("queue", request.started_ns - request.arrival_ns),
        ("compute", request.ended_ns - request.started_ns),
        ("encode", encode_from_ns - request.ended_ns),
    )
    timings = [f"{name};dur={duration_ns / 1e6:.3f}" for name, duration_ns in phases]
    return ", ".join(
        [*timings, f"batch;desc={request.batch_rows}", f"configuration;desc={request.live.hash[:12]}"]
    )


def _only_json_size(headers: "Headers") -> int | None:
    """The size of the JSON part, where that is all that the headers ask for."""
    value = headers.get(b"inference-header-content-length")
    return None if value is None or len(headers) > 1 else _count(value, "Inference-Header-Content-Length")


def _parameters(parameters: dict[str, Any]) -> tuple[int, int]:
    """(timeout in ns, priority) from a request's parameters; 0 where they are not given."""
    timeout_us = parameters.get("timeout", 0)
    if (
        isinstance(timeout_us, bool)
        or not isinstance(timeout_us, int)
        or not 0 <= timeout_us <= _MAX_TIMEOUT_US
    ):
        raise BadRequestError(
            f"parameter timeout is {shown(timeout_us)}; expected microseconds from 0 (the default) to {_MAX_TIMEOUT_US}"
        )
    priority = parameters.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= 100:
        raise BadRequestError(
            f"parameter priority is {shown(priority)}; expected 1 (highest) to 100, or 0 for the default"
        )
    return timeout_us * 1_000, priority


def _count(value: bytes | None, name: str) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise BadRequestError(f"header {name} is {value[:40]!r}; expected a count")
    return int(value)


def _echoed(value: bytes | None, name: str) -> str | None:
    if value is None:
        return None
    if not is_echoable(value):
        raise BadRequestError(
            f"header {name} is {value[:40]!r}; expected at most {MAX_ECHOED} printable ASCII characters"
        )
    return value.decode("ascii")
