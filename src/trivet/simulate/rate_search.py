"""The search for the largest rate that holds: first a rate that does and one that does not, then halves between them.

A forecast and the tuner's screening search alike; they differ in what is simulated at a rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Holds = Callable[[float], bool]


def bracket(
    holds: Holds, first: float, *, growth: float, least: float, most: float = math.inf
) -> tuple[float, float]:
    """(low, high): `low` holds and `high` does not. (0, least): not even `least` does; high is `most` where all below do.

    Args: first: where the search begins.  growth: of its first step, above 1; each further step squares it.
    """
    if holds(first):
        while (further := first * growth) < most and holds(further):
            first, growth = further, growth * growth
        return first, min(further, most)
    while True:
        lower = max(first / growth, least)
        if holds(lower):
            return lower, first
        if lower <= least:
            return 0.0, least
        first, growth = lower, growth * growth


def halved(holds: Holds, low: float, high: float, precision: float) -> tuple[float, float]:
    """The same bracket with ends no further apart than a factor of 1 + precision, on a log scale."""
    while high > low * (1 + precision):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high
