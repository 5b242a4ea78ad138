"""Several upstreams that give the same answers: which one is next, and which are left alone for now.

Decisions only. By weight, in smooth turns; not while its breaker is open, nor before the instant that its Retry-After
names. One that is much slower, or fails much more often, than the others is ejected: its breaker opens.
"""

from collections.abc import Collection, Sequence
from statistics import median

from trivet.pipeline.breaker import Breaker
from trivet.pipeline.recent import RecentTimes
from trivet.spec.failures import BreakerRule

# An outlier: its median time is so many times that of the others, or its share of failures so much above theirs. Of two
# that differ nobody knows which is the odd one, but requests fare better without the one that is slow or fails.
_SLOWER = 5.0
_MORE_FAILURES = 0.2


class Upstream:
    """One of them. `num_running`: tries on their way."""

    def __init__(self, name: str, weight: float, rule: BreakerRule) -> None:
        self.name = name
        self.weight = weight
        self.breaker = Breaker(rule)
        self.times = RecentTimes(50)
        self.paused_until_ns = 0
        self.turn = 0.0  # grows while others are chosen
        self.num_running = 0
        self.num_tries = 0
        self.num_failed = 0
        self.num_ejected = 0

    def is_free(self, now_ns: int) -> bool:
        """Whether a try may be sent to it now."""
        return now_ns >= self.paused_until_ns and self.breaker.allows(now_ns)


class Upstreams:
    """Args: named: name and weight of each.  last: names of those asked only when no other can answer, in order."""

    def __init__(
        self, named: Sequence[tuple[str, float]], rule: BreakerRule, last: Sequence[str] = ()
    ) -> None:
        self.own = [Upstream(name, weight, rule) for name, weight in named]
        self.last = [Upstream(name, 1.0, rule) for name in last]
        self._most_ejected = len(self.own) // 2

    @property
    def all(self) -> list[Upstream]:
        return [*self.own, *self.last]

    def choose(self, now_ns: int, tried: Collection[Upstream] = ()) -> Upstream | None:
        """The next of the own upstreams: one that was not tried, where there is one; None: all are left alone."""
        free = [one for one in self.own if one.is_free(now_ns)]
        fresh = [one for one in free if one not in tried]
        return self._next(fresh or free)

    def choose_other(self, now_ns: int, busy: Collection[Upstream]) -> Upstream | None:
        """Another one than those that are busy with the same request, none of them on trial."""
        return self._next(
            [
                one
                for one in self.own
                if one not in busy and one.is_free(now_ns) and one.breaker.state(now_ns) == "closed"
            ]
        )

    def choose_last(self, now_ns: int, tried: Collection[Upstream]) -> Upstream | None:
        return next((one for one in self.last if one not in tried and one.is_free(now_ns)), None)

    def free_again_ns(self) -> int:
        """The instant at which the first of them may be tried again."""
        return min(max(one.paused_until_ns, one.breaker.opens_again_ns) for one in self.own)

    def pause(self, upstream: Upstream, until_ns: int) -> None:
        """It asked to be left alone until then."""
        upstream.paused_until_ns = max(upstream.paused_until_ns, until_ns)

    def answered(self, upstream: Upstream, time_ns: int, now_ns: int) -> None:
        """It took so long for a good answer: is it an outlier?"""
        upstream.times.add(time_ns)
        own_ns = upstream.times.value_ns()
        if own_ns is None:
            return
        others = [time for one in self._others(upstream, now_ns) if (time := one.times.value_ns())]
        if others and own_ns > _SLOWER * median(others):
            self._eject(upstream, now_ns)

    def failed(self, upstream: Upstream, now_ns: int, *, probe: bool) -> None:
        """A try failed by its fault: does it so much more often than the others?"""
        upstream.breaker.failed(now_ns, probe=probe)
        own = upstream.breaker.share_failed()
        if own is None:
            return
        shares = (one.breaker.share_failed() for one in self._others(upstream, now_ns))
        others = [share for share in shares if share is not None]
        if others and own > median(others) + _MORE_FAILURES:
            self._eject(upstream, now_ns)

    def _others(self, upstream: Upstream, now_ns: int) -> list[Upstream]:
        return [one for one in self.own if one is not upstream and one.breaker.state(now_ns) == "closed"]

    def _eject(self, upstream: Upstream, now_ns: int) -> None:
        """Never more than half of them: what is left has to take the requests of all."""
        num_out = len(self.own) - 1 - len(self._others(upstream, now_ns))
        if upstream.breaker.state(now_ns) != "closed" or num_out >= self._most_ejected:
            return
        upstream.breaker.open(now_ns)
        upstream.num_ejected += 1
        upstream.times.clear()  # it is judged by what it does when it is back

    def _next(self, free: Sequence[Upstream]) -> Upstream | None:
        """Smooth weighted turns: in each run of sum(weights) turns, everyone has its weight's share, well mixed."""
        if not free:
            return None
        total = 0.0
        for one in free:
            one.turn += one.weight
            total += one.weight
        chosen = max(free, key=lambda one: one.turn)
        chosen.turn -= total
        return chosen
