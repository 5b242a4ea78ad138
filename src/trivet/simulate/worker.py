"""One worker in virtual time: its event loop turn by turn, its engine threads, and the cores that they share.

What the loop does stands here in the order of `runtime/runtime.py`: sockets that are ready are read, decoded and offered;
batches that ended are learned from and answered one after the other; then the scheduler says what starts. An inline batch
holds the loop; engine threads run beside it, on what cores are left: the loop's thread goes first, as its niceness wants.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.schedule import Batch, Drop
from trivet.simulate.hiccups import NEVER, Hiccups
from trivet.simulate.host import Host
from trivet.simulate.record import DROPPED, FAILED, REFUSED, Record
from trivet.simulate.stages import ModelStage, SimulatedRequest, Stages

_MAX_TURN_NS: Final = 2_000_000  # as in runtime/runtime.py


class _Running:
    """A batch on an engine thread. `left_ns`: of its work, at full speed; began_ns: -1 until it gets a core."""

    __slots__ = ("batch", "began_ns", "hand_over_ns", "left_ns", "stage", "threads")

    def __init__(self, batch: Batch, stage: ModelStage, hand_over_ns: int, work_ns: float) -> None:
        self.batch = batch
        self.stage = stage
        self.threads = stage.threads
        self.hand_over_ns = hand_over_ns
        self.began_ns = -1
        self.left_ns = hand_over_ns + work_ns


class Worker:
    """One event loop and its engines.

    Args: hiccups: of the loop's core, and of the engines' where they have others.  cores: that its threads share.
    exits: the stage after which request i is answered, or None.
    """

    def __init__(
        self,
        stages: Stages,
        host: Host,
        hiccups: tuple[Hiccups, Hiccups],
        cores: float,
        deadline_ns: int,
        exits: NDArray[np.int64] | None = None,
    ) -> None:
        self._stages = stages
        self._scheduler = stages.scheduler
        self._models = list(stages.models)
        self._stage_of = {stage.model: stage for stage in stages.models}
        self._host = host
        self._hiccups, self._engine_hiccups = hiccups
        self._cores = cores
        self._deadline_ns = deadline_ns
        self._exits = None if exits is None else exits.tolist()
        self._now = 0
        self._next = 0
        self._again = False  # the last turn was cut short: the next begins at once
        self._running: list[_Running] = []
        self._ended: list[tuple[_Running, int]] = []
        self._engine_end_ns = -(1 << 60)  # when an engine last ended: after a pause it begins cold
        self.busy_ns = 0.0  # core time of the loop and the engines

    def run(self, arrivals_ns: list[int], lengths: list[int] | None) -> Record:
        """Each request of the worker until it has its outcome. Instants ascend; they are those at the worker's socket."""
        self._arrivals = [*arrivals_ns, NEVER]
        self._lengths = lengths
        self._record = Record(len(arrivals_ns))
        while self._again or self._ended or self._arrivals[self._next] <= self._now or self._sleep():
            begun = self._now
            self._again = False
            self._read()
            if self._ended:
                self._answer_ended()
            if self._scheduler.num_waiting:
                self._start_batches()
            self.busy_ns += self._now - begun
            if self._running:
                self._advance(begun, self._now, loop_is_busy=True)
        return self._record

    # --- the loop -----------------------------------------------------------------------------------------------

    def _sleep(self) -> bool:
        """Until something happens: an arrival, the end of a batch, a timer. False: nothing ever will."""
        due = self._arrivals[self._next]
        wake = due
        if self._scheduler.num_waiting:
            timer = self._scheduler.wake_at_ns()
            if timer is not None and timer < due:
                wake = max(timer, self._now + 1)
        now = self._now
        if self._running:
            now = self._advance(now, wake, loop_is_busy=False)
            if self._ended:
                now += self._host.hand_back_ns
            elif self._cores > 1:
                now += self._host.wake_ns()
        elif wake == NEVER:
            return False
        else:
            now = wake + self._host.wake_ns() if wake == due else wake
        self._now = self._hiccups.skip_to(now)
        return True

    def _read(self) -> None:
        """Everything that has come until now; what comes meanwhile waits for the next turn."""
        arrivals, until, place = self._arrivals, self._now, self._next
        if arrivals[place] > until:
            return
        lone = self._models[0]
        lengths, read_ns, deadline_ns = self._lengths, self._host.read_ns, self._deadline_ns
        offer, first, spare_ns = self._scheduler.offer, self._stages.first, lone.spare_ns
        offered = self._record.offered_ns
        queue = lone.queue(0) if lengths is None else lone.queue(lengths[place])
        now = until
        while arrivals[place] <= until:
            end_by_ns = now + deadline_ns
            now += read_ns
            if first:
                now += int(sum([step.times.draw(1) for step in first]))
            if lengths is not None:
                queue = lone.queue(lengths[place])
            offered[place] = now
            request = SimulatedRequest(queue, now, end_by_ns - spare_ns, place, end_by_ns)
            if offer(request, now) is not None:
                now += self._host.answer_ns
                self._record.lost(place, now, REFUSED)
            place += 1
        self._next = place
        self._now = self._hiccups.hold(now) if now > self._hiccups.start_ns else now

    def _answer_ended(self) -> None:
        ended, self._ended = self._ended, []
        for running, end_ns in ended:
            self._scheduler.finished(running.batch, end_ns, end_ns - running.began_ns)
            self._answer(running.batch, running.stage, running.began_ns, end_ns)

    def _start_batches(self) -> None:
        poll, end_ns = self._scheduler.poll, self._now + _MAX_TURN_NS
        while commands := poll(self._now):
            for command in commands:
                if type(command) is Batch:
                    stage = self._stage_of[command.model]
                    self._now += self._host.batch_ns
                    if stage.inline:
                        self._run_inline(command, stage)
                    else:
                        self._start(command, stage)
                elif type(command) is Drop:
                    self._now += self._host.answer_ns
                    outcome = DROPPED if command.refusal is None else REFUSED
                    self._record.lost(command.job.place, self._now, outcome)  # type: ignore[attr-defined]
            if self._now > end_ns:
                self._again = True
                break

    def _run_inline(self, batch: Batch, stage: ModelStage) -> None:
        began = self._now
        end = began + max(1, int(self._drawn(batch, stage)))
        self._now = end = self._hiccups.hold(end) if end > self._hiccups.start_ns else end
        self._engine_end_ns = end
        self._scheduler.finished(batch, end, end - began)
        self._answer(batch, stage, began, end)

    def _answer(self, batch: Batch, stage: ModelStage, began: int, end: int) -> None:
        """Answer each request of a batch, or carry it on; the loop writes one after the other."""
        record, answer_ns, now = self._record, self._host.answer_ns, self._now
        number = record.add_batch(batch, began, end)
        done, batch_of = record.done_ns, record.batch_of
        is_last = stage is self._models[-1] and not stage.steps
        for job in batch.jobs:
            place = job.place  # type: ignore[attr-defined]
            batch_of[place] = number
            if end > job.end_by_ns:  # type: ignore[attr-defined]
                now += answer_ns
                record.lost(place, now, FAILED)
            elif is_last or (self._exits is not None and self._exits[place] <= stage.place):
                now += answer_ns
                done[place] = now
            else:
                now = self._carry_on(job, stage, now)  # type: ignore[arg-type]
        self._now = self._hiccups.hold(now) if now > self._hiccups.start_ns else now

    def _carry_on(self, request: SimulatedRequest, stage: ModelStage, now: int) -> int:
        """Over the steps behind a model to the next one, or to the answer; when the loop is done with it."""
        now += int(sum([step.times.draw(1) for step in stage.steps]))
        index = request.stage + 1
        if index == len(self._models):
            now += self._host.answer_ns
            self._record.done_ns[request.place] = now
            return now
        following = self._models[index]
        request.stage = index
        request.queue = following.queue(0 if self._lengths is None else self._lengths[request.place])
        request.arrival_ns = now
        request.deadline_ns = request.end_by_ns - following.spare_ns
        if self._scheduler.offer(request, now) is not None:
            now += self._host.answer_ns
            self._record.lost(request.place, now, REFUSED)
        return now

    # --- engine threads -----------------------------------------------------------------------------------------

    def _start(self, batch: Batch, stage: ModelStage) -> None:
        hand_over_ns = self._host.hand_over_ns()
        work_ns = self._drawn(batch, stage) * self._host.interference(len(self._running) + 1)
        if self._cores > 1:  # a core of its own, with hiccups of its own
            begin = self._engine_hiccups.skip_to(self._now)
            work_ns = self._engine_hiccups.hold(begin + round(work_ns)) - self._now
        self._running.append(_Running(batch, stage, hand_over_ns, work_ns))

    def _drawn(self, batch: Batch, stage: ModelStage) -> float:
        drawn = stage.times(batch.queue).draw(batch.rows)
        if self._now - self._engine_end_ns > self._host.idle_after_ns:
            return drawn * self._host.idle_factor
        return drawn * self._host.busy_factor

    def _advance(self, begin: int, until: int, *, loop_is_busy: bool) -> int:
        """Let the engines run from `begin` to `until`; while the loop sleeps, at most to the first end of one.

        Returns: until when they ran; later than `until` where a hiccup lay there.
        """
        wanted = sum([one.threads for one in self._running])
        speed = min(1.0, max(0.0, self._cores - loop_is_busy) / wanted)
        if speed == 0.0:
            return until
        left_ns = min([one.left_ns for one in self._running])
        end = begin + math.ceil(left_ns / speed)
        hiccups = self._hiccups
        while self._cores == 1 and hiccups.start_ns < min(end, until):
            # The engine's core is the loop's: what holds up one holds up both.
            self._progress(begin, hiccups.start_ns, speed, wanted)
            begin = hiccups.start_ns + hiccups.length_ns
            end += begin - hiccups.start_ns
            hiccups.next()
        stop = until if loop_is_busy else min(end, until)
        if stop <= begin:
            return begin
        self._progress(begin, stop, speed, wanted)
        return stop

    def _progress(self, begin: int, stop: int, speed: float, wanted: int) -> None:
        done_ns = max(0, stop - begin) * speed
        self.busy_ns += done_ns * wanted
        left = []
        for one in self._running:
            if one.began_ns < 0:
                one.began_ns = begin + one.hand_over_ns
            if one.left_ns <= done_ns:
                end = begin + math.ceil(one.left_ns / speed)
                self._engine_end_ns = end
                self._ended.append((one, max(end, one.began_ns + 1)))
            else:
                one.left_ns -= done_ns
                left.append(one)
        self._running = left
