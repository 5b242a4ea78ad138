"""What a model takes and gives: names, datatypes and shapes in the words of the Open Inference Protocol."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.typing import DTypeLike

from trivet.errors import SpecError

# Open Inference Protocol datatype -> numpy. BYTES is an object array of `bytes`; BF16 travels as its raw 16
# bits (uint16), because numpy has no such type: an engine that takes it reinterprets them.
NUMPY_OF_DATATYPE: Mapping[str, DTypeLike] = MappingProxyType(
    {
        "BOOL": np.bool_,
        "UINT8": np.uint8,
        "UINT16": np.uint16,
        "UINT32": np.uint32,
        "UINT64": np.uint64,
        "INT8": np.int8,
        "INT16": np.int16,
        "INT32": np.int32,
        "INT64": np.int64,
        "FP16": np.float16,
        "FP32": np.float32,
        "FP64": np.float64,
        "BF16": np.uint16,
        "BYTES": np.object_,
    }
)

VARIABLE = -1  # a dimension whose size the request chooses


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output. `shape` holds -1 for a dimension that the request chooses."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.datatype not in NUMPY_OF_DATATYPE:
            known = ", ".join(NUMPY_OF_DATATYPE)
            raise SpecError(f"tensor {self.name!r}: unknown datatype {self.datatype!r}; known: {known}")
        for size in self.shape:
            if size < VARIABLE:
                message = f"a dimension is -1 (the request chooses) or a size, got {size}"
                raise SpecError(f"tensor {self.name!r}: {message}")


class Signature(msgspec.Struct, frozen=True):
    """Inputs and outputs of a model or a service.

    `batch_axis`: axis 0 of every input and output counts requests that may share one batch. Without it
    each request runs alone.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_axis: bool = False
