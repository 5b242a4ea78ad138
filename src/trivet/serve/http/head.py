"""What the headers of a request mean to us, and which of them are wrong.

Source: RFC 9112 (HTTP/1.1), section 3.2 for Host.
"""

import re

from trivet.errors import BadRequestError, RequestError, TooLargeError, UnsupportedError
from trivet.spec.deployment import Limits

Headers = dict[bytes, bytes]

# The headers that mean something to us; all others are counted and forgotten.
WANTED = frozenset(
    {
        b"accept-encoding",
        b"authorization",
        b"content-encoding",
        b"expect",
        b"inference-header-content-length",
        b"server-timing",
        b"traceparent",
        b"tracestate",
        b"upgrade",
        b"x-api-key",
        b"x-request-id",
        b"x-trivet-configuration",
        b"x-trivet-key",
        b"x-trivet-timing",
        b"x-envoy-expected-rq-timeout-ms",
    }
)
CHUNKED = b"chunked"
FORGOTTEN = b""
EVENT_STREAM = b"text/event-stream"
_HANDLED = frozenset({b"accept", b"connection", b"content-length", b"host", b"transfer-encoding"})
# Each header that matters under its usual spellings, and the most common of those that do not: most requests find all
# their headers here and need not be folded to lower case.
_KINDS = {
    spelling: name
    for name in (*WANTED, *_HANDLED)
    for spelling in (name, name.title(), name.title().replace(b"Id", b"ID"))
} | {spelling: FORGOTTEN for name in (b"user-agent", b"content-type") for spelling in (name, name.title())}
# uri-host [":" port] of RFC 3986; empty where the target has no authority.
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-fVv:.~_-]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)


class HeadersTooLargeError(TooLargeError):
    status = 431


class SlowClientError(RequestError):
    status = 408


class HttpVersionError(RequestError):
    status = 505


class UnexpectedError(RequestError):
    """A mistake of ours; the log has the traceback."""

    status = 500


def kind_of(name: bytes) -> bytes:
    """The header's name in small letters if it means something to us, else `FORGOTTEN`."""
    kind = _KINDS.get(name)
    return _KINDS.get(name.lower(), FORGOTTEN) if kind is None else kind


def check_host(value: bytes) -> None:
    """Raises: BadRequestError: not a host, with or without a port."""
    if _HOST.fullmatch(value) is None:
        raise BadRequestError(f"header Host is {value[:80]!r}; expected host or host:port")


def check_num_hosts(num_hosts: int, version: str) -> None:
    """Raises: BadRequestError: a request to nobody, or to several."""
    if num_hosts > 1:
        raise BadRequestError("header 'host' stands twice")
    if num_hosts == 0 and version == "1.1":
        raise BadRequestError("header Host is missing; HTTP/1.1 needs one")


def check_coding(value: bytes, version: str) -> None:
    """Raises: BadRequestError, UnsupportedError: a body whose end is not told by chunks alone."""
    if version == "1.0":
        raise BadRequestError("Transfer-Encoding in HTTP/1.0: where the request ends cannot be told")
    if value.strip().lower() != CHUNKED:
        raise UnsupportedError(f"Transfer-Encoding is {value[:80]!r}; only chunked is understood")


def check_version(version: str) -> None:
    """Raises: HttpVersionError: not one whose answers we can write."""
    if version not in ("1.1", "1.0"):
        raise HttpVersionError(f"HTTP/{version} is not spoken here; send HTTP/1.1")


def check_size(size: int, limits: Limits) -> None:
    """Raises: TooLargeError: a body of `size` bytes or more."""
    if size > limits.max_body_bytes:
        raise TooLargeError(
            f"the body has {size} bytes or more; at most {limits.max_body_bytes} are accepted (limits.max_body)"
        )


def check_head(num_bytes: int, num_headers: int, limits: Limits) -> None:
    """Args: num_bytes: with the URL.  Raises: HeadersTooLargeError."""
    if num_bytes > limits.max_header_bytes or num_headers > limits.max_headers:
        raise HeadersTooLargeError(
            f"{num_headers} headers, with the URL {num_bytes} bytes; at most {limits.max_headers} headers "
            f"and {limits.max_header_bytes} bytes are accepted"
        )
