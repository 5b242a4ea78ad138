"""Degradation under load: which of several models answers, the most accurate that is in time, inside a budget.

Decisions only. Rung 0 is the model as declared, the others stand in for it, each less accurate than the one before. A
request goes to the first rung that would be done in the *ease* of its time: a part of what is left of it. So the queue
stands at that mark under load, whatever rungs cost and however many requests come: a long job no longer fits there, a
shorter one does. Were all of the time given away, the queue would stand at the deadline, where every hiccup makes its
requests late. What a rung loses is paid from a budget that answers by better ones fill.

Rules for maintainers: amounts are integers, so that what the budget promises is exact (tests/pipeline/test_degrading.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

DEGRADED: Final = "degraded:"  # before the name of who stood in, in answers and rows
UNIT: Final = 1_000_000_000  # of amounts: 1e-9 of the metric
EASE: Final = 0.5  # benchmarks/degradation_grid.py; decisions/0032


class AccuracyBudget:
    """What stand-ins may cost.

    Promise: of any n rows answered one after the other, the losses together are at most max_loss * (n + window), whatever
    is in flight, fails or leaves meanwhile.
    Args: max_loss: of a row on average.  window: rows whose share may be spent ahead.
    """

    __slots__ = ("_reserved", "cap", "max_loss", "potential")

    def __init__(self, max_loss: float, window: int) -> None:
        self.max_loss = round(max_loss * UNIT)
        self.cap = self.max_loss * window
        # Invariant: 0 <= _reserved <= potential <= cap. The potential falls and rises with what is answered only.
        self.potential = self.cap
        self._reserved = 0

    def covers(self, loss: int, rows: int) -> bool:
        """Whether so many rows may each lose so much, now."""
        return (loss - self.max_loss) * rows <= self.potential - self._reserved

    def reserve(self, loss: int, rows: int) -> None:
        self._reserved += max(0, loss - self.max_loss) * rows

    def release(self, loss: int, rows: int) -> None:
        """Nothing was answered."""
        self._reserved -= max(0, loss - self.max_loss) * rows

    def answered(self, loss: int, rows: int) -> None:
        """Rows that were reserved are answered."""
        self.release(loss, rows)
        self.potential = min(self.cap, self.potential + (self.max_loss - loss) * rows)


class Degrading:
    """The decision for one service.

    Args: losses: of each rung against rung 0, ascending; the first is 0.  latency_ns: after which an answer breaks the SLO,
    though its deadline may be later; None: none is promised.  ease: share of the time that is left.
    """

    def __init__(
        self,
        losses: Sequence[float],
        max_loss: float,
        window: int,
        latency_ns: int | None = None,
        ease: float = EASE,
    ) -> None:
        self._latency_ns = latency_ns
        self._ease = ease
        self.budget = AccuracyBudget(max_loss, window)
        self.losses = tuple(round(loss * UNIT) for loss in losses)

    def ease_ns(self, begun_ns: int, deadline_ns: int, now_ns: int) -> int:
        """The instant until which a rung should be done to be taken at once. Args: begun_ns: its first byte was read."""
        if self._latency_ns is not None:
            deadline_ns = min(deadline_ns, begun_ns + self._latency_ns)
        return now_ns + int(self._ease * (deadline_ns - now_ns))

    def offers(self, rows: int, is_easy: Callable[[int], bool]) -> Iterable[int]:
        """The rungs to be offered a new request, in this order, until one takes it.

        Args: is_easy: whether a rung would be done in the ease of the request's time.
        """
        allowed = [rung for rung, loss in enumerate(self.losses) if self.budget.covers(loss, rows)]
        for place, rung in enumerate(allowed):
            if is_easy(rung):
                return allowed[place:]
        # More than all can do with ease: the cheapest holds up the fewest, then whoever has cores of its own.
        return allowed[::-1]

    def again(self, rung: int, rows: int) -> Iterable[int]:
        """The rungs to be offered a request that this one has let go, in this order."""
        return [
            other
            for other in range(rung + 1, len(self.losses))
            if self.budget.covers(self.losses[other], rows)
        ]

    def taken(self, rung: int, rows: int) -> None:
        """A rung has admitted a request."""
        self.budget.reserve(self.losses[rung], rows)

    def answered(self, rung: int, rows: int) -> None:
        self.budget.answered(self.losses[rung], rows)

    def lost(self, rung: int, rows: int) -> None:
        """What was taken gets no answer of this rung: dropped, failed, late, or its client has left."""
        self.budget.release(self.losses[rung], rows)
