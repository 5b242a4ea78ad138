"""Tensors as they travel: row-major, little-endian bytes, whatever the request's encoding was.

A tensor of a fixed-size datatype is held as one bytes-like buffer until its batch is built, so JSON and binary
requests take the same way and a binary tensor is never copied on its own. BYTES tensors are held as a flat
object array of `bytes`.
"""

import struct
import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE

Buffer = bytes | bytearray | memoryview
TensorData = Buffer | NDArray[Any]

# struct's codes for the datatypes that JSON can carry (FP16 and BF16 travel in binary only, as in Triton).
_STRUCT_CODE = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP32": "f",
    "FP64": "d",
}
BINARY_ONLY = frozenset({"FP16", "BF16"})
# What a JSON element of each kind of datatype is in Python; bool is not a number here, though it is an int there.
_JSON_TYPES: dict[str, tuple[set[type], str]] = {
    "BOOL": ({bool}, "true or false"),
    "BYTES": ({str}, "a string"),
    "FP32": ({int, float}, "a number"),
    "FP64": ({int, float}, "a number"),
}
_INTEGER: tuple[set[type], str] = ({int}, "an integer")
_LONGEST_SHOWN = 60
# From here on numpy packs faster than struct, which takes its values as positional arguments.
_LARGE = 2048

if (
    sys.byteorder != "little"
):  # every supported platform is; the wire format and numpy's views agree because of it
    raise ImportError("trivet needs a little-endian machine")


def itemsize(datatype: str) -> int:
    """Bytes of one element; 0 for BYTES, whose elements differ in size."""
    return 0 if datatype == "BYTES" else np.dtype(NUMPY_OF_DATATYPE[datatype]).itemsize


def packer(datatype: str, count: int) -> struct.Struct:
    """Packs `count` JSON values of a datatype that JSON can carry (not BYTES), little-endian."""
    return _packer(_STRUCT_CODE[datatype], count)


@lru_cache(maxsize=4096)
def _packer(code: str, count: int) -> struct.Struct:
    return struct.Struct(f"<{count}{code}")


def pack(datatype: str, values: Sequence[Any]) -> TensorData:
    """The buffer of flat JSON values.

    Raises: BadRequestError: a value is of another type or out of the datatype's range; the message names its
    position and value.
    """
    if datatype == "BYTES":
        return _pack_strings(values)
    code = _STRUCT_CODE[datatype]
    try:
        if len(values) < _LARGE:
            return _packer(code, len(values)).pack(*values)
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError, TypeError):
        pass
    return _pack_carefully(datatype, code, values)


def check_types(datatype: str, values: Sequence[Any]) -> None:
    """What `pack` alone would let pass: struct takes anything with a truth value for BOOL, and true for 1.

    Raises: BadRequestError: names the first element of another JSON type.
    """
    allowed, expected = _JSON_TYPES.get(datatype, _INTEGER)
    if set(map(type, values)) <= allowed:
        return
    i = next(i for i, value in enumerate(values) if type(value) not in allowed)
    raise BadRequestError(f"element {i} is {shown(values[i])}: expected {expected} for datatype {datatype}")


def shown(value: Any) -> str:
    """A JSON value in an error message: in full where it is short, else what it is and how it begins."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"an array of {len(value)} elements"
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, int) and value.bit_length() > 4 * _LONGEST_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return f"{value[:_LONGEST_SHOWN]!r}... ({len(value)} characters)"
    return repr(value)


def _pack_strings(values: Sequence[Any]) -> NDArray[Any]:
    out = np.empty(len(values), object)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise BadRequestError(f"element {i} is {shown(value)}: expected a string for datatype BYTES")
        out[i] = value.encode()
    return out


def _pack_carefully(datatype: str, code: str, values: Sequence[Any]) -> bytes:
    """Packing failed as a whole: pack one by one, so that the error can name the element."""
    packer = _packer(code, 1)
    parts = []
    for i, value in enumerate(values):
        try:
            # As the fast decoder reads it; struct tells an integer beyond float32 from a float beyond it.
            number = float(value) if code in "fd" and isinstance(value, int) else value
        except OverflowError:
            raise BadRequestError(f"element {i} is {shown(value)}: expected {_range(datatype)}") from None
        try:
            parts.append(packer.pack(number))
        except OverflowError:  # a finite JSON number beyond float32: IEEE 754 rounds it to infinity
            parts.append(packer.pack(float("inf") if value > 0 else float("-inf")))
        except (struct.error, TypeError):
            raise BadRequestError(f"element {i} is {shown(value)}: expected {_range(datatype)}") from None
    return b"".join(parts)


def _range(datatype: str) -> str:
    dtype = np.dtype(NUMPY_OF_DATATYPE[datatype])
    if dtype.kind not in "iu":
        return f"a number for datatype {datatype}"
    info = np.iinfo(dtype)
    return f"{info.min} to {info.max} for datatype {datatype}"


def as_array(datatype: str, data: TensorData, shape: Sequence[int]) -> NDArray[Any]:
    """A view of `data` (no copy where the buffer is aligned), read-only where the buffer is."""
    if isinstance(data, np.ndarray):
        return data.reshape(shape)
    array = np.frombuffer(data, NUMPY_OF_DATATYPE[datatype])
    if not array.flags.aligned:  # a slice of a body may start anywhere; native engines read words
        array = array.copy()
    return array.reshape(shape)


def to_bytes(datatype: str, array: NDArray[Any]) -> bytes:
    """The binary form of an array: row-major, little-endian; BYTES elements with a 4-byte length before each."""
    if datatype != "BYTES":
        return np.ascontiguousarray(array).tobytes()
    parts: list[bytes] = []
    for item in array.reshape(-1):
        raw = item if isinstance(item, bytes) else str(item).encode()
        parts.append(len(raw).to_bytes(4, "little"))
        parts.append(raw)
    return b"".join(parts)


def check_binary(name: str, datatype: str, data: Buffer, count: int, what: str = "input") -> TensorData:
    """What `data` holds, for `count` elements of an input or output (`what`: the word in messages).

    Raises: BadRequestError: the size does not fit, a BOOL byte is neither 0 nor 1, a BYTES length lies.
    """
    if datatype == "BYTES":
        return _unpack_strings(f"{what} {name!r}", data, count)
    expected = count * itemsize(datatype)
    if len(data) != expected:
        raise BadRequestError(
            f"{what} {name!r}: {len(data)} bytes of binary data; its shape and datatype {datatype} need {expected}"
        )
    if datatype == "BOOL" and bytes(data).strip(b"\x00\x01"):
        raise BadRequestError(f"{what} {name!r}: a BOOL is one byte, 0 or 1; found another value")
    return data


def _unpack_strings(where: str, data: Buffer, count: int) -> NDArray[Any]:
    if count * 4 > len(data):  # checked before anything is allocated: a shape may lie by orders of magnitude
        raise BadRequestError(
            f"{where}: {len(data)} bytes of binary data cannot hold {count} BYTES elements of 4 bytes and more"
        )
    out = np.empty(count, object)
    raw, at = bytes(data), 0
    for i in range(count):
        if at + 4 > len(raw):
            raise BadRequestError(f"{where}: binary data ends inside the length of BYTES element {i}")
        size = int.from_bytes(raw[at : at + 4], "little")
        at += 4
        if at + size > len(raw):
            raise BadRequestError(f"{where}: BYTES element {i} claims {size} bytes; {len(raw) - at} are left")
        out[i] = raw[at : at + size]
        at += size
    if at != len(raw):
        raise BadRequestError(f"{where}: {len(raw) - at} bytes are left after {count} BYTES elements")
    return out


def num_elements(shape: Sequence[int]) -> int:
    product = 1
    for dim in shape:
        product *= dim
    return product


def offsets(sizes: Sequence[int]) -> list[int]:
    """Where each of consecutive pieces starts, and where the last ends: `len(sizes) + 1` numbers."""
    return [0, *accumulate(sizes)]
