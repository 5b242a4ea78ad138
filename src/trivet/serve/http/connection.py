"""One HTTP/1.1 connection: bytes in, requests to the router, answers out in the order of their requests.

llhttp (through httptools) parses; it is strict about what request smuggling lives on: both Content-Length and
Transfer-Encoding, repeated or malformed lengths, bare line ends. What it leaves to us is bounded here: the size of
the head and the body, the number of headers and of pipelined requests, and the time for each.

Rule for maintainers: once `_last_request` is set nothing more of the stream is read, or an answer would be sent that
no request asked for and every later answer would be taken for another request's.
"""

import asyncio
import traceback
from collections import deque
from typing import Protocol

import httptools

from trivet.errors import BadRequestError, RequestError, TooLargeError, UnsupportedError
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.serve.http.router import Placeholder, Router

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
        b"upgrade",
        b"x-request-id",
        b"x-trivet-configuration",
        b"x-trivet-key",
        b"x-trivet-timing",
        b"x-envoy-expected-rq-timeout-ms",
    }
)
_CHUNKED = b"chunked"
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
# Each header that matters under its usual spellings, and the most common of those that do not: most requests find all
# their headers here and need not be folded to lower case.
_FORGOTTEN = b""
_KINDS = {
    spelling: name
    for name in (*WANTED, *_FRAMING)
    for spelling in (name, name.title(), name.title().replace(b"Id", b"ID"))
} | {
    spelling: _FORGOTTEN
    for name in (b"host", b"user-agent", b"accept", b"content-type")
    for spelling in (name, name.title())
}
Headers = dict[bytes, bytes]
_MAX_PIPELINED = 64
# How long a client that is refused in the middle of its request may go on sending before it is cut off. Closing at
# once would reset the connection under what it has sent, and the reset may overtake the answer.
_LINGER_NS = 2_000_000_000


class HeadersTooLargeError(TooLargeError):
    status = 431


class SlowClientError(RequestError):
    status = 408


class HttpVersionError(RequestError):
    status = 505


class UnexpectedError(RequestError):
    """A mistake of ours; the log has the traceback."""

    status = 500


class Pending(Protocol):
    """A request whose answer is not written yet; `response` is set when it is ready before its turn."""

    response: bytes | None


class Connection(asyncio.Protocol):
    """Made by the listening socket, one for each client connection."""

    __slots__ = (
        "_body",
        "_close_after",
        "_closing",
        "_framing",
        "_head_bytes",
        "_headers",
        "_in_body",
        "_last_request",
        "_lingers",
        "_num_headers",
        "_parser",
        "_pending",
        "_phase_ns",
        "_quiet_bytes",
        "_reading_paused",
        "_router",
        "_transport",
        "_url",
        "_whole",
        "_write_blocked",
        "active_ns",
        "began_ns",
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
        self._framing = b""  # where the body being read ends: its length as sent, or `chunked`
        self.began_ns = 0  # first byte of the request that is being read; 0 between requests
        self._phase_ns = 0  # since when its head, or its body, is being read
        self._quiet_bytes = 0  # bytes of it that no callback has seen yet
        self._in_body = False
        self._last_request = False  # the client, or draining, wants the connection closed behind this answer
        self._close_after: Pending | None = None
        self._closing = False
        self._whole = b""  # what was read at once from the beginning of a request; empty in the middle of one
        self._lingers = False  # closing waits until the client has stopped sending
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
                self._router.left(pending)
        self._pending.clear()

    def data_received(self, data: bytes) -> None:
        if self._last_request or self._closing:
            return
        self.received_ns = self._router.now_ns()
        if not self.began_ns and self._is_known(data):
            return
        while data:
            rest = b""
            try:
                self._whole = b"" if self.began_ns else data
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as end:
                rest = self._without_upgrade(data[end.args[0] :])
            except httptools.HttpParserCallbackError as error:
                self._end_with(self._cause(error))
            except httptools.HttpParserError as error:
                self._end_with(BadRequestError(f"malformed HTTP: {error}"))
            else:
                if self.began_ns:
                    self._count_quiet(len(data))
            data = rest

    def _is_known(self, data: bytes) -> bool:
        """Handle a whole request whose head has been parsed before, byte for byte; False: it has to be parsed."""
        router = self._router
        end = data.find(b"\r\n\r\n") + 4
        head = router.heads.get(data[:end])
        if head is None or len(data) != end + head.body_size or router.draining:
            return False
        self.began_ns = self.active_ns = self.received_ns
        try:
            router.handle_infer(self, head.endpoint, head.headers, data[end:])
        except Exception as error:  # the parser's callbacks are caught in `data_received`
            self._end_with(self._unexpected(error))
        self.began_ns = 0
        if len(self._pending) > _MAX_PIPELINED:
            self._pause_reading()
        return True

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
        self.began_ns = self._phase_ns = self.received_ns
        self._url = b""
        self._body = b""
        self._num_headers = 0
        self._head_bytes = 0
        self._quiet_bytes = -1
        self._in_body = False
        if self._headers:
            self._headers = {}

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url
        if len(self._url) > self._router.limits.max_header_bytes:
            raise HeadersTooLargeError(f"the URL is longer than {self._router.limits.max_header_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4  # a colon, a space, and the line's end
        self._num_headers += 1
        if self._in_body:  # a trailer, which nobody here asked for; counted like a header
            self._check_head()
            return
        kind = _KINDS.get(name)
        if kind is None:
            kind = _KINDS.get(name.lower(), _FORGOTTEN)
        if kind is not _FORGOTTEN:
            self._take_header(kind, value)

    def _take_header(self, name: bytes, value: bytes) -> None:
        if name in WANTED:
            if name in self._headers:
                raise BadRequestError(f"header {name.decode()!r} stands twice")
            self._headers[name] = value
        elif name == b"content-length":
            self._check_size(int(value))
            self._framing = value
        elif name == b"transfer-encoding":
            self._check_coding(value)
            self._framing = _CHUNKED
        elif self._parser.get_http_version() != "1.1":  # connection
            self._headers[name] = value  # keep-alive as HTTP/1.0 knew it, which is not offered

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._phase_ns = self.received_ns
        self._quiet_bytes = -1
        self._check_head()
        if self._headers and self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._go_on()

    def on_body(self, data: bytes) -> None:
        self._quiet_bytes = -1
        self._check_size(len(self._body) + len(data))
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def on_message_complete(self) -> None:
        parser, headers = self._parser, self._headers
        if self._closing or self._last_request:
            return  # a client that asked for the end may not go on
        if headers and b"upgrade" in headers and parser.should_upgrade():
            return  # not complete at all: see _go_on_without_upgrade
        # Known before the answer is written, so that the answer can say it.
        if not parser.should_keep_alive() or (headers and b"connection" in headers):
            self._check_version()
            self._last_request = True
        elif self._router.draining:
            self._last_request = True
        self._router.handle(self, parser.get_method(), self._url, headers, self._body)
        if self._whole and not self._last_request:
            self._router.remember(self._whole, parser.get_method(), self._url, headers, self._framing)
        self.began_ns = 0
        self.active_ns = self.received_ns
        self._body = self._framing = b""
        if len(self._pending) > _MAX_PIPELINED:
            self._pause_reading()

    # --- what llhttp leaves to us -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """The client waits for leave to send its body. HTTP/1.0 does not know that; pipelined, the answers due
        before would have to come first, and a client must not wait for ever."""
        if not self._pending and not self._last_request and self._parser.get_http_version() != "1.0":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _without_upgrade(self, rest: bytes) -> bytes:
        """What to read next behind a request that offers to upgrade, as Java's HTTP client does with its first.

        A server may ignore the offer, but llhttp stops before such a request's body: a fresh parser reads the
        body behind an equal head without the offer.
        """
        if self._closing or self._last_request:
            return b""
        if b"upgrade" not in self._headers:  # CONNECT: has been answered; what follows is for nobody here
            self._last_request = True
            self._close_when_answered()
            return b""
        began_ns, old = self.began_ns, self._parser
        lines = [b"%b %b HTTP/1.1" % (old.get_method(), self._url)]
        if self._framing:
            is_chunked = self._framing is _CHUNKED
            lines.append((b"Transfer-Encoding: " if is_chunked else b"Content-Length: ") + self._framing)
        if not old.should_keep_alive() or b"connection" in self._headers:
            lines.append(b"Connection: close")
        headers = {name: value for name, value in self._headers.items() if name != b"upgrade"}
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"\r\n".join([*lines, b""]))
        self.began_ns, self._headers = began_ns, headers
        return b"\r\n" + rest

    def _count_quiet(self, size: int) -> None:
        """A header, a chunk extension or a trailer that never ends reaches no callback: bounded here.

        What came together with the last callback (-1) is no more than one read from the socket.
        """
        self._quiet_bytes = 0 if self._quiet_bytes < 0 else self._quiet_bytes + size
        limit = self._router.limits.max_header_bytes
        if self._quiet_bytes > limit:
            self._end_with(
                HeadersTooLargeError(f"a header, trailer or chunk extension of more than {limit} bytes")
            )

    def _check_head(self) -> None:
        limits = self._router.limits
        size = self._head_bytes + len(self._url)
        if size > limits.max_header_bytes or self._num_headers > limits.max_headers:
            raise HeadersTooLargeError(
                f"{self._num_headers} headers, with the URL {size} bytes; at most {limits.max_headers} headers "
                f"and {limits.max_header_bytes} bytes are accepted"
            )

    def _check_coding(self, value: bytes) -> None:
        if self._parser.get_http_version() == "1.0":
            raise BadRequestError("Transfer-Encoding in HTTP/1.0: where the request ends cannot be told")
        if value.strip().lower() != _CHUNKED:
            raise UnsupportedError(f"Transfer-Encoding is {value[:80]!r}; only chunked is understood")

    def _cause(self, error: httptools.HttpParserCallbackError) -> RequestError:
        """What went wrong in one of our callbacks."""
        cause = error.__context__
        return cause if isinstance(cause, RequestError) else self._unexpected(error)

    def _unexpected(self, error: Exception) -> RequestError:
        """A mistake of ours: the client is told that it is one, the log says which."""
        self._router.complain("".join(traceback.format_exception(error)))
        return UnexpectedError("the server failed on this request; its log has the details")

    def _check_version(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise HttpVersionError(f"HTTP/{version} is not spoken here; send HTTP/1.1")

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
        return not self._pending and not self.began_ns

    @property
    def num_pending(self) -> int:
        return len(self._pending)

    def check_time(self, now_ns: int) -> None:
        """Close if the client has been sending one request, or nothing, for longer than the limits allow."""
        limits = self._router.limits
        if self._closing:
            if self._lingers and now_ns - self.active_ns > _LINGER_NS:
                self._transport.abort()
        elif self.began_ns:
            phase, limit_ns = (
                ("body", limits.body_timeout_ns) if self._in_body else ("headers", limits.header_timeout_ns)
            )
            if now_ns - self._phase_ns > limit_ns:
                self._end_with(
                    SlowClientError(f"the request's {phase} took longer than {limit_ns / 1e9:g} s")
                )
        elif not self._pending and now_ns - self.active_ns > limits.idle_timeout_ns:
            self._close()

    def refuse(self, error: RequestError) -> None:
        """Nothing is read from this client."""
        self._end_with(error)

    def close_when_idle(self) -> None:
        """Draining: answer what has been accepted, then close."""
        if self._closing:
            self._transport.close()  # no more lingering
        elif self.is_idle:
            self._close()
        else:
            self._close_when_answered()

    def _close_when_answered(self) -> None:
        if self._pending:
            self._close_after = self._pending[-1]
        elif not self._closing:
            self._close()

    def _close(self) -> None:
        if self._closing:
            return
        if self._lingers:
            self._resume_reading()
            self._closing = True
            self.active_ns = self._router.now_ns()
            if not self._transport.is_closing():
                self._transport.write_eof()
        else:
            self._closing = True
            self._transport.close()

    def _end_with(self, error: RequestError) -> None:
        """The rest of the stream cannot be understood: answer in turn and close behind it."""
        if self._closing or self._last_request:
            return
        self._last_request = self._lingers = True
        self.began_ns = 0
        self._body = b""
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
