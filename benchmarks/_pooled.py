"""Tails over all blocks together: one block has too few requests beyond its p99 to say where it is.

The interval leaves out one run after the other and asks how much that moves the p99 of the rest (a jackknife of its
logarithm, with Student's t for as many runs). Runs are what is independent: requests of one run share a queue, and the
machine's mood. Source: Tukey (1958); Shao & Wu (1989) on percentiles, where what is left out has to be large.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.stats import student_t
from trivet.stats.interval import Interval, Ratio
from trivet.stats.percentile import percentile_ns

Runs = Sequence[Sequence[float]]  # latencies in ns, a run each
_Arrays = Sequence[NDArray[np.int64]]
_NS_PER_MS = 1e6
_TAIL = 0.99
_CONFIDENCE = 0.95


def pooled_p99_ms(runs: Runs) -> Interval:
    """The p99 of all runs together. From a single run anything may be true."""
    arrays = _arrays(runs)
    estimate, low, high = _jackknife(len(arrays), lambda kept: math.log(_p99(arrays, kept)))
    return Interval(estimate / _NS_PER_MS, low / _NS_PER_MS, high / _NS_PER_MS)


def pooled_p99_ratio(a: Runs, b: Runs) -> Ratio:
    """How many times the pooled p99 of `b` that of `a` is; run i of `a` was measured beside run i of `b`."""
    first, second = _arrays(a), _arrays(b)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} runs beside {len(second)}: they must be paired")
    found = _jackknife(len(first), lambda kept: math.log(_p99(first, kept) / _p99(second, kept)))
    return Ratio(*found, len(first))


def _jackknife(num: int, log_of: Callable[[Sequence[int]], float]) -> tuple[float, float, float]:
    """Estimate, low and high. Args: log_of: the logarithm of the figure of the runs with these indices."""
    everything = range(num)
    estimate = log_of(everything)
    if num < 2:
        return math.exp(estimate), 0.0, math.inf
    without = np.array([log_of([i for i in everything if i != left_out]) for left_out in everything])
    error = math.sqrt((num - 1) / num * float(((without - without.mean()) ** 2).sum()))
    reach = student_t.quantile((1 + _CONFIDENCE) / 2, num - 1) * error
    return math.exp(estimate), math.exp(estimate - reach), math.exp(estimate + reach)


def _p99(arrays: _Arrays, kept: Sequence[int]) -> int:
    return percentile_ns(np.concatenate([arrays[i] for i in kept]), _TAIL)


def _arrays(runs: Runs) -> list[NDArray[np.int64]]:
    return [np.array(run, np.int64) for run in runs]
