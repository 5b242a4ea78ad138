"""Outputs that are kept to be given again: copies, which nobody may change."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.runtime.results import Results

# What an entry takes beside its data: objects, the key, its places in two dictionaries. Measured with tracemalloc on
# CPython 3.11: 0.9 kB for one output, 0.2 kB for each further one.
_ENTRY_BYTES = 700
_TENSOR_BYTES = 250
_SMALL = 64  # elements of all outputs
_RESULTS_BYTES = 600
_NUMBER_BYTES = 40  # as an object in a list, and as bytes


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
    # Small answers are kept as they are read to be written, too: once they have been read.
    results: Results | None = None


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
    results = None
    num_elements = sum(array.size for array in tensors.values())
    if rows == 1 and num_elements <= _SMALL:
        results = Results(tensors, True, 1)
        num_bytes += _RESULTS_BYTES + _NUMBER_BYTES * num_elements
    return Kept(tensors, rows, now_ns, num_bytes, answered_by, results)
