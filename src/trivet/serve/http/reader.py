"""From a client's bytes to requests: llhttp's callbacks, and what llhttp leaves to us.

llhttp (through httptools) is strict about what request smuggling lives on: both Content-Length and Transfer-Encoding,
repeated or malformed lengths, bare line ends. What it leaves to us is here and in `head.py`: the size of head and
body, the number of headers, what never ends and reaches no callback, Host, offers to upgrade, leave to send a body.
"""

import traceback
from typing import TYPE_CHECKING

import httptools

from trivet.errors import BadRequestError, RequestError
from trivet.serve.http.head import (
    CHUNKED,
    EVENT_STREAM,
    FORGOTTEN,
    WANTED,
    Headers,
    HeadersTooLargeError,
    UnexpectedError,
    check_coding,
    check_head,
    check_host,
    check_num_hosts,
    check_size,
    check_version,
    kind_of,
)

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection
    from trivet.serve.http.router import Router

# A read of up to this size is parsed at once; a larger one request by request, so that the connection can stop.
SMALL_READ = 2048


class RequestReader:
    """Reads the requests of one connection and hands each to it, whole."""

    __slots__ = (
        "_body",
        "_connection",
        "_framing",
        "_head_bytes",
        "_num_headers",
        "_num_hosts",
        "_parser",
        "_quiet_bytes",
        "_router",
        "_url",
        "_whole",
        "headers",
        "in_body",
        "phase_ns",
    )

    def __init__(self, connection: "Connection", router: "Router") -> None:
        self._connection = connection
        self._router = router
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: bytes | bytearray = b""
        self._num_headers = 0
        self._num_hosts = 0
        self._head_bytes = 0
        self._framing = b""  # where the body being read ends: its length as sent, or `chunked`
        self._quiet_bytes = 0  # bytes of the request that no callback has seen yet
        self._whole = b""  # what was read at once from the beginning of a request; empty in the middle of one
        self.headers: Headers = {}  # of the request that is being read
        self.in_body = False
        self.phase_ns = 0  # since when its head, or its body, is being read

    def begin(self, data: bytes) -> None:
        """`data` was read at once, before any of it is fed."""
        self._whole = b"" if self._connection.began_ns else data

    def feed(self, data: bytes | memoryview) -> None:
        """Parse the next bytes; errors end the connection."""
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as end:
                data = self._without_upgrade(bytes(data[end.args[0] :]))
                continue
            except httptools.HttpParserCallbackError as error:
                self._connection.end_with(self._cause(error))
            except httptools.HttpParserError as error:
                self._connection.end_with(BadRequestError(f"malformed HTTP: {error}"))
            else:
                if self._connection.began_ns:
                    self._count_quiet(len(data))
            return

    def next_size(self, data: bytes, at: int) -> int:
        """How many bytes from `at` on to feed next, so that at most one request of a large read is completed."""
        left = len(data) - at
        if left <= SMALL_READ:
            return left
        if not (self._connection.began_ns and self.in_body):
            end = data.find(b"\r\n\r\n", at)
            return left if end < 0 else end + 4 - at
        if self._framing is CHUNKED:
            return SMALL_READ
        return min(left, max(1, int(self._framing or 0) - len(self._body)))

    def stop(self) -> None:
        """Nothing more will be read: free what has been."""
        self._body = b""

    # --- httptools callbacks ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._connection.began_ns = self.phase_ns = self._connection.received_ns
        self._url = b""
        self._body = b""
        self._num_headers = self._num_hosts = 0
        self._head_bytes = 0
        self._quiet_bytes = -1
        self.in_body = False
        if self.headers:
            self.headers = {}

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url
        if len(self._url) > self._router.limits.max_header_bytes:
            raise HeadersTooLargeError(f"the URL is longer than {self._router.limits.max_header_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4  # a colon, a space, and the line's end
        self._num_headers += 1
        if self.in_body:  # a trailer, which nobody here asked for; counted like a header
            self._check_head()
            return
        kind = kind_of(name)
        if kind is not FORGOTTEN:
            self._take_header(kind, value)

    def _take_header(self, name: bytes, value: bytes) -> None:
        if name in WANTED:
            if name in self.headers:
                raise BadRequestError(f"header {name.decode()!r} stands twice")
            self.headers[name] = value
        elif name == b"host":
            self._num_hosts += 1
            check_host(value)
        elif name == b"accept":
            if EVENT_STREAM in value.lower():  # all that it can change is how a stream is framed
                self.headers[name] = value
        elif name == b"content-length":
            check_size(int(value), self._router.limits)
            self._framing = value
        elif name == b"transfer-encoding":
            check_coding(value, self._parser.get_http_version())
            self._framing = CHUNKED
        elif self._parser.get_http_version() != "1.1":  # connection
            self.headers[name] = value  # keep-alive as HTTP/1.0 knew it, which is not offered

    def on_headers_complete(self) -> None:
        self.in_body = True
        self.phase_ns = self._connection.received_ns
        self._quiet_bytes = -1
        self._check_head()
        if self._num_hosts != 1:
            check_num_hosts(self._num_hosts, self._parser.get_http_version())
        wants_leave = self.headers and self.headers.get(b"expect", b"").lower() == b"100-continue"
        if wants_leave and self._parser.get_http_version() != "1.0":  # which does not know that
            self._connection.go_on()

    def on_body(self, data: bytes) -> None:
        self._quiet_bytes = -1
        check_size(len(self._body) + len(data), self._router.limits)
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def on_message_complete(self) -> None:
        connection, parser, headers = self._connection, self._parser, self.headers
        if connection.has_ended:
            return  # a client that asked for the end may not go on
        if headers and b"upgrade" in headers and parser.should_upgrade():
            return  # not complete at all: see _without_upgrade
        # Known before the answer is written, so that the answer can say it.
        if not parser.should_keep_alive() or (headers and b"connection" in headers):
            version = parser.get_http_version()
            check_version(version)
            connection.take_no_more(is_http_1_0=version == "1.0")
        elif self._router.draining:
            connection.take_no_more()
        self._router.handle(connection, parser.get_method(), self._url, headers, self._body)
        if self._whole and not connection.has_ended:
            self._router.remember(self._whole, parser.get_method(), self._url, headers, self._framing)
        self._whole = b""
        connection.began_ns = 0
        connection.active_ns = connection.received_ns
        self._body = self._framing = b""

    # --- what llhttp leaves to us -------------------------------------------------------------------------------

    def _without_upgrade(self, rest: bytes) -> bytes:
        """What to read next behind a request that offers to upgrade, as Java's HTTP client does with its first.

        A server may ignore the offer, but llhttp stops before such a request's body: a fresh parser reads the
        body behind an equal head without the offer.
        """
        connection = self._connection
        if connection.has_ended:
            return b""
        if b"upgrade" not in self.headers:  # CONNECT: has been answered; what follows is for nobody here
            connection.close_when_answered()
            return b""
        began_ns, old = connection.began_ns, self._parser
        lines = [b"%b %b HTTP/1.1\r\nHost:" % (old.get_method(), self._url)]
        if self._framing:
            is_chunked = self._framing is CHUNKED
            lines.append((b"Transfer-Encoding: " if is_chunked else b"Content-Length: ") + self._framing)
        if not old.should_keep_alive() or b"connection" in self.headers:
            lines.append(b"Connection: close")
        headers = {name: value for name, value in self.headers.items() if name != b"upgrade"}
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"\r\n".join([*lines, b""]))
        connection.began_ns, self.headers = began_ns, headers
        return b"\r\n" + rest

    def _count_quiet(self, size: int) -> None:
        """A header, a chunk extension or a trailer that never ends reaches no callback: bounded here.

        What came together with the last callback (-1) is no more than one read from the socket.
        """
        self._quiet_bytes = 0 if self._quiet_bytes < 0 else self._quiet_bytes + size
        limit = self._router.limits.max_header_bytes
        if self._quiet_bytes > limit:
            self._connection.end_with(
                HeadersTooLargeError(f"a header, trailer or chunk extension of more than {limit} bytes")
            )

    def _check_head(self) -> None:
        check_head(self._head_bytes + len(self._url), self._num_headers, self._router.limits)

    def _cause(self, error: httptools.HttpParserCallbackError) -> RequestError:
        """What went wrong in one of our callbacks."""
        cause = error.__context__
        return cause if isinstance(cause, RequestError) else unexpected(self._router, error)


def unexpected(router: "Router", error: Exception) -> RequestError:
    """A mistake of ours: the client is told that it is one, the log says which."""
    router.complain("".join(traceback.format_exception(error)))
    return UnexpectedError("the server failed on this request; its log has the details")
