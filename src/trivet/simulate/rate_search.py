"""The search for the largest rate that holds: first a rate that does and one that does not, then between them.

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


def largest(
    holds: Holds, first: float, *, growth: float, least: float, most: float, precision: float
) -> tuple[float, float]:
    """(low, high): `low` holds and `high`, a factor of 1 + precision above it, does not. low is 0 where not even about
    `least` holds; high is above `most` where everything below it does.

    Rates stand on a grid of their own: who is as fast as another is found so, wherever the search began.
    Args: as of `bracket`.
    """
    step = math.log1p(precision)
    known: dict[int, bool] = {}

    def place(rate: float) -> int:
        return round(math.log(rate) / step)

    def holds_at(at: int) -> bool:
        if at not in known:
            known[at] = holds(math.exp(at * step))
        return known[at]

    found = bracket(lambda rate: holds_at(place(rate)), first, growth=growth, least=least, most=most)
    if not found[0]:
        return found
    low = place(found[0])
    # Nobody has asked at the bound itself, but whatever is above it cannot hold.
    high = place(found[1]) if found[1] < most else math.floor(math.log(most) / step) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds_at(middle) else (low, middle)
    return math.exp(low * step), math.exp(high * step)
