"""Whether a simulated run can still keep an SLO: late requests are counted as they become so, and a lost run ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trivet.simulate.record import OK, Record

LOOK_EVERY: Final = 32  # arrivals


class Lateness:
    """What a run of all workers together may still afford. `left`: requests that may be late; below 0 the SLO is lost.

    Args: budget_ns: of a request at the worker's socket, from its arrival to its answer.  most: that may be late.
    from_ns: requests before it do not count.
    """

    __slots__ = ("_budget_ns", "_from_ns", "left")

    def __init__(self, budget_ns: int, most: int, from_ns: int = 0) -> None:
        self._budget_ns = budget_ns
        self._from_ns = from_ns
        self.left = most

    def count(self, record: Record, arrivals_ns: Sequence[int], place: int, now_ns: int) -> int:
        """Count those from `place` on whose time is over; the place of the first that still has some.

        Args: arrivals_ns: ascending, with an instant that never comes at its end.
        """
        done, outcome, budget_ns = record.done_ns, record.outcome, self._budget_ns
        while arrivals_ns[place] < now_ns - budget_ns:
            arrived = arrivals_ns[place]
            is_late = outcome[place] != OK or not 0 <= done[place] - arrived <= budget_ns
            if is_late and arrived >= self._from_ns:
                self.left -= 1
            place += 1
        return place
