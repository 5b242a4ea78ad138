"""Credits: how many jobs of a class may wait, so that a queue that stands does not become the latency of everyone.

A hybrid of CoDel (Nichols and Jacobson 2012: the smallest delay of an interval shows a standing queue; a burst that
drains within the interval does not) and Breakwater (Cho et al., OSDI 2020: additive increase below the target delay,
multiplicative decrease in proportion to the excess).
"""

from __future__ import annotations

from typing import Final

_MIN_CREDIT: Final = 1.0
_GROWTH: Final = 0.001
_CUT_SLOPE: Final = 0.08
_CUT_MOST: Final = 0.5


class Credits:
    """Bound on the waiting jobs of one class. `target_ns`: the smallest queueing delay of an interval aimed at."""

    __slots__ = ("_interval_end_ns", "_min_sojourn_ns", "interval_ns", "limit", "target_ns")

    def __init__(self, target_ns: int, interval_ns: int, limit: int = 1 << 30) -> None:
        self.target_ns = target_ns
        self.interval_ns = interval_ns
        self.limit = float(limit)
        self._interval_end_ns = 0
        self._min_sojourn_ns = -1

    def observe(self, sojourn_ns: int, num_waiting: int, now_ns: int) -> None:
        """A job left its queue for a batch after `sojourn_ns`; `num_waiting` jobs of its class waited just before."""
        if self._min_sojourn_ns < 0 or sojourn_ns < self._min_sojourn_ns:
            self._min_sojourn_ns = sojourn_ns
        if now_ns < self._interval_end_ns:
            return
        excess = self._min_sojourn_ns / self.target_ns - 1
        if excess < 0:
            self.limit += max(1.0, _GROWTH * self.limit)
        else:
            # The limit may lie far above what waits (it grew in calm times): a cut starts from what waits.
            self.limit = min(self.limit, float(num_waiting)) * (1 - min(_CUT_MOST, _CUT_SLOPE * excess))
            self.limit = max(self.limit, _MIN_CREDIT)
        self._interval_end_ns = now_ns + self.interval_ns
        self._min_sojourn_ns = -1
