"""Bytes of HTTP/1.1 answers."""

from collections.abc import Sequence
from functools import lru_cache

from trivet.errors import DeadlineError, RefusedError, RequestError, UnavailableError
from trivet.spec.deployment import Statuses
from trivet.wire.tensor import Buffer
from trivet.wire.v2_error import error_body

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
JSON = "application/json"
BINARY = "application/octet-stream"
MAX_ECHOED = 256


def json_response(body: bytes, headers: bytes = b"") -> bytes:
    """The answer that nearly every request gets: one formatting. Args: headers: further ones, as whole lines."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b" % (
        len(body),
        headers,
        body,
    )


def json_answer(parts: Sequence[Buffer], headers: bytes = b"") -> bytes:
    """The same for a body in parts."""
    size = sum([len(part) for part in parts])
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n" % (
        size,
        headers,
    )
    return b"".join([head, *parts])


def binary_answer(parts: Sequence[Buffer], json_size: int, headers: bytes = b"") -> bytes:
    """The same for an answer whose first `json_size` bytes are JSON, with tensors behind it."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n"
        b"Content-Length: %d\r\n%b\r\n" % (json_size, sum([len(part) for part in parts]), headers)
    )
    return b"".join([head, *parts])


def response(
    status: int, parts: Sequence[Buffer], content_type: str = JSON, headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """A whole answer. Header values must not come from a request unchecked (see `is_header_value`)."""
    size = sum(len(part) for part in parts)
    reason = REASONS.get(status, "Status")
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {size}"]
    if size:
        lines.insert(1, f"Content-Type: {content_type}")
    lines += [f"{name}: {value}" for name, value in headers]
    return b"".join(["\r\n".join([*lines, "", ""]).encode("latin-1"), *parts])


def closing(answer: bytes) -> bytes:
    """The answer, or its beginning, with word that the connection closes behind it."""
    if b"\r\nConnection: close\r\n" in answer[:512]:
        return answer
    return answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def without_body(answer: bytes) -> bytes:
    """The answer to HEAD: what GET would get, up to the body."""
    return answer[: answer.index(b"\r\n\r\n") + 4]


def error_response(error: RequestError, statuses: Statuses, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """`{"error": ...}` with the status for the kind of error, and when to try again where that is known."""
    retry_ms = None if error.retry_after_ns is None else max(1, -(-error.retry_after_ns // 1_000_000))
    return _error_response(status_of(error, statuses), str(error), retry_ms, tuple(headers))


# Under overload nearly every answer is a refusal, and those of one millisecond are all the same.
@lru_cache(maxsize=1024)
def _error_response(
    status: int, message: str, retry_ms: int | None, headers: tuple[tuple[str, str], ...]
) -> bytes:
    lines = list(headers)
    if retry_ms is not None:
        # Whole seconds, rounded up, for HTTP's header; milliseconds beside it, as `openai` clients read them.
        lines += [("Retry-After", str(-(-retry_ms // 1000))), ("retry-after-ms", str(retry_ms))]
    return response(status, [error_body(message)], headers=lines)


def status_of(error: RequestError, statuses: Statuses) -> int:
    match error:
        case RefusedError():
            return statuses.refused
        case UnavailableError():
            return statuses.unavailable
        case DeadlineError():
            return statuses.deadline
        case _:
            return error.status


def is_header_value(value: bytes) -> bool:
    """Printable ASCII without line ends: safe to echo."""
    return all(0x20 <= byte < 0x7F for byte in value)


def is_echoable(value: bytes) -> bool:
    """Short and safe: comes back with the answer as it is."""
    return len(value) <= MAX_ECHOED and is_header_value(value)
