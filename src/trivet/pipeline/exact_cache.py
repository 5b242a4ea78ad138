"""Decisions about equal requests: which one is computed, who waits for it, and what is said when it fails.

Of equal requests that are on their way at the same time the first leads, and the others wait for its answer. A request
never waits for one that may be slower than itself: with a later deadline, or of a less urgent class. Where the leader
fails, each of the others is computed for itself, as without a cache: an error is never anybody else's. Where only its
client left, the most urgent of them leads.

Invariant: each request that was told to wait comes out exactly once: by `landed`, `failed`, `left` or `expire`.
"""

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Generic, Literal, TypeVar

Who = TypeVar("Who", bound=Hashable)
Role = Literal["lead", "wait", "alone"]

NEVER: Final = 1 << 62


def is_fresh(stored_ns: int, ttl_ns: int | None, now_ns: int) -> bool:
    """Whether an answer that was computed at `stored_ns` may still be given. ttl_ns: None: for ever."""
    return ttl_ns is None or now_ns - stored_ns < ttl_ns


@dataclass(slots=True)
class _Flight(Generic[Who]):
    """One question that is being computed. urgency: 1 is the most urgent class."""

    leader: Who
    end_by_ns: int
    urgency: int
    waiting: dict[Who, tuple[int, int]] = field(default_factory=dict)  # (end_by_ns, urgency)


class Flights(Generic[Who]):
    """The questions on their way, by digest."""

    __slots__ = ("_count", "_deadlines", "_flights", "_of")

    def __init__(self) -> None:
        self._flights: dict[bytes, _Flight[Who]] = {}
        self._of: dict[Who, bytes] = {}  # leaders and those that wait
        self._deadlines: list[
            tuple[int, int, Who]
        ] = []  # of those that wait; a heap, with some that are gone
        self._count = count()

    def __len__(self) -> int:
        """Requests that lead or wait."""
        return len(self._of)

    def arrive(self, key: bytes, who: Who, end_by_ns: int, urgency: int) -> Role:
        """What becomes of a request whose answer is not kept."""
        flight = self._flights.get(key)
        if flight is None:
            self._flights[key] = _Flight(who, end_by_ns, urgency)
            self._of[who] = key
            return "lead"
        if end_by_ns < flight.end_by_ns or urgency < flight.urgency:
            return "alone"
        flight.waiting[who] = (end_by_ns, urgency)
        self._of[who] = key
        heapq.heappush(self._deadlines, (end_by_ns, next(self._count), who))
        return "wait"

    def landed(self, who: Who) -> list[Who]:
        """`who` is answered. Returns: those that waited for it, if it led: the same answer is theirs."""
        flight = self._ended(who)
        return [] if flight is None else list(flight.waiting)

    def failed(self, who: Who) -> list[Who]:
        """`who` got an error. Returns: those that waited for it, if it led: each goes on alone."""
        return self.landed(who)

    def left(self, who: Who) -> list[Who]:
        """The client of `who` is gone. Returns: who goes on now, if it led: first the new leader, then those that
        would be held up by it; the rest waits on.
        """
        key = self._of.get(who)
        flight = self._ended(who)
        if flight is None or key is None or not flight.waiting:
            return []
        waiting = flight.waiting
        order = sorted(waiting, key=lambda one: (waiting[one][1], waiting[one][0]))
        leader, *others = order
        end_by_ns, urgency = waiting[leader]
        going = [leader] + [one for one in others if waiting[one][0] < end_by_ns]
        staying = {one: waiting[one] for one in others if waiting[one][0] >= end_by_ns}
        self._flights[key] = _Flight(leader, end_by_ns, urgency, staying)
        for one in (leader, *staying):
            self._of[one] = key
        return going

    def wake_at_ns(self) -> int:
        """When the next of those that wait will have waited too long; NEVER: nobody waits."""
        heap = self._deadlines
        while heap and not self._waits(heap[0][2]):
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def expire(self, now_ns: int) -> list[Who]:
        """Those whose deadline has come while they waited: they wait no more."""
        late = []
        while (wake_ns := self.wake_at_ns()) != NEVER and wake_ns <= now_ns:
            who = heapq.heappop(self._deadlines)[2]
            del self._flights[self._of.pop(who)].waiting[who]
            late.append(who)
        return late

    def _waits(self, who: Who) -> bool:
        key = self._of.get(who)
        return key is not None and who in self._flights[key].waiting

    def _ended(self, who: Who) -> _Flight[Who] | None:
        """Take out one that led, with all that wait for it, or one that waited (None)."""
        key = self._of.pop(who, None)
        if key is None:
            return None
        flight = self._flights[key]
        if flight.leader != who:
            del flight.waiting[who]
            return None
        del self._flights[key]
        for one in flight.waiting:
            del self._of[one]
        return flight
