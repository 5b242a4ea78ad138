"""Shapes of single requests: the model's, with every free dimension given a size."""

from collections.abc import Mapping, Sequence

from trivet.errors import SpecError
from trivet.spec.fields import nearest
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.v2_input import fits

Shapes = Mapping[str, Sequence[int]]  # of inputs, without the batch axis, as Perf Analyzer's --shape


def check_names(shapes: Shapes, signature: Signature) -> None:
    """Raises: SpecError: a shape for an input that the model does not have."""
    names = [spec.name for spec in signature.inputs]
    for name in shapes:
        if name not in names:
            raise SpecError(
                f"a shape is given for {name!r}: the model has no such input{nearest(name, names)}"
            )


def request_shape(spec: TensorSpec, batch_axis: bool, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape given without the batch axis (or with all of it) as the shape of a request of one row.

    Raises: SpecError: it does not fit the model's.
    """
    given = tuple(shape)
    full = (1, *given) if batch_axis and len(given) == len(spec.shape) - 1 else given
    if not fits(full, spec.shape):
        expected = list(spec.shape[1:] if batch_axis else spec.shape)
        raise SpecError(f"input {spec.name!r}: shape {list(given)} does not fit the model's {expected}")
    return full


def num_free(spec: TensorSpec, batch_axis: bool) -> int:
    """Dimensions that a request chooses, the batch axis apart."""
    return sum(size == VARIABLE for size in spec.shape[batch_axis:])
