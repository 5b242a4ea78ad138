"""The little HTTP/1.1 that a load generator needs: requests built beforehand, answers read one at a time.

No pipelining: one request is in flight on a connection, so bytes after an answer are an error.
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass

from trivet.errors import SpecError, TrivetError

MAX_HEAD_BYTES = 64 * 1024
CHUNKED, UNTIL_CLOSE = -1, -2  # lengths of a body that its head does not tell
_NO_BODY = (204, 304)


class BadAnswerError(TrivetError):
    """What came back is not an HTTP/1.1 answer to one request."""


def request_bytes(
    method: str, path: str, host: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """A whole request, ready to be sent.

    Raises: SpecError: a line break in the path or a header would start another header.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    for line in lines:
        if "\r" in line or "\n" in line:
            raise SpecError(f"line break in request line {line!r}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class Head:
    """What a status line and its headers say. `length` is the body's, CHUNKED, or UNTIL_CLOSE."""

    status: int
    keep_alive: bool
    length: int
    raw: bytes
    lower: bytes  # for look-ups
    server_timing: bytes | None = None

    def header(self, name: bytes) -> bytes | None:
        """The value of the first header of this name (lower case), as it was sent."""
        start = self.lower.find(b"\r\n" + name + b":")
        if start < 0:
            return None
        start += len(name) + 3
        return self.raw[start : self.lower.index(b"\r\n", start)].strip()


@functools.lru_cache(maxsize=256)  # a server sends few different heads, and reading one takes microseconds
def parse_head(raw: bytes) -> Head:
    """Read a head, from the status line to the empty line.

    Raises: BadAnswerError: it is not an HTTP/1.1 head, or its length is not a number.
    """
    if not raw.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or not raw[9:12].isdigit():
        raise BadAnswerError(f"not an HTTP/1.1 status line: {raw[:12]!r}")
    found = Head(int(raw[9:12]), True, UNTIL_CLOSE, raw, raw[:-2].lower())
    length = UNTIL_CLOSE
    if found.status in _NO_BODY:
        length = 0
    elif found.header(b"transfer-encoding") is not None:
        length = CHUNKED
    elif (digits := found.header(b"content-length")) is not None:
        if not digits.isdigit():
            raise BadAnswerError(f"content-length {digits!r} is not a number")
        length = int(digits)
    connection = found.header(b"connection") or (b"close" if raw[7] == ord("0") else b"keep-alive")
    keep_alive = connection.lower() == b"keep-alive" and length != UNTIL_CLOSE
    server_timing = found.header(b"server-timing")
    return dataclasses.replace(found, keep_alive=keep_alive, length=length, server_timing=server_timing)


class AnswerReader:
    """Collects the bytes of one answer. `feed` until it says True, read the answer, `reset`, and so on."""

    __slots__ = (
        "_buffer",
        "_chunk_at",
        "_chunks",
        "_end",
        "_head",
        "_head_end",
        "_last",
        "_num_part",
        "_num_whole",
    )

    def __init__(self) -> None:
        self._last: Head | None = None  # the last head of an answer whose length it told
        self.reset()

    def reset(self) -> None:
        self._buffer = b""
        self._head: Head | None = None
        self._end = -1  # where the answer ends; -1: not known yet
        self._num_whole = self._num_part = 0  # bytes of whole chunks, and of the one that is coming

    @property
    def head(self) -> Head:
        """Of the answer, once `feed` has said True."""
        if self._head is None:
            raise BadAnswerError("no head yet")
        return self._head

    def feed(self, data: bytes) -> bool:
        """Take bytes as they came from the socket; True when the answer is whole.

        Raises: BadAnswerError: these bytes can never become one answer.
        """
        last = self._last
        # The usual: one whole answer, whose head is that of the one before.
        if (
            last is not None
            and not self._buffer
            and len(data) == len(last.raw) + last.length
            and data.startswith(last.raw)
        ):
            self._buffer, self._head, self._head_end, self._end = data, last, len(last.raw), len(data)
            return True
        self._buffer = self._buffer + data if self._buffer else data
        if self._head is None and not self._find_head():
            return False
        if self._end < 0 and self._head is not None and self._head.length == CHUNKED:
            self._read_chunks()
        if len(self._buffer) > self._end >= 0:
            raise BadAnswerError(f"{len(self._buffer) - self._end} bytes after the end of the answer")
        return len(self._buffer) == self._end

    def end(self) -> bool:
        """The server closed the connection: True when that is how this answer ends."""
        until_close = self._head is not None and self._head.length == UNTIL_CLOSE
        return until_close or len(self._buffer) == self._end

    def body(self) -> bytes:
        """Of the answer, once `feed` has said True."""
        head = self._head or self.head  # the property alone costs a call, on the way of every answer
        if head.length == CHUNKED:
            return b"".join(self._chunks)
        return self._buffer[self._head_end :]

    @property
    def num_body_bytes(self) -> int:
        """How much of the body has come so far, without the marks between its chunks."""
        if self._head is None:
            return 0
        if self._head.length == CHUNKED:
            return self._num_whole + self._num_part
        return len(self._buffer) - self._head_end

    def _find_head(self) -> bool:
        """True when the head is whole; interim answers before it are skipped."""
        while (head_end := self._buffer.find(b"\r\n\r\n") + 4) > 3:
            head = parse_head(self._buffer[:head_end])
            if not 100 <= head.status < 200:
                self._head, self._head_end = head, head_end
                if head.length >= 0:
                    self._last, self._end = head, head_end + head.length
                elif head.length == CHUNKED:
                    self._chunk_at, self._chunks = head_end, list[bytes]()
                return True
            self._buffer = self._buffer[head_end:]
        if len(self._buffer) > MAX_HEAD_BYTES:
            raise BadAnswerError(f"no end of the head within {MAX_HEAD_BYTES} bytes")
        return False

    def _read_chunks(self) -> None:
        """Walk over the chunks that are whole, from `_chunk_at`; a started one waits for more bytes."""
        buffer = self._buffer
        while self._end < 0:
            line_end = buffer.find(b"\r\n", self._chunk_at)
            if line_end < 0:
                return
            digits = buffer[self._chunk_at : line_end].split(b";", 1)[0].strip()
            try:
                size = int(digits, 16)
            except ValueError:
                raise BadAnswerError(f"chunk size {digits[:20]!r} is not a hexadecimal number") from None
            if size == 0:
                # Trailers, if any, end with an empty line; without them it follows at once.
                trailers_end = buffer.find(b"\r\n\r\n", line_end)
                self._end = trailers_end + 4 if trailers_end >= 0 else -1
                return
            data_end = line_end + 2 + size
            if size < 0 or (len(buffer) >= data_end + 2 and buffer[data_end : data_end + 2] != b"\r\n"):
                raise BadAnswerError(f"a chunk of {size} bytes does not end where it says")
            if len(buffer) < data_end + 2:
                self._num_part = max(0, min(size, len(buffer) - line_end - 2))
                return
            self._chunks.append(buffer[line_end + 2 : data_end])
            self._num_whole, self._num_part = self._num_whole + size, 0
            self._chunk_at = data_end + 2
