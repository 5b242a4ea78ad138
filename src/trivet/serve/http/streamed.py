"""An answer in chunks: each is one V2 answer, a line of JSON or a server-sent event, written as soon as it is made.

Back-pressure: a chunk that the client's socket takes grants the engine one more; while it takes none, none is granted.
What waits here is then no more than what the engine was allowed to be ahead.

A stream that fails ends with an error object where the next chunk would have been, and without the last chunk of
Transfer-Encoding (RFC 9112, section 7.1): the client knows that it is not whole.
"""

from collections import deque
from typing import TYPE_CHECKING

from trivet.errors import RequestError
from trivet.runtime.request import Request
from trivet.wire.v2_error import error_body

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection

LINES = b"application/x-ndjson"
EVENTS = b"text/event-stream"
_LAST_CHUNK = b"0\r\n\r\n"


class StreamedAnswer:
    """One of them; belongs to its connection from the first chunk until the last is written.

    Args: is_chunked: False: the connection's end is the answer's, as HTTP/1.0 knows it.
    """

    __slots__ = (
        "_connection",
        "_has_failed",
        "_head",
        "_is_chunked",
        "_is_over",
        "_owed",
        "_parts",
        "request",
    )

    def __init__(self, connection: "Connection", request: Request, is_chunked: bool) -> None:
        self.request = request
        self._connection = connection
        self._is_chunked = is_chunked
        self._head: bytes | None = None
        self._parts: deque[bytes] = deque()  # made, and not written
        self._owed = 0  # chunks that were written while the client took no more
        self._is_over = False
        self._has_failed = False

    def begin(self, headers: bytes) -> None:
        """Args: headers: whole lines."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nCache-Control: no-store\r\n" % (
            EVENTS if self._is_events else LINES
        )
        if self._is_chunked:
            head += b"Transfer-Encoding: chunked\r\n"
        self._head = head + headers + b"\r\n"

    @property
    def has_head(self) -> bool:
        return self._head is not None

    def add(self, body: bytes) -> None:
        """One chunk: a JSON object."""
        self._parts.append(self._framed(body))
        self.flush()

    def end(self, error: RequestError | None) -> None:
        """Nothing more comes; `error`: the answer is not whole."""
        if error is not None:
            options = self.request.options
            dialect = None if options is None else options.dialect
            said = error_body(str(error)) if dialect is None else dialect.error_event(error)
            self._parts.append(self._framed(said))
            self._has_failed = True
        elif self._is_chunked:
            self._parts.append(_LAST_CHUNK)
        self._is_over = True
        self.flush()

    def flush(self) -> None:
        """Write what may be written now, and let the engine make as much more."""
        connection, request = self._connection, self.request
        while self._parts and connection.may_write(request):
            part = self._parts.popleft()
            if self._head is not None:
                connection.write_part(request, self._head + part, is_head=True)
                self._head = None
            else:
                connection.write_part(request, part, is_head=False)
            self._owed += 1
        if self._is_over:
            if not self._parts:
                connection.finish(request, is_whole=not self._has_failed)
        elif self._owed and connection.may_write(request) and request.stream is not None:
            owed, self._owed = self._owed, 0
            request.stream.grant(owed)

    @property
    def _is_events(self) -> bool:
        return self.request.options is not None and self.request.options.events

    def _framed(self, body: bytes) -> bytes:
        part = b"data: %b\n\n" % body if self._is_events else body + b"\n"
        return b"%x\r\n%b\r\n" % (len(part), part) if self._is_chunked else part
