"""Arrays that a stage gave, as the inputs of a model: checked against its signature, in its datatypes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import VARIABLE, Signature
from trivet.wire.v2_input import InferInput


def as_inputs(tensors: Mapping[str, NDArray[Any]], name: str, signature: Signature) -> list[InferInput]:
    """In the signature's order.

    Raises: EngineError: an input is missing, or of a shape or datatype that the model does not take.
    """
    inputs = []
    for spec in signature.inputs:
        array = tensors.get(spec.name)
        if array is None:
            raise EngineError(
                f"model {name!r} needs input {spec.name!r}; the step before it gave {sorted(tensors)}"
            )
        if len(array.shape) != len(spec.shape) or any(
            expected not in (VARIABLE, dim) for dim, expected in zip(array.shape, spec.shape, strict=True)
        ):
            raise EngineError(
                f"model {name!r}: input {spec.name!r} has shape {list(array.shape)}; expected {list(spec.shape)}"
            )
        try:
            data = np.ascontiguousarray(array, np.dtype(NUMPY_OF_DATATYPE[spec.datatype]))
        except (ValueError, TypeError, OverflowError) as error:
            raise EngineError(
                f"model {name!r}: input {spec.name!r} is not {spec.datatype}: {error}"
            ) from None
        inputs.append(InferInput(array.shape, data))
    return inputs


def as_arrays(
    tensors: Mapping[str, NDArray[Any]], name: str, signature: Signature
) -> dict[str, NDArray[Any]]:
    """The same by name. Raises: EngineError: as `as_inputs`."""
    inputs = as_inputs(tensors, name, signature)
    return {
        spec.name: np.asarray(one.data).reshape(one.shape)
        for spec, one in zip(signature.inputs, inputs, strict=True)
    }
