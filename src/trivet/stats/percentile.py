"""Percentiles of observed times, and an interval for a tail percentile of dependent observations."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Interval, Ratio

MIN_BLOCKS = 10  # below it the bootstrap has too few pieces to rearrange


def percentile_ns(latencies_ns: NDArray[np.int64], p: float) -> int:
    """Smallest observed latency that at least a share `p` of requests did not exceed (nearest rank).

    Args: latencies_ns: shape (n,), any order, nanoseconds.  p: in (0, 1].
    Raises: EmptySampleError: n == 0.   Source: Hyndman & Fan (1996), definition 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"p is {p}, must be in (0, 1]")
    if len(latencies_ns) == 0:
        raise EmptySampleError(f"no latencies, so no percentile {p:g}")
    rank = _rank(len(latencies_ns), p)
    return int(np.partition(latencies_ns, rank)[rank])


def pooled_percentile_ns(
    runs_ns: Sequence[NDArray[np.int64]],
    p: float,
    *,
    block_size: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 1000,
) -> Interval:
    """Percentile `p` of the pooled latencies, with a moving-block bootstrap interval.

    Blocks of consecutive requests, none across two runs, are drawn with replacement and joined to a sample as
    long as the original: dependence within a block is kept. Honest only where `block_size` covers the queue's
    memory. Near saturation it does not, and the interval covers less than it says (for M/M/1 from a
    utilisation of about 0.8).

    Args: runs_ns: for each run, latencies of shape (n,) in the order of intended sends.
    Raises: EmptySampleError: no latency.  TooFewError: fewer than 10 blocks.   Source: Künsch (1989).
    """
    pooled = _pool(runs_ns)
    estimates = _resampled(runs_ns, p, block_size, rng, num_resamples)
    low, high = _bounds(estimates, confidence)
    return Interval(float(percentile_ns(pooled, p)), low, high)


def ratio_of_pooled_percentiles(
    runs_a_ns: Sequence[NDArray[np.int64]],
    runs_b_ns: Sequence[NDArray[np.int64]],
    p: float,
    *,
    block_size: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 1000,
) -> Ratio:
    """How many times the pooled percentile of `b` is that of `a`?

    Both sides are resampled as in `pooled_percentile_ns`, which says when that is honest; raises as there.
    """
    ratios = np.divide(
        *(_resampled(runs, p, block_size, rng, num_resamples) for runs in (runs_a_ns, runs_b_ns))
    )
    low, high = _bounds(ratios, confidence)
    estimate = percentile_ns(_pool(runs_a_ns), p) / percentile_ns(_pool(runs_b_ns), p)
    return Ratio(estimate, low, high, len(runs_a_ns))


def _pool(runs_ns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    if not any(len(run) for run in runs_ns):
        raise EmptySampleError(f"no latencies in {len(runs_ns)} runs, so no percentile")
    return np.concatenate(runs_ns)


def _resampled(
    runs_ns: Sequence[NDArray[np.int64]],
    p: float,
    block_size: int,
    rng: np.random.Generator,
    num_resamples: int,
) -> NDArray[np.float64]:
    """The percentile of each resampled pool, shape (num_resamples,)."""
    pooled = _pool(runs_ns)
    num = len(pooled)
    if block_size < 1 or num < MIN_BLOCKS * block_size:
        raise TooFewError(
            f"{num} latencies in blocks of {block_size}: at least {MIN_BLOCKS} blocks are needed; "
            "measure longer or take smaller blocks"
        )
    ends = np.cumsum([len(run) for run in runs_ns])
    begins = ends - [len(run) for run in runs_ns]
    ranges = zip(begins, ends, strict=True)
    starts = np.concatenate([np.arange(begin, max(begin, end - block_size + 1)) for begin, end in ranges])
    if not len(starts):
        raise TooFewError(f"no run is as long as one block of {block_size}; take smaller blocks")
    offsets = np.arange(block_size)
    rank = _rank(num, p)
    estimates = np.empty(num_resamples)
    for i in range(num_resamples):
        drawn = rng.choice(starts, math.ceil(num / block_size))
        sample = pooled[(drawn[:, np.newaxis] + offsets).ravel()[:num]]
        estimates[i] = np.partition(sample, rank)[rank]
    return estimates


def _bounds(estimates: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The central share `confidence` of the resampled estimates (nearest rank)."""
    ordered = np.sort(estimates)
    tail = (1 - confidence) / 2
    low, high = (float(ordered[_rank(len(ordered), share)]) for share in (tail, 1 - tail))
    return low, high


def _rank(num: int, p: float) -> int:
    # Rounding first: 0.07 * 100 is 7.000000000000001 in binary, and its rank is 7.
    return max(0, math.ceil(round(p * num, 9)) - 1)
