"""What a model takes and gives: names, datatypes and shapes in the words of the Open Inference Protocol."""

import msgspec

from trivet.errors import SpecError

DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
)  # fmt: skip

VARIABLE = -1  # a dimension whose size the request chooses


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output. `shape` holds -1 for a dimension that the request chooses."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            known = ", ".join(DATATYPES)
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
