"""gzip and deflate both ways, with a limit on what a small body may unfold to."""

import zlib

from trivet.errors import BadRequestError, RequestError, TooLargeError
from trivet.wire.tensor import Buffer

_GZIP, _ZLIB = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
_WINDOW = {b"gzip": _GZIP, b"deflate": _ZLIB}
# Below this an answer fits one packet anyway; level 1 takes most of the gain at a fraction of the time.
SMALLEST_COMPRESSED = 1024
_LEVEL = 1
# Fed in pieces: what follows a member is copied when it ends, and a body may have many members.
_PIECE = 1 << 16
_MAX_MEMBERS = 256
_GZIP_MAGIC = 0x1F  # the first byte of a member


class UnsupportedEncodingError(RequestError):
    status = 415


def decompress(body: Buffer, encoding: bytes, max_bytes: int) -> Buffer:
    """Raises: UnsupportedEncodingError, BadRequestError (corrupt), TooLargeError (more than `max_bytes` unfolded)."""
    encoding = encoding.strip().lower()
    if encoding == b"identity":
        return body
    if encoding not in _WINDOW:
        raise UnsupportedEncodingError(
            f"content-encoding {encoding.decode('latin-1')[:80]!r}; supported: gzip, deflate"
        )
    try:
        return _unfold(body, encoding, max_bytes)
    except zlib.error as error:
        raise BadRequestError(f"the body is not valid {encoding.decode()}: {error}") from None


def _unfold(body: Buffer, encoding: bytes, max_bytes: int) -> bytearray:
    """All members of a body: gzip may have several, one behind the other (RFC 1952, section 2.2)."""
    view, found = memoryview(body), bytearray()
    at = num_members = 0
    while not num_members or at < len(view):
        if num_members and (encoding != b"gzip" or view[at] != _GZIP_MAGIC):
            raise BadRequestError(f"{len(view) - at} bytes follow the end of the {encoding.decode()} body")
        if num_members == _MAX_MEMBERS:
            raise BadRequestError(f"the gzip body has more than {_MAX_MEMBERS} members")
        at = _unfold_member(view, at, encoding, max_bytes, found)
        num_members += 1
    return found


def _unfold_member(view: memoryview, at: int, encoding: bytes, max_bytes: int, found: bytearray) -> int:
    """Append what the member that begins at `at` unfolds to; gives its end."""
    decompressor = zlib.decompressobj(_WINDOW[encoding])
    while not decompressor.eof:
        piece = view[at : at + _PIECE]
        if not piece:
            raise BadRequestError(f"the {encoding.decode()} body is truncated")
        found += decompressor.decompress(piece, max_bytes + 1 - len(found))
        if len(found) > max_bytes:
            raise TooLargeError(f"the body unfolds to more than {max_bytes} bytes (limits.max_decompressed)")
        at += len(piece) - len(decompressor.unused_data)
    return at


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
