"""Where the tensors of one batch lie in a slab: write them there, read them back.

BYTES tensors lie as in binary requests: each element after its 4-byte length.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.python.messages import Places
from trivet.engine.python.slab import Regions, Slab, aligned
from trivet.errors import TrivetError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import TensorSpec
from trivet.wire.tensor import check_binary, to_bytes

NamedDtypes = tuple[tuple[str, np.dtype[Any]], ...]


class OverLimitError(TrivetError):
    """Tensors that together are larger than they may be."""


def named_dtypes(specs: Sequence[TensorSpec]) -> NamedDtypes:
    """Name and numpy dtype of each tensor, in order: what reading and writing need, worked out once."""
    return tuple((spec.name, np.dtype(NUMPY_OF_DATATYPE[spec.datatype])) for spec in specs)


def write(
    slab: Slab, regions: Regions, arrays: Sequence[NDArray[Any]], limit_bytes: int
) -> tuple[int, Places]:
    """Copy `arrays` (any strides; object arrays hold `bytes`) into a new region: its start, each one's place.

    Raises: OverLimitError: they need more than `limit_bytes`. Nothing is taken then.
    """
    raws = [_raw(array) if array.dtype.hasobject else array for array in arrays]
    total = sum([aligned(raw.nbytes) for raw in raws])
    if total > limit_bytes:
        raise OverLimitError(f"{total} bytes; at most {limit_bytes} are allowed")
    start = offset = regions.take(total)
    slab.grow(start + total)
    places = []
    for array, raw in zip(arrays, raws, strict=True):
        num_bytes = raw.nbytes
        np.ndarray(raw.shape, raw.dtype, slab.map, offset)[...] = raw
        places.append((offset, num_bytes, array.shape))
        offset += aligned(num_bytes)
    return start, tuple(places)


def _raw(array: NDArray[Any]) -> NDArray[Any]:
    return np.frombuffer(to_bytes("BYTES", array), np.uint8) if array.dtype.hasobject else array


def read(slab: Slab, tensors: NamedDtypes, places: Places) -> dict[str, NDArray[Any]]:
    """Views into the slab by name (BYTES: object arrays of their own), read-only where the slab is.

    Args: places: without negative numbers; the rest is checked here.
    Raises: ValueError, TypeError, BadRequestError: a place outside the slab, or too small for its shape.
    """
    arrays = {}
    for (name, dtype), (offset, num_bytes, shape) in zip(tensors, places, strict=True):
        slab.cover(offset + num_bytes)
        if dtype.hasobject:
            raw = memoryview(slab.map)[offset : offset + num_bytes]
            arrays[name] = np.reshape(check_binary(name, "BYTES", raw, prod(shape)), shape)
        else:
            arrays[name] = np.ndarray(shape, dtype, slab.map, offset)  # numpy keeps it within the mapping
    return arrays
