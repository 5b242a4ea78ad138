"""Shape buckets: what must be equal for two requests to share a batch, and a service time."""

from collections.abc import Collection, Sequence
from typing import Any

from trivet.spec.signature import VARIABLE, Signature

# Lengths of a ragged axis that share a batch: within a quarter of each other, so padding wastes at most a fifth.
_BUCKET_STEPS = 4

FreeAxes = tuple[tuple[int, int, bool], ...]  # (place of the input, axis, whether its sizes are rounded)


def free_axes(signature: Signature, ragged: Collection[tuple[str, int]], max_batch_size: int) -> FreeAxes:
    """The axes whose sizes requests choose; found once, since every request asks for its bucket.

    Sizes of ragged axes are rounded up to steps of a quarter octave. Where requests run alone all are: there sizes
    only tell how long it takes.

    Args: ragged: (input, axis).
    """
    return tuple(
        (place, axis, max_batch_size == 1 or (spec.name, axis) in ragged)
        for place, spec in enumerate(signature.inputs)
        for axis, size in enumerate(spec.shape)
        if size == VARIABLE and (axis > 0 or not signature.batch_axis)
    )


def bucket_of_shapes(free: FreeAxes, shapes: Sequence[Sequence[int]]) -> Any:
    """What must be equal for two requests to share a batch: None where everything is, one length where all free
    axes have it, else a tuple.

    Args: shapes: in the signature's order.
    """
    if not free:
        return None
    key = [
        length_bucket(shapes[place][axis]) if rounded else shapes[place][axis]
        for place, axis, rounded in free
    ]
    return key[0] if len(set(key)) == 1 else tuple(key)


def length_bucket(length: int) -> int:
    """`length` rounded up to the next of 4 steps in its octave: 1..8 exactly, then 10, 12, 14, 16, 20, 24, ..."""
    if length <= 2 * _BUCKET_STEPS:
        return length
    step = 1 << ((length - 1).bit_length() - 3)
    return -(-length // step) * step
