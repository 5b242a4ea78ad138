"""Random inputs where there are none: they have the right shapes and types, and mean nothing to the model."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trivet.load.dialects.contract import Row
from trivet.load.inputs.shapes import Shapes, check_names, request_shape
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

# Below 100, so that nearly every table that a model looks them up in has them; from 1: 0 is often padding.
LOW, HIGH = 1, 100
_NUM_WORDS = (3, 12)
_NUM_LETTERS = (2, 9)
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)


def random_rows(
    signature: Signature, num_rows: int, rng: np.random.Generator, shapes: Shapes | None = None
) -> list[Row]:
    """Rows of one request each: normal floats, integers from 1 to 99, booleans of a fair coin, texts of random words.

    Args: shapes: of inputs with free dimensions; those not named have the size 1 in each.
    Raises: SpecError: a shape of an unknown input, or one that does not fit.
    """
    shapes = shapes or {}
    check_names(shapes, signature)
    known = {
        spec.name: request_shape(
            spec, signature.batch_axis, shapes.get(spec.name, _ones(spec, signature.batch_axis))
        )
        for spec in signature.inputs
    }
    return [
        {spec.name: _random(spec, known[spec.name], rng) for spec in signature.inputs}
        for _ in range(num_rows)
    ]


def _ones(spec: TensorSpec, batch_axis: bool) -> tuple[int, ...]:
    return tuple(1 if size == VARIABLE else size for size in spec.shape[batch_axis:])


def _random(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.generic]:
    match spec.datatype:
        case "BYTES":
            return _filled(shape, lambda: _sentence(rng))
        case "BOOL":
            return rng.integers(0, 2, shape).astype(np.bool_)
        case "FP16" | "FP32" | "FP64":
            return rng.normal(size=shape).astype(NUMPY_OF_DATATYPE[spec.datatype])
        case "BF16":  # the upper half of a float32
            return (rng.normal(size=shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        case _:
            return rng.integers(LOW, HIGH, shape).astype(NUMPY_OF_DATATYPE[spec.datatype])


def _sentence(rng: np.random.Generator) -> bytes:
    sizes = rng.integers(*_NUM_LETTERS, rng.integers(*_NUM_WORDS))
    return b" ".join(rng.choice(_LETTERS, size).tobytes() for size in sizes)


def _filled(shape: tuple[int, ...], make: Callable[[], bytes]) -> NDArray[np.object_]:
    array = np.empty(shape, object)
    for i in range(array.size):
        array.flat[i] = make()
    return array
