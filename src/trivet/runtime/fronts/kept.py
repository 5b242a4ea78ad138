"""Outputs that are kept to be given again: copies, which nobody may change."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.runtime.results import Results

# What an entry takes beside its data: objects, the key, its places in two dictionaries. tracemalloc finds 0.9 kB for one
# output of 8 numbers and 1.6 kB once it has been read (CPython 3.11); for 1 to 4 outputs of 8 to 200 numbers what is
# counted here was always more than what was found.
_ENTRY_BYTES = 700
_TENSOR_BYTES = 250
_SMALL = 64  # elements of all outputs
_RESULTS_BYTES = 600
_NUMBER_BYTES = 40  # as an object in a list, and as bytes


@dataclass(slots=True)  # not frozen: that would take a third of the time of keeping an answer
class Kept:
    """rows: of each tensor, or chunks of an answer in chunks. stored_ns: when it was computed, by this process's clock.

    answered_by: the model that answered, where there are exits; of each row where they parted.
    """

    tensors: Mapping[str, NDArray[Any]]
    rows: int
    stored_ns: int
    num_bytes: int
    answered_by: str | list[str]
    is_small: bool
    _results: Results | None = None

    @property
    def results(self) -> Results | None:
        """Small answers are kept as they are read to be written, too, once they have been read. None: a larger one."""
        if self.is_small and self._results is None:
            self._results = Results(self.tensors, True, 1)
        return self._results


def keep(
    outputs: Mapping[str, NDArray[Any]],
    names: Collection[str],
    rows: int,
    now_ns: int,
    answered_by: str | list[str] = "",
) -> Kept:
    """Args: names: the outputs that are kept. Raises: KeyError: one of them is not there."""
    tensors = {}
    num_bytes, num_elements = _ENTRY_BYTES, 0
    for name in names:
        array = tensors[name] = np.array(outputs[name])
        array.flags.writeable = False
        num_bytes += _TENSOR_BYTES + array.nbytes
        num_elements += array.size
        if array.dtype.hasobject:
            num_bytes += sum(sys.getsizeof(item) for item in array.flat)
    is_small = rows == 1 and num_elements <= _SMALL
    if is_small:
        num_bytes += _RESULTS_BYTES + _NUMBER_BYTES * num_elements
    return Kept(tensors, rows, now_ns, num_bytes, answered_by, is_small)
