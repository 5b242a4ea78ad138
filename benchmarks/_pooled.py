"""Tails over all blocks together: one block has too few requests beyond its p99 to say where it is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.stats.interval import Interval, Ratio
from trivet.stats.percentile import (
    MIN_BLOCKS,
    percentile_ns,
    pooled_percentile_ns,
    ratio_of_pooled_percentiles,
)

Runs = Sequence[Sequence[float]]  # latencies in ns, a run each, in the order of sends
_NS_PER_MS = 1e6
_TAIL = 0.99


def pooled_p99_ms(runs: Runs, seed: int) -> Interval:
    """The p99 of all runs together, by bootstrap. From a single run anything may be true."""
    arrays = _arrays(runs)
    if len(arrays) < 2:
        return Interval(percentile_ns(arrays[0], _TAIL) / _NS_PER_MS, 0, float("inf"))
    rng = np.random.default_rng(seed)
    found = pooled_percentile_ns(arrays, _TAIL, block_size=_piece(arrays), rng=rng)
    return Interval(*(value / _NS_PER_MS for value in (found.estimate, found.low, found.high)))


def pooled_p99_ratio(a: Runs, b: Runs, seed: int) -> Ratio:
    """How many times the pooled p99 of `b` that of `a` is. From a single run anything may be true."""
    first, second = _arrays(a), _arrays(b)
    if len(first) < 2:
        return Ratio(percentile_ns(first[0], _TAIL) / percentile_ns(second[0], _TAIL), 0, float("inf"), 1)
    piece = min(_piece(first), _piece(second))
    rng = np.random.default_rng(seed)
    return ratio_of_pooled_percentiles(first, second, _TAIL, block_size=piece, rng=rng)


def _arrays(runs: Runs) -> list[NDArray[np.int64]]:
    return [np.array(run, np.int64) for run in runs]


def _piece(arrays: Sequence[NDArray[np.int64]]) -> int:
    """What is drawn again: whole runs where there are enough of them, for the machine's mood varies from run to run."""
    return max(1, min(*map(len, arrays), sum(map(len, arrays)) // MIN_BLOCKS))
