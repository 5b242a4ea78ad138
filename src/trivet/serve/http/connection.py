"""One HTTP/1.1 connection: bytes in, requests to the router, answers out in the order of their requests.

What a request is, is for `reader.py` to say; here stand the answers' order, back-pressure both ways, the time for each
thing, and the ends.

Rule for maintainers: once `_last_request` is set nothing more of the stream is read, or an answer would be sent that
no request asked for and every later answer would be taken for another request's.
"""

import asyncio
from collections import deque
from typing import Protocol

from trivet.errors import RequestError
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.serve.http.head import SlowClientError
from trivet.serve.http.reader import RequestReader, unexpected
from trivet.serve.http.response import closing
from trivet.serve.http.router import Placeholder, Router
from trivet.serve.http.streamed import StreamedAnswer

# Requests of one connection that are being answered; the others wait unread, or unparsed.
MAX_PIPELINED = 64
# How long a client that is refused in the middle of its request may go on sending before it is cut off. Closing at
# once would reset the connection under what it has sent, and the reset may overtake the answer.
_LINGER_NS = 2_000_000_000
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Pending(Protocol):
    """A request whose answer is not written yet; `response` is set when it is ready before its turn."""

    response: bytes | None


class Connection(asyncio.Protocol):
    """Made by the listening socket, one for each client connection."""

    __slots__ = (
        "_blocked_ns",
        "_close_after",
        "_closing",
        "_is_feeding",
        "_is_http_1_0",
        "_last_request",
        "_lingers",
        "_pending",
        "_reader",
        "_reading_paused",
        "_router",
        "_streams",
        "_transport",
        "_unread",
        "_write_blocked",
        "active_ns",
        "began_ns",
        "received_ns",
    )

    def __init__(self, router: Router) -> None:
        self._router = router
        self._reader = RequestReader(self, router)
        self._pending: deque[Pending] = deque()
        self._streams: dict[
            Pending, StreamedAnswer
        ] = {}  # answers in chunks that are not written to their end
        self._unread = b""  # what was read and may not be parsed yet
        self._is_feeding = False
        self._last_request = False  # the client, or draining, wants the connection closed behind this answer
        self._is_http_1_0 = False  # the last request is
        self._close_after: Pending | None = None
        self._closing = False
        self._lingers = False  # closing waits until the client has stopped sending
        self._reading_paused = False
        self._write_blocked = False
        self._blocked_ns = 0  # since when
        self.began_ns = 0  # first byte of the request that is being read; 0 between requests
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
        self._cancel_pending()

    def data_received(self, data: bytes) -> None:
        if self._last_request or self._closing:
            return
        self.received_ns = self._router.now_ns()
        if not self.began_ns and self._is_known(data):
            return
        self._feed(data)

    def _is_known(self, data: bytes) -> bool:
        """Handle a whole request whose head has been parsed before, byte for byte; False: it has to be parsed."""
        router = self._router
        end = data.find(b"\r\n\r\n") + 4
        head = router.heads.get(data[:end])
        if head is None or len(data) != end + head.body_size or router.draining or self._unread:
            return False
        self.began_ns = self.active_ns = self.received_ns
        try:
            router.handle_infer(self, head.endpoint, head.headers, data[end:])
        except Exception as error:  # the parser's callbacks are caught in `reader.py`
            self.end_with(unexpected(router, error))
        self.began_ns = 0
        if len(self._pending) >= MAX_PIPELINED:
            self._pause_reading()
        return True

    def _feed(self, data: bytes) -> None:
        """Have what was read parsed, as far as its requests may be admitted now; the rest waits in `_unread`."""
        if self._unread:
            self._unread += data
            return
        reader = self._reader
        reader.begin(data)
        self._is_feeding = True
        at = 0
        while at < len(data) and not self.has_ended:
            if self._is_full:
                self._unread = data[at:]
                break
            size = reader.next_size(data, at)
            reader.feed(data if size == len(data) else data[at : at + size])
            at += size
        self._is_feeding = False
        if self._is_full:
            self._pause_reading()

    @property
    def _is_full(self) -> bool:
        return len(self._pending) >= MAX_PIPELINED or self._write_blocked

    def pause_writing(self) -> None:
        self._write_blocked = True
        self._blocked_ns = self._router.now_ns()
        self._pause_reading()

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._write_due()
        self._resume_reading()

    def eof_received(self) -> bool:
        """The client sends no more. True: it may have left, or it may be waiting for its answers."""
        if self._closing or not self._pending:
            return False
        self.close_when_answered()
        if not self._router.hangups.watch(self, self._transport):
            return False
        # A client that has left answers this with a reset, one that waits for its answer passes over it.
        if not (self._write_blocked or self._is_http_1_0 or self._pending[0] in self._streams):
            self._transport.write(_CONTINUE)
        return True

    # --- what the reader tells ----------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Nothing more is read as a request."""
        return self._last_request or self._closing

    def take_no_more(self, *, is_http_1_0: bool = False) -> None:
        """The request that is being handed over is the last."""
        self._last_request = True
        self._is_http_1_0 = is_http_1_0

    def go_on(self) -> None:
        """The client waits for leave to send its body. Pipelined, the answers due before would have to come first,
        and a client must not wait for ever.
        """
        if not self._pending and not self._last_request:
            self._transport.write(_CONTINUE)

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
        if waiting:
            self._write_due()
        if self._reading_paused and len(waiting) < MAX_PIPELINED:
            self._resume_reading()

    def _write_due(self) -> None:
        """Write the answers that are ready and have no other before them."""
        waiting = self._pending
        while waiting and not self._closing:
            first = waiting[0]
            if first.response is None:
                stream = self._streams.get(first)
                if stream is not None:
                    stream.flush()  # its end brings us here again
                return
            waiting.popleft()
            self._write(first, first.response)

    def _write(self, pending: Pending, data: bytes) -> None:
        if self._close_after is not pending:
            self._transport.write(data)
            return
        self._transport.write(closing(data))
        self._close()

    def answer(self, request: Request, results: Results, start: int) -> None:
        self._router.answered(self, request, results, start)

    def fail(self, request: Request, error: RequestError) -> None:
        self._router.failed(self, request, error)

    # --- answers in chunks --------------------------------------------------------------------------------------

    def chunk(self, request: Request, results: Results) -> None:
        self._router.chunk(self, request, results)

    def ended(self, request: Request, error: RequestError | None) -> None:
        self._router.stream_ended(self, request, error)

    def stream(self, request: Request) -> StreamedAnswer:
        """The answer to `request` in chunks, begun with the first call."""
        found = self._streams.get(request)
        if found is None:
            # Nothing can come behind a request of HTTP/1.0: it is the last, and the end of its answer is the
            # connection's.
            is_chunked = not (self._is_http_1_0 and self._close_after is request)
            found = self._streams[request] = StreamedAnswer(self, request, is_chunked)
        return found

    def has_begun(self, request: Request) -> bool:
        """Part of the answer has been sent, or is on its way: its status cannot be changed."""
        return request in self._streams

    def may_write(self, pending: Pending) -> bool:
        """It is this one's turn, and the client reads."""
        return (
            not (self._write_blocked or self._closing) and bool(self._pending) and self._pending[0] is pending
        )

    def write_part(self, pending: Pending, data: bytes, *, is_head: bool) -> None:
        """Args: is_head: `data` begins an answer."""
        is_last = self._close_after is pending
        self._transport.write(closing(data) if is_head and is_last else data)

    def finish(self, pending: Pending, *, is_whole: bool) -> None:
        """The last part of an answer has been written. Not whole: only the connection's end can say so."""
        self._streams.pop(pending).request.stream = None
        self._pending.popleft()
        if not is_whole:
            self._last_request = self._lingers = True
            self._cancel_pending()
            self._close()
        elif self._close_after is pending:
            self._close()
        else:
            self._write_due()
            self._resume_reading()

    # --- ends ---------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """No request is being read or answered."""
        return not self._pending and not self.began_ns

    @property
    def num_pending(self) -> int:
        return len(self._pending)

    def check_time(self, now_ns: int) -> None:
        """Close if the client has been reading or sending nothing, or one request, for longer than the limits allow."""
        limits = self._router.limits
        if self._write_blocked and now_ns - self._blocked_ns > limits.idle_timeout_ns:
            self._transport.abort()  # what is not read holds memory, and a stream's engine
        elif self._closing:
            if self._lingers and now_ns - self.active_ns > _LINGER_NS:
                self._transport.abort()
        elif self.began_ns:
            phase, limit_ns = (
                ("body", limits.body_timeout_ns)
                if self._reader.in_body
                else ("headers", limits.header_timeout_ns)
            )
            if now_ns - self._reader.phase_ns > limit_ns:
                self.end_with(SlowClientError(f"the request's {phase} took longer than {limit_ns / 1e9:g} s"))
        elif not self._pending and now_ns - self.active_ns > limits.idle_timeout_ns:
            self._close()

    def close_when_idle(self) -> None:
        """Draining: answer what has been accepted, then close."""
        if self._closing:
            self._transport.close()  # no more lingering
        elif self.is_idle:
            self._close()
        elif self._pending:
            self._close_after = self._pending[-1]
        else:
            self._close()

    def close_when_answered(self) -> None:
        """Nothing more is read; the connection closes behind the answers that are due."""
        self._last_request = True
        self._unread = b""
        self.began_ns = 0
        self.close_when_idle()

    def abandon(self, error: RequestError) -> None:
        """Draining takes too long: what is not answered yet is answered with `error`, and the connection closes."""
        self.close_when_answered()
        while self._pending and not self._closing:
            first = self._pending[0]
            if not isinstance(first, Request):
                self.resolve(first, self._router.error_bytes(error))
                continue
            self._router.abandon(first)
            stream = self._streams.get(first)
            if stream is not None:
                stream.end(error)
                return
            self.resolve(first, self._router.failure_bytes(first, error))

    def abort(self) -> None:
        """The client has left."""
        self._transport.abort()

    def end_with(self, error: RequestError) -> None:
        """The rest of the stream cannot be understood, or is not wanted: answer in turn and close behind it."""
        if self.has_ended:
            return
        headers = self._reader.headers if self.began_ns else {}
        self._last_request = self._lingers = True
        self.began_ns = 0
        self._reader.stop()
        self.send(self._router.error_bytes(error, headers))

    def _close(self) -> None:
        if self._closing:
            return
        if self._lingers:
            self._unread = b""
            self._resume_reading()
            self._closing = True
            self.active_ns = self._router.now_ns()
            if not self._transport.is_closing():
                self._transport.write_eof()
        else:
            self._closing = True
            self._transport.close()

    def _cancel_pending(self) -> None:
        for pending in self._pending:
            if isinstance(pending, Request) and pending.response is None:
                self._router.abandon(pending)
        self._pending.clear()
        self._streams.clear()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.has_ended:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        """Parse what waits, then read on, if nothing stands against it."""
        if not self._reading_paused or self._is_feeding or self._closing or self._is_full:
            return
        if self._unread:
            data, self._unread = self._unread, b""
            self._feed(data)
        if not self._unread and not self._is_full and not self._closing:
            self._reading_paused = False
            self._transport.resume_reading()
