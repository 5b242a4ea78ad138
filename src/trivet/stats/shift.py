"""Where in the distribution do two sides differ? Quantile by quantile, each with its interval."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats import student_t
from trivet.stats._scipy import special
from trivet.stats.bootstrap import paired_resamples, spread_of_blocks
from trivet.stats.errors import EmptySampleError
from trivet.stats.interval import Interval
from trivet.stats.multiple import hochberg

DECILES_AND_TAIL = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Shift:
    """Quantile `p` of both sides and their difference (b - a), in the unit of the values.

    `p_value`: adjusted for all quantiles asked for: at level alpha, those below it all differ, but for a probability alpha.
    """

    p: float
    a: float
    b: float
    difference: Interval
    p_value: float


def harrell_davis(values: ArrayLike, p: float) -> float:
    """Quantile `p` as a weighted mean of all values, the weights from a beta distribution: smoother than any one of them.

    Args: values: shape (n,), any order.  p: in (0, 1).
    Raises: EmptySampleError: n == 0.  ValueError: p out of range.  ExtraMissingError: no scipy.
    Source: Harrell & Davis (1982).
    """
    ordered = np.sort(np.asarray(values, np.float64))
    _check(p)
    if not len(ordered):
        raise EmptySampleError(f"no values, so no quantile {p:g}")
    return float(_weights(len(ordered), p) @ ordered)


def shift_function(
    blocks_a: Sequence[ArrayLike],
    blocks_b: Sequence[ArrayLike],
    rng: np.random.Generator,
    *,
    ps: Sequence[float] = DECILES_AND_TAIL,
    confidence: float = 0.95,
    num_resamples: int = 400,
) -> list[Shift]:
    """The quantiles of all of `a` and all of `b` together, and their differences. Block i of `a` pairs with i of `b`.

    Pairs of blocks are resampled, so values within one may depend on each other, and what a pair shares cancels. The
    interval is the difference ± t times the resampled spread, with n - 1 degrees of freedom for n pairs.

    Args: blocks_a, blocks_b: n arrays each of any lengths, such as latencies in nanoseconds.
    Raises: EmptySampleError: no block, or one without values.  TooFewError: fewer than 5 pairs.  ValueError: not
    paired, or a p out of range.  ExtraMissingError: no scipy.   Source: Doksum (1974); Rousselet, Pernet & Wilcox (2017).
    """
    for p in ps:
        _check(p)
    sides = [_pooled(blocks) for blocks in (blocks_a, blocks_b)]
    statistic = _quantiles(ps, len(sides[0]))
    resamples = paired_resamples(blocks_a, blocks_b, statistic, rng, num_resamples)
    quantiles_a, quantiles_b = (np.array([harrell_davis(side, p) for p in ps]) for side in sides)
    differences = quantiles_b - quantiles_a
    num_blocks = len(blocks_a)
    spreads = spread_of_blocks(resamples[1] - resamples[0], num_blocks)
    margins = student_t.quantile((1 + confidence) / 2, num_blocks - 1) * spreads
    adjusted = hochberg([_p_value(d, s, num_blocks) for d, s in zip(differences, spreads, strict=True)])
    return [
        Shift(p, float(a), float(b), Interval(float(d), float(d - margin), float(d + margin)), float(p_value))
        for p, a, b, d, margin, p_value in zip(
            ps, quantiles_a, quantiles_b, differences, margins, adjusted, strict=True
        )
    ]


def _pooled(blocks: Sequence[ArrayLike]) -> NDArray[np.float64]:
    arrays = [np.asarray(block, np.float64) for block in blocks]
    if not arrays:
        raise EmptySampleError("no blocks, so no quantiles")
    for number, array in enumerate(arrays):
        if not len(array):
            raise EmptySampleError(f"block {number} has no values; leave out the pair")
    return np.concatenate(arrays)


def _quantiles(ps: Sequence[float], num: int) -> Callable[[NDArray[np.generic]], NDArray[np.float64]]:
    """The quantiles of samples of about `num` values, with the weights for `num`: those are costly, a resample is not."""
    weights = np.stack([_weights(num, p) for p in ps])

    def statistic(values: NDArray[np.generic]) -> NDArray[np.float64]:
        ordered = np.sort(values.astype(np.float64))
        # Blocks of unequal lengths: the resample is stretched, each value as often as the length asks.
        stretched = ordered[np.arange(num) * len(ordered) // num]
        quantiles: NDArray[np.float64] = weights @ stretched
        return quantiles

    return statistic


@functools.lru_cache(maxsize=64)
def _weights(num: int, p: float) -> NDArray[np.float64]:
    edges = special("a quantile by Harrell and Davis").betainc(
        p * (num + 1), (1 - p) * (num + 1), np.arange(num + 1) / num
    )
    weights: NDArray[np.float64] = np.diff(edges)
    return weights


def _p_value(difference: float, spread: float, num_blocks: int) -> float:
    if spread == 0:
        return 1.0 if difference == 0 else 0.0
    return 2 * student_t.cdf(-abs(difference) / spread, num_blocks - 1)


def _check(p: float) -> None:
    if not 0 < p < 1:
        raise ValueError(f"p is {p}, must be in (0, 1)")
