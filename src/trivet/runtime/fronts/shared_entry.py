"""A kept answer as bytes, for a store that servers of several versions share.

Behind a mark, the format's version and a checksum stands a message of MessagePack. Whatever is not exactly what this
version wrote under this key (another version's, cut off, changed, somebody else's) is no entry, never an error.
"""

from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.runtime.fronts.kept import Kept, keep
from trivet.spec.dtypes import NUMPY_OF_DATATYPE

FORMAT: Final = 1
KEY_PREFIX: Final = b"trivet:answer:%d:" % FORMAT
_MARK: Final = b"TRVT%c" % FORMAT
_CHECK_BYTES: Final = 12
# Of elements of a fixed size, as they are written.
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    np.dtype(one).str: np.dtype(one) for one in NUMPY_OF_DATATYPE.values() if one is not np.object_
}


class _Tensor(msgspec.Struct, array_like=True):
    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes = b""
    items: list[bytes] = []


class _Entry(msgspec.Struct, array_like=True):
    key: bytes
    rows: int
    stored_wall_ns: int
    answered_by: str | list[str]
    tensors: list[_Tensor]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Entry).decode


def encode_entry(key: bytes, kept: Kept, age_ns: int, wall_ns: int) -> bytes:
    """Args: age_ns: since it was computed. wall_ns: now, by the clock that hosts share."""
    tensors = [_tensor(name, array) for name, array in kept.tensors.items()]
    body = _encode(_Entry(key, kept.rows, wall_ns - age_ns, kept.answered_by, tensors))
    return _MARK + _check(body) + body


def decode_entry(key: bytes, data: bytes, now_ns: int, wall_ns: int) -> Kept | None:
    """None: it is not what this version wrote under this key."""
    start = len(_MARK) + _CHECK_BYTES
    body = data[start:]
    if data[: len(_MARK)] != _MARK or data[len(_MARK) : start] != _check(body):
        return None
    try:
        entry = _decode(body)
        outputs = {tensor.name: _array(tensor) for tensor in entry.tensors}
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None
    if entry.key != key or entry.rows < 1:
        return None
    # Hosts' clocks differ: what seems to come from the future was computed just now.
    age_ns = max(0, wall_ns - entry.stored_wall_ns)
    return keep(outputs, outputs.keys(), entry.rows, now_ns - age_ns, entry.answered_by)


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES).digest()


def _tensor(name: str, array: NDArray[Any]) -> _Tensor:
    if array.dtype.hasobject:
        items = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
        return _Tensor(name, "O", array.shape, items=items)
    return _Tensor(name, array.dtype.str, array.shape, array.tobytes())


def _array(tensor: _Tensor) -> NDArray[Any]:
    if any(size < 0 for size in tensor.shape):
        raise ValueError(f"an answer of the shape {tensor.shape}")
    if tensor.dtype == "O":
        array = np.empty(len(tensor.items), object)
        array[:] = tensor.items
        return array.reshape(tensor.shape)
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise ValueError(f"an answer of {tensor.dtype}")
    return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)
