"""Outputs that are kept to be given again: copies, which nobody may change."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What an entry takes beside its data: objects, the key, its places in two dictionaries. Measured with tracemalloc on
# CPython 3.11: 0.9 kB for one output, 0.2 kB for each further one.
_ENTRY_BYTES = 700
_TENSOR_BYTES = 250


@dataclass(frozen=True, slots=True)
class Kept:
    """rows: of each tensor, or chunks of an answer in chunks. stored_ns: when it was computed, by this process's clock.

    answered_by: the model that answered, where there are exits; of each row where they parted.
    """

    tensors: Mapping[str, NDArray[Any]]
    rows: int
    stored_ns: int
    num_bytes: int
    answered_by: str | list[str] = ""


def keep(
    outputs: Mapping[str, NDArray[Any]],
    names: Collection[str],
    rows: int,
    now_ns: int,
    answered_by: str | list[str] = "",
) -> Kept:
    """Args: names: the outputs that are kept. Raises: KeyError: one of them is not there."""
    tensors = {}
    num_bytes = _ENTRY_BYTES
    for name in names:
        array = tensors[name] = np.array(outputs[name])
        array.flags.writeable = False
        num_bytes += _TENSOR_BYTES + array.nbytes
        if array.dtype.hasobject:
            num_bytes += sum(sys.getsizeof(item) for item in array.flat)
    return Kept(tensors, rows, now_ns, num_bytes, answered_by)
