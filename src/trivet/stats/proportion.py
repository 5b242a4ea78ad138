"""Shares of rows (accuracy, errors), and the difference of two shares of the same rows. Exact: no normal approximation."""

import numpy as np
from numpy.typing import ArrayLike

from trivet.stats._paired_shares import lowest_difference
from trivet.stats._scipy import special
from trivet.stats.errors import EmptySampleError
from trivet.stats.interval import Interval


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The share of successes, with an interval that covers the truth at least as often as it says, for every n.

    Raises: EmptySampleError: n == 0.  ValueError: counts or confidence out of range.   ExtraMissingError: no scipy.
    Source: Clopper & Pearson (1934).
    """
    _check_confidence(confidence)
    if n == 0:
        raise EmptySampleError("no rows, so no share")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: must be between 0 and {n}")
    tail = (1 - confidence) / 2
    inverse = special("the interval of a share").betaincinv
    low = inverse(successes, n - successes + 1, tail) if successes else 0.0
    high = inverse(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return Interval(successes / n, float(low), float(high))


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """The share of `b` minus that of `a` on the same rows. Rows where both are right, or both wrong, say nothing.

    Covers at least as often as it says: each bound is where an exact test (over all outcomes of as many rows) of the
    difference just fails, at the worst share of rows that may differ.

    Args: a, b: shape (n,), boolean, paired by index.
    Raises: EmptySampleError: n == 0.  ValueError: not paired or not boolean.  ExtraMissingError: no scipy.
    Source: Berger & Boos (1994) for the worst share; the statistic is McNemar's, moved to the difference tested.
    """
    _check_confidence(confidence)
    first, second = np.asarray(a), np.asarray(b)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"rows are not paired: shapes {first.shape} and {second.shape}")
    if first.dtype != np.bool_ or second.dtype != np.bool_:
        raise ValueError(f"rows must be right or wrong (bool), got {first.dtype} and {second.dtype}")
    if len(first) == 0:
        raise EmptySampleError("no rows, so no difference of shares")
    gained, lost, tail = int((second & ~first).sum()), int((first & ~second).sum()), (1 - confidence) / 2
    low = lowest_difference(gained, lost, len(first), tail)
    high = -lowest_difference(lost, gained, len(first), tail)
    return Interval((gained - lost) / len(first), low, high)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, must be in (0, 1)")
