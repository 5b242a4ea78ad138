"""gzip and deflate both ways, with a limit on what a small body may unfold to."""

import zlib

from trivet.errors import BadRequestError, RequestError, TooLargeError
from trivet.wire.tensor import Buffer

_GZIP, _ZLIB = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
_WINDOW = {b"gzip": _GZIP, b"deflate": _ZLIB}
# Below this an answer fits one packet anyway; level 1 takes most of the gain at a fraction of the time.
SMALLEST_COMPRESSED = 1024
_LEVEL = 1


class UnsupportedEncodingError(RequestError):
    status = 415


def decompress(body: Buffer, encoding: bytes, max_bytes: int) -> bytes:
    """Raises: UnsupportedEncodingError, BadRequestError (corrupt), TooLargeError (more than `max_bytes` unfolded)."""
    encoding = encoding.strip().lower()
    if encoding == b"identity":
        return bytes(body)
    if encoding not in _WINDOW:
        raise UnsupportedEncodingError(
            f"content-encoding {encoding.decode('latin-1')[:80]!r}; supported: gzip, deflate"
        )
    decompressor = zlib.decompressobj(_WINDOW[encoding])
    try:
        data = decompressor.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise BadRequestError(f"the body is not valid {encoding.decode()}: {error}") from None
    if len(data) > max_bytes:
        raise TooLargeError(f"the body unfolds to more than {max_bytes} bytes")
    if not decompressor.eof:
        raise BadRequestError(f"the {encoding.decode()} body is truncated")
    if decompressor.unused_data:
        raise BadRequestError(
            f"{len(decompressor.unused_data)} bytes follow the end of the {encoding.decode()} body"
        )
    return data


def chosen_encoding(accept: bytes) -> bytes | None:
    """The encoding for an answer, from an Accept-Encoding header: gzip before deflate; None for neither."""
    accepted = {}
    for item in accept.lower().split(b","):
        name, _, quality = item.strip().partition(b";")
        accepted[name.strip()] = quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return next((name for name in (b"gzip", b"deflate") if accepted.get(name, False)), None)


def compress(body: bytes, encoding: bytes) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW[encoding])
    return compressor.compress(body) + compressor.flush()
