"""The guard of a certified cascade in virtual time: audits are requests of the lowest priority, and what they find is known
of each measured input. Who is audited, and which point is in force, the server's own guard decides (pipeline/certified.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from trivet.pipeline.certified import NOTHING_LEAVES, Guard
from trivet.simulate.setup import GuardSetup
from trivet.simulate.stages import ModelStage, SimulatedRequest, Stages

# As in runtime/auditing.py: so many at once, none while so many requests wait, and how much time each has.
_MOST_AT_ONCE = 4
_MOST_WAITING = 4
AUDIT_NS = 30_000_000_000


class SimulatedAudit(SimulatedRequest):
    """One request answered again; `place`: of the request."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class GuardStep:
    """The guard of a worker went to another point. num_audited: audits that it had learned from by then."""

    at_ns: int
    num_audited: int
    point: int


class SimulatedAudits:
    """Of one worker. Args: inputs: which of the measured inputs each of its requests is.  first, last: places of the first
    exit's model and of the last model."""

    def __init__(self, setup: GuardSetup, inputs: list[int], first: int, last: int) -> None:
        self.guard = Guard(setup.points, setup.max_loss, setup.delta, setup.audit_share, setup.seed)
        self.first = first
        self.steps: list[GuardStep] = []
        self.num_left_out = 0
        self._setup, self._inputs, self._last = setup, inputs, last
        self._num_running = 0
        self.lengths: list[int] | None = None  # of the requests

    def watch(self, stages: Stages) -> None:
        """The stages that audits pass, and whose scheduler has them."""
        self._scheduler, self._models, self._first_steps = stages.scheduler, stages.models, stages.first

    def exit_of(self, place: int) -> int:
        """The place of the model behind which a request is answered now."""
        point = self.guard.point
        return self._last if point == NOTHING_LEAVES else self._setup.exits[point][self._inputs[place]]

    def wants(self, now_ns: int, num_waiting: int) -> bool:
        """Whether the request that is at the first exit is audited."""
        if not self.guard.audit(now_ns):
            return False
        if self._num_running >= _MOST_AT_ONCE or num_waiting > _MOST_WAITING:
            self.num_left_out += 1
            return False
        return True

    def begin(self, place: int, now_ns: int) -> int:
        """A request is answered a second time, from its beginning; when the loop is done with that."""
        self._num_running += 1
        now_ns += int(sum([step.times.draw(1) for step in self._first_steps]))
        first, end_by_ns = self._models[0], now_ns + AUDIT_NS
        queue = first.low_queue(self._length(place))
        return self._offered(
            SimulatedAudit(queue, now_ns, end_by_ns - first.spare_ns, place, end_by_ns), now_ns
        )

    def go_on(self, audit: SimulatedRequest, stage: ModelStage, now_ns: int) -> int:
        """An audit passes every exit; behind the last model it is over."""
        audit.stage += 1
        if audit.stage == len(self._models):
            self.over(audit, now_ns, answered=True)
            return now_ns
        now_ns += int(sum([step.times.draw(1) for step in stage.steps]))
        following = self._models[audit.stage]
        audit.queue = following.low_queue(self._length(audit.place))
        audit.arrival_ns, audit.deadline_ns = now_ns, audit.end_by_ns - following.spare_ns
        return self._offered(audit, now_ns)

    def _offered(self, audit: SimulatedRequest, now_ns: int) -> int:
        if self._scheduler.offer(audit, now_ns) is not None:
            self.over(audit, now_ns, answered=False)
        return now_ns

    def _length(self, place: int) -> int:
        return 0 if self.lengths is None else self.lengths[place]

    def over(self, audit: SimulatedRequest, now_ns: int, *, answered: bool) -> None:
        self._num_running -= 1
        if not answered:
            return
        point, guard = self.guard.point, self.guard
        guard.learn_each([lost[self._inputs[audit.place]] for lost in self._setup.lost])
        if guard.point != point:
            self.steps.append(GuardStep(now_ns, guard.num_audited, guard.point))
