"""Percentiles of observed times; their intervals are in quantile_interval.py."""

import math

import numpy as np
from numpy.typing import NDArray

from trivet.stats.errors import EmptySampleError


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


def _rank(num: int, p: float) -> int:
    # Rounding first: 0.07 * 100 is 7.000000000000001 in binary, and its rank is 7.
    return max(0, math.ceil(round(p * num, 9)) - 1)
