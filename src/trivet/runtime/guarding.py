"""The guard of a certified service at work: how many audits may be on their way, what comes of them, and who hears of it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trivet.pipeline.certified import NOTHING_LEAVES, Guard
from trivet.runtime.request import Request

if TYPE_CHECKING:
    from trivet.runtime.live import LiveService
    from trivet.runtime.runtime import Runtime

# Audits must not take time from requests: so many at once at most, none while so many requests wait, and each with so much
# time, at the lowest priority, that everything else is more urgent.
_MOST_AT_ONCE = 4
_MOST_WAITING = 4
AUDIT_TIME_NS = 30_000_000_000
AUDIT_PRIORITY = 100


class LiveGuard:
    """Of one live service in one worker.

    Invariant: every audit is counted once: same, changed, failed, or left out because the worker had better things to do.

    Args: apply: is told the thresholds in force, now and whenever they change; None: nothing may leave.
    """

    def __init__(
        self,
        live: "LiveService",
        guard: Guard,
        apply: Callable[[tuple[float, ...] | None], None],
        say: Callable[[str], None],
    ) -> None:
        self.guard = guard
        self._live = live
        self._apply = apply
        self._say = say
        self._num_running = 0
        apply(guard.thresholds)

    def has_room(self, runtime: "Runtime") -> bool:
        """Whether an audit that was drawn may begin. True: exactly one of `begin` and `needless` has to follow."""
        if self._num_running >= _MOST_AT_ONCE or runtime.scheduler.num_waiting > _MOST_WAITING:
            self._count("left out")
            return False
        return True

    def begin(self) -> None:
        """Exactly one of `failed` and `learned` has to follow."""
        self._num_running += 1

    def needless(self) -> None:
        """Whatever the models say, no point would have given another answer."""
        self._count("same")

    def failed(self) -> None:
        """The models gave nothing that could be compared."""
        self._num_running -= 1
        self._count("failed")

    def learned(self, lost: Sequence[Sequence[bool]], num_kept: int = 0) -> None:
        """Args: lost: for each row of the audit, whether each point would have given it another answer.  num_kept: rows of
        needless ones that are learned with it.
        """
        self._num_running -= 1
        guard = self.guard
        point = guard.point
        is_changed = False
        if num_kept:
            guard.learn_kept(num_kept)
        for one in lost:
            is_changed |= point != NOTHING_LEAVES and one[point]
            guard.learn_each(one)
        self._count("changed" if is_changed else "same")
        if guard.point != point:
            self._moved(point)

    def paid(self, request: Request) -> None:
        """What a request of an audit has cost is nobody's but the service's own."""
        if self._live.costing is not None:
            self._live.costing.audited(request)

    def _moved(self, before: int) -> None:
        guard = self.guard
        self._apply(guard.thresholds)
        way = "back" if guard.point < before else "on"
        self._live.counts.add("trivet_cascade_steps_total", abs(guard.point - before), way=way)
        withdrawn = len(guard.points) - 1 - guard.point
        self._live.counts.set("trivet_cascade_withdrawn_points", withdrawn)
        now = "nothing leaves early" if guard.thresholds is None else f"thresholds {list(guard.thresholds)}"
        self._say(
            f"service {self._live.name!r}: after {guard.num_audited} audits the cascade went {way} to certified point "
            f"{guard.point + 1} of {len(guard.points)}: {now}"
        )

    def _count(self, outcome: str) -> None:
        self._live.counts.add("trivet_cascade_audits_total", outcome=outcome)
