"""One worker in virtual time: its event loop, turn by turn.

What the loop does stands here in the order of `runtime/runtime.py`: sockets that are ready are read, decoded and offered;
batches that ended are learned from and answered one after the other; then the scheduler says what starts. An inline batch
holds the loop; engine threads run beside it (`engines.py`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.schedule import Batch, Drop
from trivet.simulate.auditing import SimulatedAudits
from trivet.simulate.calling import SimulatedCalls
from trivet.simulate.engines import Engines, Running
from trivet.simulate.fronts import SimulatedFronts
from trivet.simulate.hiccups import NEVER, Hiccups
from trivet.simulate.host import Host
from trivet.simulate.lateness import LOOK_EVERY, Lateness
from trivet.simulate.pace import Pace
from trivet.simulate.passage import Passage
from trivet.simulate.record import FAILED, REFUSED, Record
from trivet.simulate.setup import RouteSetup
from trivet.simulate.stages import ModelStage, SimulatedRequest, Stages

_MAX_TURN_NS: Final = 2_000_000  # as in runtime/runtime.py


class Worker:
    """One event loop and its engines.

    Args: pace: of the machine.  hiccups: of the loop's core; those of an engine are in its times.
    cores: that its threads share.  exits: the stage after which request i is answered, or None.
    route: who decides that before any of them runs.  audits: of a certified cascade: its guard decides that.
    fronts: what may answer before the pipeline, or None.
    """

    def __init__(
        self,
        stages: Stages,
        host: Host,
        pace: Pace,
        hiccups: Hiccups,
        cores: float,
        deadline_ns: int,
        exits: NDArray[np.int64] | None = None,
        route: RouteSetup | None = None,
        audits: SimulatedAudits | None = None,
        fronts: SimulatedFronts | None = None,
    ) -> None:
        self._stages = stages
        self._scheduler = stages.scheduler
        self._models = list(stages.models)
        self._queue = self._models[0].queue(0)  # of requests without a length
        for stage in (*stages.models, *stages.rungs):
            stage.busy_factors = host.busy_factors(stage.model.max_batch_size)
        lone = self._models[0]
        # One model and nothing else: whoever comes alone to an idle server can be simulated in one go.
        self._is_simple = (
            lone.is_last and not stages.first and not lone.is_rung and lone.remote is None and fronts is None
        )
        # Where its only engine takes all that the loop leaves, whoever comes meanwhile can only wait.
        self._gathers = (
            self._is_simple
            and not lone.inline
            and cores == 1
            and lone.model.instances == 1
            and lone.model.lane_cores >= stages.scheduler.num_cores
            and not lone.model.deferral_ns
        )
        self._calls = SimulatedCalls(stages.models, stages.scheduler)
        self._has_calls = bool(self._calls)
        self._fronts = fronts
        self._host, self._pace = host, pace
        self._hiccups = hiccups
        self._cores = cores
        self._deadline_ns = deadline_ns
        left = None if exits is None else exits.tolist()
        self._passage = Passage(stages, host, deadline_ns, left, route, audits, fronts)
        self._now = 0
        self._next = 0
        self._again = False  # the last turn was cut short: the next begins at once
        self._engines = Engines(host, cores)
        self._ended: list[Running] = []
        self.busy_ns = 0.0  # core time of the loop and the engines

    def run(
        self,
        arrivals_ns: list[int],
        lengths: list[int] | None,
        most_waiting: int | None = None,
        lateness: Lateness | None = None,
    ) -> Record:
        """Each request of the worker until it has its outcome, or until more wait, or are late, than are of interest.

        Instants ascend; they are those at the worker's socket.
        """
        limit = NEVER if most_waiting is None else most_waiting
        counted, self._look_at = 0, NEVER if lateness is None else LOOK_EVERY
        self._arrivals = [*arrivals_ns, NEVER, NEVER]
        self._lengths = lengths
        self._record = Record(len(arrivals_ns))
        self._passage.begin(self._record, lengths)
        arrivals, scheduler, fronts, engines = self._arrivals, self._scheduler, self._fronts, self._engines
        calls, pace, gathers = self._has_calls, self._pace, self._gathers and lengths is None
        while self._again or arrivals[self._next] <= self._now or self._sleep():
            begun = self._now
            self._again = False
            if begun >= pace.until_ns:
                self._keep_pace(begun)
            if self._next >= self._look_at and lateness is not None:
                counted = lateness.count(self._record, arrivals, counted, begun)
                self._look_at = self._next + LOOK_EVERY
                if lateness.left < 0:
                    break
            if arrivals[self._next] <= begun:
                if self._is_simple and arrivals[self._next + 1] > begun and self._is_served_alone(begun):
                    continue
                self._read()
            if self._ended:
                self._answer_ended()
            if calls:
                self._hear()
            if fronts is not None and fronts.wake_at_ns() <= self._now:
                self._now = fronts.expire(self._now)
            if scheduler.num_waiting:
                if scheduler.num_waiting > limit:
                    break
                self._start_batches()
            self.busy_ns += self._now - begun
            if engines.running:
                engines.stall(begun, self._now)
                if gathers and not self._again and self._gather(engines.running[0], limit):
                    break
        return self._record

    def _keep_pace(self, now: int) -> None:
        self._pace.go_on(now)
        self._host.keep_pace(self._pace.factor)
        if self._fronts is not None:
            self._fronts.keep_pace(self._pace.factor, self._host.answer_ns)

    # --- the loop -----------------------------------------------------------------------------------------------

    def _sleep(self) -> bool:
        """Until something happens: an arrival, the end of a batch, a timer. False: nothing ever will."""
        due = self._arrivals[self._next]
        wake = due
        if self._scheduler.num_waiting:
            timer = self._scheduler.wake_at_ns()
            if timer is not None and timer < due:
                wake = max(timer, self._now + 1)
        if self._has_calls:
            wake = max(min(wake, self._calls.next_ns()), self._now)
        if self._fronts is not None:
            wake = min(wake, max(self._fronts.wake_at_ns(), self._now + 1))
        if self._engines.running:
            self._sleep_beside(wake)
        elif wake == NEVER:
            return False
        else:
            now = wake
            if wake == due:
                host, pause_ns = self._host, wake - self._now
                now += host.wake_ns(pause_ns)
                self.busy_ns += host.wake_core_ns * host.cold(pause_ns)
            self._now = self._hiccups.skip_to(now) if now >= self._hiccups.start_ns else now
        return True

    def _sleep_beside(self, wake: int) -> None:
        """Until `wake`, or the first end of an engine; it may have ended while the loop was at work."""
        first = self._engines.first_end_ns()
        now = max(min(first, wake), self._now)
        if first <= now:
            self._ended = self._engines.take_ended(now)
            self._engines.end_ns = first
            if self._cores == 1:  # what held up the engine until now is in its time
                self._hiccups.pass_by(now)
            now += self._host.hand_back_ns if now > self._now else 0
        elif self._cores > 1:
            now += self._host.wake_ns(now - self._now)
        self._now = now if now < self._hiccups.start_ns else self._hiccups.skip_to(now)

    def _gather(self, running: Running, limit: int) -> bool:
        """The turns that do nothing but read, while the only engine is at work and nobody who waits can be late; True: more
        than `limit` wait.

        The same as the long way (tests/simulate/test_service_simulation.py), without asking again what cannot have changed.
        """
        arrivals, scheduler, queue, engines = self._arrivals, self._scheduler, self._queue, self._engines
        upper, model = queue.curve.upper, queue.model
        until_ns = min(running.end_ns, self._hiccups.start_ns, self._pace.until_ns)
        while (begun := max(arrivals[self._next], self._now)) < until_ns and self._next < self._look_at:
            if scheduler.num_waiting:
                latest_ns = queue.deadlines[0] - upper[1]
                if latest_ns < begun or queue.guarded:
                    break
            self._now = begun
            self._read()
            if scheduler.num_waiting > limit:
                return True
            if scheduler.num_waiting and max(model.free_ns(), self._now) > queue.deadlines[0] - upper[1]:
                self._start_batches()
            self.busy_ns += self._now - begun
            engines.stall(begun, self._now)
            until_ns = min(running.end_ns, self._hiccups.start_ns, self._pace.until_ns)
        return False

    def _read(self) -> None:
        """Everything that has come until now; what comes meanwhile waits for the next turn."""
        if self._fronts is not None:
            self._read_past(self._fronts)
            return
        arrivals, until, place = self._arrivals, self._now, self._next
        host, lengths, first = self._host, self._lengths, self._stages.first
        model = self._models[0]
        offer, offered = self._scheduler.offer, self._record.offered_ns
        read_ns, deadline_ns, spare_ns = host.read_ns, self._deadline_ns, model.spare_ns
        passage, queue, now = self._passage, self._queue, until
        ladder, route, ways = passage.ladder if model.is_rung else None, passage.route, passage.exits
        while arrivals[place] <= until:
            end_by_ns = now + deadline_ns
            now += read_ns
            if route is not None:
                now += route.decide_ns
                if ways[place] != route.first:  # type: ignore[index]  # a route comes with ways
                    now = passage.pass_by(place, now, end_by_ns)
                    place += 1
                    continue
            if first:
                now += int(sum([step.times.draw(1) for step in first]) * host.factor)
            if lengths is not None:
                queue = model.queue(lengths[place])
            offered[place] = now
            request = SimulatedRequest(queue, now, end_by_ns - spare_ns, place, end_by_ns)
            if ladder is None:
                is_taken = offer(request, now) is None
            else:
                is_taken = ladder.offer(request, until, passage.length(place), now)
            if not is_taken:
                now = passage.turned_away(request, model, now, REFUSED)
            place += 1
        self._next = place
        self._now = now if now <= self._hiccups.start_ns else self._hiccups.hold(now)

    def _read_past(self, fronts: SimulatedFronts) -> None:
        """The same where caches or tables may answer before the pipeline does."""
        arrivals, until, now = self._arrivals, self._now, self._now
        while arrivals[self._next] <= until:
            place, self._next = self._next, self._next + 1
            now = fronts.take(place, now, self._host.read_ns, now + self._deadline_ns)
        self._now = now if now <= self._hiccups.start_ns else self._hiccups.hold(now)

    def _is_served_alone(self, begun: int) -> bool:
        """The next request from being read to its answer, if it is all that there is to do; False: nothing was done.

        The same as the long way (tests/simulate/test_service_simulation.py), for the commonest request of all.
        """
        host, place, stage = self._host, self._next, self._models[0]
        queue = self._queue if self._lengths is None else stage.queue(self._lengths[place])
        end_by_ns, now = begun + self._deadline_ns, begun + host.read_ns
        # Whoever comes while it is read, or while an inline batch runs, waits for the next turn: it starts alone anyhow.
        if now > self._hiccups.start_ns or not self._scheduler.is_lone(queue, 1, end_by_ns, now):
            return False
        ready = now + host.batch_ns
        hand_over_ns = 0 if stage.inline else host.next_hand_over_ns()
        times = stage.known[queue]
        pool = times.residuals[1].pool or times.residuals[1].refill()
        warm_ns, cold_ns = (
            times.medians[1] * stage.busy_factors[1],
            times.medians[1] * host.cold_factor(ready - self._engines.end_ns),
        )
        drawn = (warm_ns + cold_ns) * host.factor * pool[-1]
        began, woken = ready, 0
        if stage.inline:
            end = began + max(1, int(drawn))
            if end > self._hiccups.start_ns:
                self._hiccups.pass_by(end)
        else:
            began, woken = ready + hand_over_ns, host.hand_back_ns
            end = began + max(1, round(drawn))
            # Whatever happens before the loop is back at it, a thread's batch is not all that there is to do.
            until_ns = min(self._arrivals[place + 1], self._hiccups.start_ns, self._pace.until_ns)
            if self._cores != 1 or until_ns <= end + woken:
                return False
            host.hand_over_ns()
            self.busy_ns += (end - began) * stage.threads - (end + woken - ready)
        pool.pop()
        self._next = place + 1
        self._record.offered_ns[place] = now
        self._now = end + woken
        self._engines.end_ns = end
        stage.busy_ns += end - began
        self._scheduler.served_alone(queue, 1, end - began)
        self._answer_alone(place, began, end, end_by_ns)
        self.busy_ns += self._now - begun
        return True

    def _answer_alone(self, place: int, began: int, end: int, end_by_ns: int) -> None:
        record = self._record
        record.batch_of[place] = len(record.batches)
        record.batches.append((began, end, 1))
        done = self._now + self._host.answer_ns
        if end > end_by_ns:
            record.lost(place, done, FAILED)
        else:
            record.done_ns[place] = done
        self._now = done if done <= self._hiccups.start_ns else self._hiccups.hold(done)

    def _answer_ended(self) -> None:
        ended, self._ended = self._ended, []
        for one in ended:
            self._scheduler.finished(one.batch, one.end_ns, one.end_ns - one.began_ns)
            self._answer(one.batch, one.stage, one.began_ns, one.end_ns)

    def _start_batches(self) -> None:
        scheduler, host, passage = self._scheduler, self._host, self._passage
        end_ns = self._now + _MAX_TURN_NS
        while scheduler.num_waiting and (commands := scheduler.poll(self._now)):
            for command in commands:
                if type(command) is Batch:
                    stage = passage.stage_of[command.model]
                    self._now += host.batch_ns
                    if stage.inline:
                        self._run_inline(command, stage)
                    elif stage.remote is not None:
                        self._now = self._calls.start(command, stage.remote, self._now)
                    else:
                        self.busy_ns += self._engines.start(command, stage, self._now)
                elif type(command) is Drop:
                    self._now = passage.let_go(command, self._now)
            if self._now > end_ns:
                self._again = True
                break

    def _run_inline(self, batch: Batch, stage: ModelStage) -> None:
        began = self._now
        self._now = self._engines.end_ns = end = began + max(
            1, int(self._engines.drawn_ns(batch, stage, began))
        )
        if end > self._hiccups.start_ns:
            self._hiccups.pass_by(end)
        self._scheduler.finished(batch, end, end - began)
        self._answer(batch, stage, began, end)

    def _answer(self, batch: Batch, stage: ModelStage, began: int, end: int) -> None:
        now = self._passage.answer(batch, stage, began, end, self._now)
        self._now = now if now <= self._hiccups.start_ns else self._hiccups.hold(now)

    def _hear(self) -> None:
        """What upstreams have said until now, and what is due meanwhile."""
        for stage, batch, row in self._calls.ended(self._now, self._record):
            if row.failure is None:
                self._answer(batch, stage, row.sent_ns, row.done_ns)
                continue
            jobs: list[SimulatedRequest] = batch.jobs  # type: ignore[assignment]  # every job here is one
            for job in jobs:
                self._now = self._passage.gave_up(job, stage, row, self._now)
