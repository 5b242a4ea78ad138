"""From the tensors of several requests to the tensors of one batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import Signature
from trivet.wire.tensor import as_array
from trivet.wire.v2_input import InferInput


class BatchBuilder:
    """Joins requests of one shape bucket along axis 0; pads the axes that are declared ragged.

    Args: ragged: input name -> (axis, padding value).
    """

    def __init__(self, signature: Signature, ragged: Mapping[str, tuple[int, float]] | None = None) -> None:
        self._specs = [
            (i, spec.name, spec.datatype, np.dtype(NUMPY_OF_DATATYPE[spec.datatype]))
            for i, spec in enumerate(signature.inputs)
        ]
        self._ragged = dict(ragged or {})

    def build(self, requests: Sequence[Sequence[InferInput]], rows: int) -> dict[str, NDArray[Any]]:
        """Args: requests: the inputs of each request, in the signature's order. rows: their rows together."""
        if len(requests) == 1:
            only = requests[0]
            return {
                name: as_array(datatype, only[i].data, only[i].shape) for i, name, datatype, _ in self._specs
            }
        return {
            name: self._join([inputs[i] for inputs in requests], name, datatype, dtype, rows)
            for i, name, datatype, dtype in self._specs
        }

    def _join(
        self, parts: list[InferInput], name: str, datatype: str, dtype: np.dtype[Any], rows: int
    ) -> NDArray[Any]:
        if name in self._ragged:
            return self._pad(parts, name, datatype, dtype, rows)
        shape = (rows, *parts[0].shape[1:])
        if datatype == "BYTES":
            return np.concatenate([part.data for part in parts]).reshape(shape)
        # Steps give arrays; bytes.join takes anything with a buffer, whatever its declared type says.
        buffers: Any = [part.data for part in parts]
        return np.frombuffer(b"".join(buffers), dtype).reshape(shape)

    def _pad(
        self, parts: list[InferInput], name: str, datatype: str, dtype: np.dtype[Any], rows: int
    ) -> NDArray[Any]:
        axis, value = self._ragged[name]
        longest = max(part.shape[axis] for part in parts)
        shape = [rows, *parts[0].shape[1:]]
        shape[axis] = longest
        out = np.full(shape, value, dtype)
        start = 0
        for part in parts:
            stop = start + part.shape[0]
            where = [slice(start, stop), *(slice(0, dim) for dim in part.shape[1:])]
            out[tuple(where)] = as_array(datatype, part.data, part.shape)
            start = stop
        return out
