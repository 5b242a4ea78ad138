"""Differences of figures that are no means (F1, AUC, p99.9): pairs of blocks are resampled."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats import student_t
from trivet.stats.errors import TooFewError
from trivet.stats.interval import Interval

MIN_BLOCKS = 5  # below it there are too few ways to put pairs together


def paired_block_interval(
    statistic: Callable[[NDArray[np.generic]], float],
    blocks_a: Sequence[ArrayLike],
    blocks_b: Sequence[ArrayLike],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    num_resamples: int = 400,
) -> Interval:
    """`statistic` of all rows of `b` minus that of `a`. Block i of `a` pairs with i of `b`.

    Pairs are resampled whole: values within a block may depend on each other, and what a pair shares cancels. The
    interval is the difference ± t times the resampled spread, with n - 1 degrees of freedom for n pairs: at few pairs
    the usual percentiles of the resampled differences are too narrow. Near its promise where the statistic is about
    linear in the rows; a p99.9 needs some tens of values beyond it in all.

    Args: statistic: of an array of rows.  blocks_a, blocks_b: n arrays, each of shape (rows, ...): one row may be a block.
    Raises: TooFewError: fewer than 5 pairs.  ValueError: not paired, or a statistic that is not finite.
    Source: Davison & Hinkley (1997), sections 2.4 and 3.8.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, must be in (0, 1)")
    resamples = paired_resamples(blocks_a, blocks_b, statistic, rng, num_resamples)
    if not np.isfinite(resamples).all():
        raise ValueError(
            "the statistic of a resample is not finite: take larger blocks, so that each has all classes"
        )
    first, second = (float(statistic(np.concatenate(side))) for side in (blocks_a, blocks_b))
    num_blocks = len(blocks_a)
    spread = float(spread_of_blocks(resamples[1] - resamples[0], num_blocks))
    margin = student_t.quantile((1 + confidence) / 2, num_blocks - 1) * spread
    return Interval(second - first, second - first - margin, second - first + margin)


def paired_resamples(
    blocks_a: Sequence[ArrayLike],
    blocks_b: Sequence[ArrayLike],
    statistic: Callable[[NDArray[np.generic]], ArrayLike],
    rng: np.random.Generator,
    num_resamples: int,
) -> NDArray[np.float64]:
    """The statistic of both sides of each resample, shape (2, num_resamples, ...): both have the same pairs in it."""
    if len(blocks_a) != len(blocks_b):
        raise ValueError(f"blocks are not paired: {len(blocks_a)} and {len(blocks_b)}")
    num_blocks = len(blocks_a)
    if num_blocks < MIN_BLOCKS:
        raise TooFewError(
            f"{num_blocks} pairs of blocks: resampling needs at least {MIN_BLOCKS}; measure more"
        )
    sides = [[np.asarray(block) for block in side] for side in (blocks_a, blocks_b)]
    drawn = rng.integers(num_blocks, size=(num_resamples, num_blocks))
    return np.array(
        [[statistic(np.concatenate([side[i] for i in row])) for row in drawn] for side in sides], np.float64
    )


def spread_of_blocks(differences: NDArray[np.float64], num_blocks: int) -> NDArray[np.float64]:
    """The standard error from resampled differences, shape (num_resamples, ...).

    Resampling n pairs shows the spread of n - 1 of them: the factor makes up for it.
    """
    spread: NDArray[np.float64] = differences.std(axis=0, ddof=1) * math.sqrt(num_blocks / (num_blocks - 1))
    return spread
