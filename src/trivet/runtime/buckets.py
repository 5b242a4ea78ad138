"""Shape buckets: what must be equal for two requests to share a batch, and a service time."""

from collections.abc import Collection, Sequence
from typing import Any

from trivet.spec.signature import VARIABLE, Signature

# Lengths of a ragged axis that share a batch: within a quarter of each other, so padding wastes at most a fifth.
_BUCKET_STEPS = 4


def bucket_of_shapes(
    signature: Signature, rounded: Collection[tuple[str, int]] | None, shapes: Sequence[Sequence[int]]
) -> Any:
    """None where everything is equal, one length where all free dimensions have it, else a tuple.

    Args: rounded: (input, axis) whose sizes are rounded up to steps of a quarter octave; None: of all axes, for a
    model whose requests run alone, where sizes only tell how long it takes.  shapes: in the signature's order.
    """
    key = []
    for spec, shape in zip(signature.inputs, shapes, strict=True):
        for axis, declared in enumerate(spec.shape):
            if declared != VARIABLE or (axis == 0 and signature.batch_axis):
                continue
            size = shape[axis]
            key.append(length_bucket(size) if rounded is None or (spec.name, axis) in rounded else size)
    if not key:
        return None
    return key[0] if len(set(key)) == 1 else tuple(key)


def length_bucket(length: int) -> int:
    """`length` rounded up to the next of 4 steps in its octave: 1..8 exactly, then 10, 12, 14, 16, 20, 24, ..."""
    if length <= 2 * _BUCKET_STEPS:
        return length
    step = 1 << ((length - 1).bit_length() - 3)
    return -(-length // step) * step
