"""Degradation in virtual time: the decisions of pipeline/degrading.py, carried out on a simulated worker's scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trivet.pipeline.degrading import Degrading
from trivet.schedule import Queue, Scheduler
from trivet.schedule.expecting import expected_end_ns
from trivet.simulate.profile import NO_LENGTH
from trivet.simulate.setup import LadderSetup
from trivet.simulate.stages import ModelStage, SimulatedRequest


class SimulatedLadder:
    """The models that may answer at one stage. Args: rungs: the declared one first."""

    __slots__ = ("_decision", "_rung_of", "_scheduler", "rungs")

    def __init__(self, scheduler: Scheduler, rungs: Sequence[ModelStage], setup: LadderSetup) -> None:
        self.rungs = tuple(rungs)
        self._scheduler = scheduler
        self._rung_of = {stage: rung for rung, stage in enumerate(rungs)}
        losses = [0.0, *(rung.loss for rung in setup.rungs)]
        self._decision = Degrading(losses, setup.max_loss, setup.window, setup.latency_ns, setup.ease)

    def offer(self, request: SimulatedRequest, begun_ns: int, length: int, now_ns: int) -> bool:
        """Whether one of them has admitted a request that has come to the stage just now."""
        deadline_ns = request.deadline_ns
        ease_ns = self._decision.ease_ns(begun_ns, deadline_ns, now_ns)

        def is_easy(rung: int) -> bool:
            return expected_end_ns(self._queue(rung, length), 1, deadline_ns, now_ns) <= ease_ns

        return self._offered(request, length, now_ns, self._decision.offers(1, is_easy))

    def again(self, request: SimulatedRequest, stage: ModelStage, length: int, now_ns: int) -> bool:
        """Whether another one has admitted a request that `stage` has dropped."""
        rung = self._rung_of[stage]
        self._decision.lost(rung, 1)
        return self._offered(request, length, now_ns, self._decision.again(rung, 1))

    def settled(self, stage: ModelStage, *, in_time: bool) -> int:
        """One of them ran a request that it had admitted. Returns: its rung."""
        rung = self._rung_of[stage]
        if in_time:
            self._decision.answered(rung, 1)
        else:
            self._decision.lost(rung, 1)
        return rung

    def _queue(self, rung: int, length: int) -> Queue:
        stage = self.rungs[rung]
        return stage.queue(length if stage.has_lengths else NO_LENGTH)

    def _offered(self, request: SimulatedRequest, length: int, now_ns: int, rungs: Iterable[int]) -> bool:
        for rung in rungs:
            request.queue = self._queue(rung, length)
            if self._scheduler.offer(request, now_ns) is None:
                self._decision.taken(rung, 1)
                return True
        return False
