"""The way of requests through a simulated worker: past what is remembered, from one model to the next, to the answer.

Everything here is the event loop's work: each method is told how late it is and returns when the loop is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trivet.schedule import Batch, Drop
from trivet.simulate.auditing import SimulatedAudit, SimulatedAudits
from trivet.simulate.degrading import SimulatedLadder
from trivet.simulate.fronts import SimulatedFronts
from trivet.simulate.host import Host
from trivet.simulate.record import DROPPED, FAILED, REFUSED, UNAVAILABLE, UPSTREAM, Record
from trivet.simulate.remote import Told
from trivet.simulate.setup import RouteSetup
from trivet.simulate.stages import ModelStage, SimulatedRequest, Stages, Step
from trivet.simulate.upstreams import CallRow

_BUSY: Final = frozenset({"refused", "unavailable"})


class Passage:
    """Of one worker, whose arguments it shares.

    ladder: who may stand in for a model.  exits: the place of the model behind which request i is answered, or None.
    """

    def __init__(
        self,
        stages: Stages,
        host: Host,
        deadline_ns: int,
        exits: list[int] | None,
        route: RouteSetup | None,
        audits: SimulatedAudits | None,
        fronts: SimulatedFronts | None,
    ) -> None:
        self._stages, self._scheduler, self._models = stages, stages.scheduler, list(stages.models)
        self._host, self._deadline_ns = host, deadline_ns
        self.exits, self.route = exits, route
        self._audits, self._fronts = audits, fronts
        self.stage_of = {stage.model: stage for stage in (*stages.models, *stages.rungs)}
        self.ladder = (
            SimulatedLadder(stages.scheduler, stages.rungs, stages.ladder) if stages.ladder else None
        )
        if audits is not None:
            audits.watch(stages)

    def begin(self, record: Record, lengths: list[int] | None) -> None:
        """Args: record: where every outcome goes."""
        self._record, self._lengths = record, lengths
        record.left = self.exits
        if self._audits is not None:
            self._audits.lengths = lengths
        if self._fronts is not None:
            self._fronts.begin(record, self.admit)

    def length(self, place: int) -> int:
        return 0 if self._lengths is None else self._lengths[place]

    # --- to a model ---------------------------------------------------------------------------------------------

    def admit(self, place: int, end_by_ns: int, now: int) -> int:
        """A request that no front answers, over the first steps to the first model."""
        route = self.route
        if route is not None:
            now += route.decide_ns
            if self.exits[place] != route.first:  # type: ignore[index]  # a route comes with ways
                return self.pass_by(place, now, end_by_ns)
        now = self._stepped(self._stages.first, place, now)
        model = self._models[0]
        request = SimulatedRequest(
            model.queue(self.length(place)), now, end_by_ns - model.spare_ns, place, end_by_ns
        )
        self._record.offered_ns[place] = now
        return self._enter(request, model, end_by_ns - self._deadline_ns, now)

    def pass_by(self, place: int, now: int, end_by_ns: int) -> int:
        """A request that is hard passes the first model, and what stands before it, by."""
        first = self._models[0]
        request = SimulatedRequest(first.queue(0), now, end_by_ns, place, end_by_ns)
        now = self._carry_on(request, first, now)
        self._record.offered_ns[place] = request.arrival_ns
        return now

    def let_go(self, drop: Drop, now: int) -> int:
        """The time of a request is over, or will be, before its model has it: another one takes it, or it is told so."""
        request: SimulatedRequest = drop.job  # type: ignore[assignment]  # every job here is one
        stage, ladder = self.stage_of[request.queue.model], self.ladder
        if ladder is not None and stage.is_rung and type(request) is not SimulatedAudit:
            if ladder.again(request, stage, self.length(request.place), now):
                return now
            stage = self.stage_of[request.queue.model]
        return self.turned_away(request, stage, now, DROPPED if drop.refusal is None else REFUSED)

    def _enter(self, request: SimulatedRequest, stage: ModelStage, begun_ns: int, now: int) -> int:
        """Offer a request to a model, or take it past one whose output is remembered."""
        fronts = self._fronts
        if fronts is not None and fronts.has_stages:
            now += fronts.looked_up_ns(stage.place)
            if fronts.skips(stage.place, request.place, now):
                return self._go_on(request, stage, now)
        if self.ladder is None or not stage.is_rung:
            is_taken = self._scheduler.offer(request, now) is None
        else:
            is_taken = self.ladder.offer(request, begun_ns, self.length(request.place), now)
        return now if is_taken else self.turned_away(request, stage, now, REFUSED)

    def _stepped(self, steps: Sequence[Step], place: int, now: int) -> int:
        """Over steps in the event loop, those that are remembered for the request left out."""
        fronts = self._fronts
        if fronts is None or not fronts.has_stages:
            return now + int(sum([step.times.draw(1) for step in steps]) * self._host.factor)
        for step in steps:
            now += fronts.looked_up_ns(step.place)
            if not fronts.skips(step.place, place, now):
                now += int(step.times.draw(1) * self._host.factor)
                fronts.ran(step.place, place, now)
        return now

    # --- from a model -------------------------------------------------------------------------------------------

    def answer(self, batch: Batch, stage: ModelStage, began: int, end: int, now: int) -> int:
        """Answer each request of a batch, or carry it on; the loop writes one after the other."""
        record, answer_ns, exits = self._record, self._host.answer_ns, self.exits
        number = len(record.batches)
        record.batches.append((began, end, batch.rows))
        stage.busy_ns += end - began
        done, batch_of, is_last = record.done_ns, record.batch_of, stage.is_last
        fronts = self._fronts
        jobs: list[SimulatedRequest] = batch.jobs  # type: ignore[assignment]  # every job here is one
        ladder = self.ladder if stage.is_rung else None
        audits = self._audits
        for job in jobs:
            place = job.place
            if audits is not None:
                if type(job) is SimulatedAudit:
                    now = audits.go_on(job, stage, now)
                    continue
                if not is_last and exits is not None:
                    exits[place] = audits.exit_of(place)
                    if stage.place == audits.first and audits.wants(now, self._scheduler.num_waiting):
                        now = audits.begin(place, now)
            batch_of[place] = number
            if ladder is not None:
                record.rung[place] = ladder.settled(stage, in_time=end <= job.end_by_ns)
            if fronts is not None:
                fronts.ran(stage.place, place, now)
            if end > job.end_by_ns:
                now = self._lost(place, now + answer_ns, FAILED)
            elif is_last:
                now += answer_ns
                done[place] = now
                if fronts is not None:
                    now = fronts.answered(place, now)
            elif exits is not None and exits[place] <= stage.place:
                now = self._leave(place, now)
            else:
                now = self._carry_on(job, stage, now)
        return now

    def _go_on(self, request: SimulatedRequest, stage: ModelStage, now: int) -> int:
        """Behind a model that has its output: to the answer, or to the next one."""
        exits = self.exits
        if stage.is_last:
            return self._done(request.place, now + self._host.answer_ns)
        if exits is not None and exits[request.place] <= stage.place:
            return self._leave(request.place, now)
        return self._carry_on(request, stage, now)

    def _carry_on(self, request: SimulatedRequest, stage: ModelStage, now: int) -> int:
        """Over the steps behind a model to the next one, or to the end."""
        index = request.stage + 1
        if index == len(self._models):
            return self._leave(request.place, now)
        now = self._stepped(stage.steps, request.place, now)
        following = self._models[index]
        request.stage = index
        request.queue = following.queue(self.length(request.place))
        request.arrival_ns = now
        request.deadline_ns = request.end_by_ns - following.spare_ns
        return self._enter(request, following, request.end_by_ns - self._deadline_ns, now)

    def _leave(self, place: int, now: int) -> int:
        """Behind the last model, or where an exit stands for it: over the steps at the end to the answer."""
        now = self._stepped(self._models[-1].steps, place, now) + self._host.answer_ns
        return self._done(place, now)

    # --- answers ------------------------------------------------------------------------------------------------

    def _done(self, place: int, now: int) -> int:
        """A request is answered; and what follows from it."""
        self._record.done_ns[place] = now
        return now if self._fronts is None else self._fronts.answered(place, now)

    def _lost(self, place: int, now: int, outcome: int) -> int:
        """A request is told that it gets no result; and what follows from it."""
        self._record.lost(place, now, outcome)
        return now if self._fronts is None else self._fronts.failed(place, now)

    def turned_away(self, request: SimulatedRequest, stage: ModelStage, now: int, outcome: int) -> int:
        """A stage gives a request no result: whoever falls in for it answers, else it is told so."""
        if self._audits is not None and type(request) is SimulatedAudit:
            self._audits.over(request, now, answered=False)
            return now
        remote = stage.remote
        if remote is not None and remote.instead and now < request.end_by_ns:
            return self._answer_instead(request, stage, now, remote.rescued())
        return self._lost(request.place, now + self._host.answer_ns, outcome)

    def gave_up(self, request: SimulatedRequest, stage: ModelStage, row: CallRow, now: int) -> int:
        """A call to another server failed for good."""
        if type(request) is SimulatedAudit:
            return self.turned_away(request, stage, now, FAILED)
        why, remote = row.failure.why if row.failure is not None else "", stage.remote
        if remote is not None and remote.instead and why != "request" and now < request.end_by_ns:
            return self._answer_instead(request, stage, now, remote.rescued())
        outcome = FAILED if why == "timeout" else UNAVAILABLE if why in _BUSY else UPSTREAM
        return self._lost(request.place, now + self._host.answer_ns, outcome)

    def _answer_instead(self, request: SimulatedRequest, stage: ModelStage, now: int, told: Told) -> int:
        """At once, in place of a stage."""
        self._record.tell(request.place, told)
        if not stage.is_last:
            return self._carry_on(request, stage, now)
        return self._done(request.place, now + self._host.answer_ns)
