"""Intervals in which a core does nothing for us: recorded on an idle core, replayed from a random place on.

The server's core has some, and so has the one that requests come from: it sends late what was due within, and reads late
what was answered within.

A stall of milliseconds comes once in a second or less, and decides the tail of a quick model: how many of them a profile saw
is itself chance, which a forecast's interval has to hold.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEVER: Final = 1 << 62
Ints = NDArray[np.int64]
_PIECE_NS: Final = 500_000_000  # of a record, drawn as one: what holds up a core comes in flurries


def drawn_again(
    intervals: Sequence[tuple[int, int]], observed_ns: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Another record of that length, of pieces of this one with replacement.

    A bootstrap of blocks that do not overlap (Carlstein 1986).
    """
    num = max(1, round(observed_ns / _PIECE_NS))
    length_ns = max(1, observed_ns // num)
    pieces: list[list[tuple[int, int]]] = [[] for _ in range(num)]
    for start_ns, hiccup_ns in intervals:
        place = min(num - 1, start_ns // length_ns)
        pieces[place].append((start_ns - place * length_ns, hiccup_ns))
    drawn, free_ns = [], 0
    for at, place in enumerate(rng.integers(num, size=num).tolist()):
        for within_ns, hiccup_ns in pieces[place]:
            # One that was cut off at the end of its piece goes on into the next.
            start_ns = max(free_ns, at * length_ns + within_ns)
            drawn.append((start_ns, hiccup_ns))
            free_ns = start_ns + hiccup_ns
    return drawn


class HeldUp:
    """What a core does in no time is done when no interval holds that core up: at once, or at the end of it.

    Args: intervals: as in `Hiccups`, replayed from a random place on, over and over.
    """

    __slots__ = ("_ends", "_origin_ns", "_period_ns", "_starts")

    def __init__(
        self, intervals: Sequence[tuple[int, int]], observed_ns: int, rng: np.random.Generator
    ) -> None:
        found = np.array(intervals, np.int64).reshape(-1, 2)
        self._starts, self._ends = found[:, 0], found.sum(axis=1)
        self._period_ns = max(observed_ns, 1 + int(self._ends[-1]) if len(found) else 1)
        self._origin_ns = int(rng.integers(self._period_ns)) if len(found) else 0

    def until(self, instants_ns: Ints) -> Ints:
        """When each is done. Args: instants_ns: shape (n,), in any order."""
        if not len(self._starts):
            return instants_ns
        within_ns = (instants_ns + self._origin_ns) % self._period_ns
        last = np.searchsorted(self._starts, within_ns, side="right") - 1
        held_ns = np.where(last >= 0, self._ends[last] - within_ns, 0)
        return np.asarray(instants_ns + np.maximum(held_ns, 0))

    def in_turn(self, instants_ns: Ints) -> Ints:
        """The same of ascending instants; what is due at once is done one after the other, however little later."""
        if not len(self._starts):
            return instants_ns
        order = np.arange(len(instants_ns))
        return np.asarray(np.maximum.accumulate(self.until(instants_ns) - order) + order)


class Hiccups:
    """The recorded intervals as an endless sequence. `start_ns`: of the next one; NEVER where none was recorded."""

    __slots__ = ("_at", "_lengths", "_origin_ns", "_period_ns", "_starts", "length_ns", "start_ns")

    def __init__(
        self, intervals: Sequence[tuple[int, int]], observed_ns: int, rng: np.random.Generator
    ) -> None:
        self._starts = [start for start, _ in intervals]
        self._lengths = [length for _, length in intervals]
        self._period_ns = max(observed_ns, 1 + sum(intervals[-1]) if intervals else 1)
        self._origin_ns = -int(rng.integers(self._period_ns))
        self._at = -1
        self.start_ns, self.length_ns = NEVER, 0
        if intervals:
            self.next()
            self.skip_to(0)

    def next(self) -> None:
        """Go on to the next interval."""
        self._at += 1
        if self._at == len(self._starts):
            self._at = 0
            self._origin_ns += self._period_ns
        self.start_ns = self._origin_ns + self._starts[self._at]
        self.length_ns = self._lengths[self._at]

    def skip_to(self, now_ns: int) -> int:
        """The core was idle until `now_ns`; when it can begin: then, or at the end of the interval it lies in."""
        if self.start_ns <= now_ns:
            self._leap(now_ns)
        while self.start_ns <= now_ns:
            now_ns = max(now_ns, self.start_ns + self.length_ns)
            self.next()
        return now_ns

    def pass_by(self, now_ns: int) -> None:
        """Leave behind what began until now: it is in something that was measured with it."""
        if self.start_ns < now_ns:
            self._leap(now_ns - 1)
            self.next()

    def hold(self, end_ns: int) -> int:
        """Work would end at `end_ns` if nothing held it up; when it does. Intervals it met are behind it then."""
        while self.start_ns < end_ns:
            end_ns += self.length_ns
            self.next()
        return end_ns

    def _leap(self, now_ns: int) -> None:
        """To the last interval that begins by now: those before it are over, as one core's are apart.

        Thousands of them pass while a server that is offered little sleeps.
        """
        periods, within_ns = divmod(now_ns - self._origin_ns, self._period_ns)
        at = bisect_right(self._starts, within_ns) - 1
        if at < 0:
            periods, at = periods - 1, len(self._starts) - 1
        self._origin_ns += periods * self._period_ns
        self._at = at
        self.start_ns = self._origin_ns + self._starts[at]
        self.length_ns = self._lengths[at]
