"""Two systems measured in a number of paired blocks fixed beforehand: different, equivalent, or cannot tell?"""

from numpy.typing import ArrayLike

from trivet.stats.paired import ratio_of_paired_blocks
from trivet.stats.verdict import Effect, verdict_of_ratio


def effect_of_blocks(
    a: ArrayLike, b: ArrayLike, *, margin: float, confidence: float = 0.95, smaller_is_better: bool
) -> Effect:
    """How many times `b` is `a`, and what is `b` beside `a`? One value a block; block i of `a` pairs with i of `b`.

    Better or worse where the paired t interval of `confidence` leaves out 1. Equivalent where two one-sided t tests
    of size 1 - confidence say that the ratio lies within the margin, which is where the interval of
    2 * confidence - 1 does. The number of blocks must not depend on what was seen: else take `PairedSequence`.

    Args: a, b: shape (n,), positive.  margin: 0.05 for 5 %.
    Raises: EmptySampleError: n == 0.  TooFewError: n == 1.  ValueError: not paired, a value that is not positive,
    a margin that is not, or a confidence outside of (0.5, 1).   Source: Schuirmann (1987).
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, must be in (0.5, 1)")
    ratio = ratio_of_paired_blocks(b, a, confidence)
    inner = ratio_of_paired_blocks(b, a, 2 * confidence - 1)
    return Effect(ratio, verdict_of_ratio(ratio, inner, margin, smaller_is_better), margin)
