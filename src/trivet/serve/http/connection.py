"""One HTTP/1.1 connection: bytes in, requests to the router, answers out in the order of their requests.

llhttp (through httptools) parses; it is strict about what request smuggling lives on: both Content-Length and
Transfer-Encoding, repeated or malformed lengths, bare line ends. What it leaves to us is bounded here: the size of
the head and the body, the number of headers and of pipelined requests, and the time for each.
"""

import asyncio
from collections import deque
from typing import Protocol

import httptools

from trivet.errors import BadRequestError, RequestError, TooLargeError
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.serve.http.response import response
from trivet.serve.http.router import Placeholder, Router
from trivet.wire.v2_response import error_body

# The headers that mean something to us; all others are counted and forgotten.
WANTED = frozenset(
    {
        b"accept-encoding",
        b"content-encoding",
        b"expect",
        b"inference-header-content-length",
        b"server-timing",
        b"traceparent",
        b"tracestate",
        b"x-request-id",
        b"x-trivet-configuration",
        b"x-trivet-key",
        b"x-trivet-timing",
        b"x-envoy-expected-rq-timeout-ms",
    }
)
Headers = dict[bytes, bytes]
_MAX_PIPELINED = 64
_MAX_HEADERS = 128


class HeadersTooLargeError(TooLargeError):
    status = 431


class Pending(Protocol):
    """A request whose answer is not written yet; `response` is set when it is ready before its turn."""

    response: bytes | None


class Connection(asyncio.Protocol):
    """Made by the listening socket, one for each client connection."""

    __slots__ = (
        "_began_ns",
        "_body",
        "_close_after",
        "_closing",
        "_head_bytes",
        "_headers",
        "_in_body",
        "_last_request",
        "_num_headers",
        "_parser",
        "_pending",
        "_reading_paused",
        "_router",
        "_transport",
        "_url",
        "_write_blocked",
        "active_ns",
        "received_ns",
    )

    def __init__(self, router: Router) -> None:
        self._router = router
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[Pending] = deque()
        self._url = b""
        self._body: bytes | bytearray = b""
        self._headers: Headers = {}
        self._num_headers = 0
        self._head_bytes = 0
        self._began_ns = 0  # first byte of the request that is being read; 0 between requests
        self._in_body = False
        self._last_request = False  # the client, or draining, wants the connection closed behind this answer
        self._close_after: Pending | None = None
        self._closing = False
        self._reading_paused = False
        self._write_blocked = False
        self.received_ns = 0
        self.active_ns = 0

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP and Unix sockets give one
        self.active_ns = self._router.now_ns()
        self._router.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._router.closed(self)
        for pending in self._pending:
            if isinstance(pending, Request) and pending.response is None:
                self._router.num_answered += self._router.runtime.cancel(pending)
        self._pending.clear()

    def data_received(self, data: bytes) -> None:
        self.received_ns = self._router.now_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_with(
                BadRequestError("this server speaks HTTP/1.1 only; send the request without Upgrade")
            )
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, RequestError):
                raise
            self._end_with(cause)
        except httptools.HttpParserError as error:
            self._end_with(BadRequestError(f"malformed HTTP: {error}"))

    def pause_writing(self) -> None:
        self._write_blocked = True
        self._pause_reading()

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._resume_reading()

    def eof_received(self) -> bool:
        return False

    # --- httptools callbacks ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._began_ns = self.received_ns
        self._url = b""
        self._body = b""
        self._num_headers = 0
        self._head_bytes = 0
        self._in_body = False
        if self._headers:
            self._headers = {}

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url
        if len(self._url) > self._router.limits.max_header_bytes:
            raise HeadersTooLargeError(f"the URL is longer than {self._router.limits.max_header_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self._num_headers += 1
        name = name.lower()
        if name in WANTED:
            if name in self._headers:
                raise BadRequestError(f"header {name.decode()!r} stands twice")
            self._headers[name] = value
        elif name == b"content-length":
            self._check_size(int(value))

    def on_headers_complete(self) -> None:
        self._in_body = True
        limits = self._router.limits
        if self._head_bytes > limits.max_header_bytes or self._num_headers > _MAX_HEADERS:
            raise HeadersTooLargeError(
                f"{self._num_headers} headers of {self._head_bytes} bytes; at most {_MAX_HEADERS} headers and "
                f"{limits.max_header_bytes} bytes are accepted"
            )
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._check_size(len(self._body) + len(data))
        self._body += data

    def on_message_complete(self) -> None:
        parser = self._parser
        self._began_ns = 0
        self.active_ns = self.received_ns
        if self._closing or self._last_request:
            return  # a client that asked for the end may not go on
        # Known before the answer is written, so that the answer can say it.
        self._last_request = self._router.draining or not parser.should_keep_alive()
        self._router.handle(self, parser.get_method(), self._url, self._headers, self._body)
        self._body = b""
        if len(self._pending) > _MAX_PIPELINED:
            self._pause_reading()

    # --- answers ------------------------------------------------------------------------------------------------

    def expect(self, pending: Pending) -> None:
        """Keep the place of an answer that will come later."""
        self._pending.append(pending)
        if self._last_request:
            self._close_after = pending

    def send(self, data: bytes) -> None:
        """Answer the request that is being handled, at once."""
        if self._pending or self._last_request:
            place = Placeholder()
            self._pending.append(place)
            if self._last_request:
                self._close_after = place
            self.resolve(place, data)
        elif not self._closing:
            self._transport.write(data)

    def resolve(self, pending: Pending, data: bytes) -> None:
        """The answer to an expected request; written as soon as those before it are."""
        waiting = self._pending
        if self._closing or not waiting:
            return
        if waiting[0] is not pending:
            pending.response = data
            return
        waiting.popleft()
        self._write(pending, data)
        while waiting and (data_of_next := waiting[0].response) is not None and not self._closing:
            self._write(waiting.popleft(), data_of_next)
        if self._reading_paused and len(waiting) < _MAX_PIPELINED:
            self._resume_reading()

    def _write(self, pending: Pending, data: bytes) -> None:
        if self._close_after is not pending:
            self._transport.write(data)
            return
        if b"\r\nConnection: close\r\n" not in data[:512]:
            data = data.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        self._transport.write(data)
        self._close()

    def answer(self, request: Request, results: Results, start: int) -> None:
        self._router.answered(self, request, results, start)

    def fail(self, request: Request, error: RequestError) -> None:
        self._router.failed(self, request, error)

    # --- ends ---------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """No request is being read or answered."""
        return not self._pending and not self._began_ns

    @property
    def num_pending(self) -> int:
        return len(self._pending)

    def check_time(self, now_ns: int) -> None:
        """Close if the client has been sending one request, or nothing, for longer than the limits allow."""
        limits = self._router.limits
        if self._began_ns:
            phase, limit_ns = (
                ("body", limits.body_timeout_ns) if self._in_body else ("headers", limits.header_timeout_ns)
            )
            if now_ns - self._began_ns > limit_ns:
                self.expire(408, f"the request's {phase} took longer than {limit_ns / 1e9:g} s")
        elif not self._pending and now_ns - self.active_ns > limits.idle_timeout_ns:
            self._close()

    def expire(self, status: int, message: str) -> None:
        """The client took too long: say so where an answer can still be read as one, and close."""
        if not self._pending and not self._closing:
            self._transport.write(response(status, [error_body(message)], headers=[("Connection", "close")]))
        self._close()

    def close_when_idle(self) -> None:
        """Draining: answer what has been accepted, then close."""
        if self.is_idle:
            self._close()
        else:
            self._close_when_answered()

    def _close_when_answered(self) -> None:
        if self._pending:
            self._close_after = self._pending[-1]
        elif not self._closing:
            self._close()

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._transport.close()

    def _end_with(self, error: RequestError) -> None:
        """The rest of the stream cannot be understood: answer in turn and close behind it."""
        if self._closing:
            return
        self._last_request = True
        self.send(self._router.error_bytes(error))

    def _check_size(self, size: int) -> None:
        limit = self._router.limits.max_body_bytes
        if size > limit:
            raise TooLargeError(f"the body has {size} bytes or more; at most {limit} are accepted")

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._closing:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._write_blocked and not self._closing:
            self._reading_paused = False
            self._transport.resume_reading()
