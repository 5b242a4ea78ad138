"""Means over blocks of measurements, each with its interval."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats import student_t
from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Interval, Ratio


def mean_of_blocks(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of one value a block: mean ± t * sd / sqrt(n), t with n - 1 degrees of freedom.

    Args: values: shape (n,), finite, any sign.
    Raises: EmptySampleError: n == 0.  TooFewError: n == 1.  ValueError: not finite.
    """
    sample = np.asarray(values, np.float64)
    _check(len(sample))
    if not np.isfinite(sample).all():
        raise ValueError(f"a mean needs finite values, got {sample[~np.isfinite(sample)][0]}")
    centre = float(sample.mean())
    margin = _t(confidence, len(sample)) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Interval(centre, centre - margin, centre + margin)


def ratio_of_pooled_means(a: Sequence[ArrayLike], b: Sequence[ArrayLike], confidence: float = 0.95) -> Ratio:
    """How many times the mean of all of `b`'s values together is that of all of `a`'s? Block i of `a` pairs with i of `b`.

    The interval is the delete-one-block jackknife's: sd of the pseudo-values n * r - (n - 1) * r_without_i over
    sqrt(n), times t with n - 1 degrees of freedom. Blocks are what varies, so values within one may depend on each
    other. A mean of zeros and ones is a share.

    Args: a, b: n arrays each of any lengths, none negative.
    Raises: EmptySampleError: no block, or a side without a value.  TooFewError: n == 1.  ValueError: not paired, or
    the mean of `b` is 0 (also where one block of it is left out).   Source: Efron & Tibshirani (1993), chapter 11.
    """
    if len(a) != len(b):
        raise ValueError(f"blocks are not paired: {len(a)} and {len(b)}")
    num_blocks = len(a)
    _check(num_blocks)
    sums_a, counts_a = _sums(a)
    sums_b, counts_b = _sums(b)
    if not counts_a.sum() or not counts_b.sum():
        raise EmptySampleError("a side has no value, so no mean")
    ratio = _ratio(sums_a.sum(), counts_a.sum(), sums_b.sum(), counts_b.sum())
    without = np.array(
        [
            _ratio(*(sums.sum() - sums[i] for sums in (sums_a, counts_a, sums_b, counts_b)))
            for i in range(num_blocks)
        ]
    )
    pseudo = num_blocks * ratio - (num_blocks - 1) * without
    margin = _t(confidence, num_blocks) * float(pseudo.std(ddof=1)) / math.sqrt(num_blocks)
    return Ratio(ratio, max(0.0, ratio - margin), ratio + margin, num_blocks)


def _sums(blocks: Sequence[ArrayLike]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    arrays = [np.asarray(block, np.float64) for block in blocks]
    return np.array([array.sum() for array in arrays]), np.array([len(array) for array in arrays], np.float64)


def _ratio(sum_a: float, count_a: float, sum_b: float, count_b: float) -> float:
    if not count_a or not count_b or not sum_b > 0:
        raise ValueError("a ratio of means needs values on both sides and a positive mean below the line")
    return float((sum_a / count_a) / (sum_b / count_b))


def _check(num_blocks: int) -> None:
    if num_blocks == 0:
        raise EmptySampleError("no blocks, so no mean")
    if num_blocks == 1:
        raise TooFewError("one block has no spread, so its mean has no interval; measure at least 2")


def _t(confidence: float, num_blocks: int) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, must be in (0, 1)")
    return student_t.quantile((1 + confidence) / 2, num_blocks - 1)
