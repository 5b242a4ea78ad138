"""Degradation under load: offers a request again, to a cheaper model, instead of refusing or dropping it.

`pipeline/degrading.py` decides who is offered it. Nothing here is on the way of a service without `degrade:`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.errors import EngineError
from trivet.pipeline.degrading import DEGRADED, UNIT, Degrading
from trivet.runtime.conversion import as_inputs
from trivet.runtime.executors import Outcome
from trivet.runtime.notes import Notes
from trivet.runtime.request import Request
from trivet.runtime.splitting import Split
from trivet.schedule import Drop, Queue, Refusal
from trivet.schedule.expecting import expected_end_ns
from trivet.wire.v2_input import InferInput

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.runtime import Runtime

_OVER_BUDGET = Refusal("overload", 0)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an input of a stand-in comes from: an input of the declared model by its place, or what was carried by name."""

    place: int | None
    name: str


@dataclass(slots=True)
class Way:
    """A request as one rung would get it."""

    queue: Queue
    inputs: list[InferInput]


class LiveLadder:
    """The models that may answer at one stage of a live service.

    Args: rungs: the declared one first.  sources: of each input of each stand-in, in the order of its signature.
    """

    def __init__(
        self, rungs: "Sequence[LiveModel]", sources: Sequence[Sequence[Source]], decision: Degrading
    ) -> None:
        self.rungs = tuple(rungs)
        self.decision = decision
        self._sources = ((), *sources)
        self._rung_of = {model.scheduled: rung for rung, model in enumerate(rungs)}
        self._words = ["", *(f"{DEGRADED}{model.name}" for model in rungs[1:])]

    def expected_ns(self) -> int:
        """As a stage of the pipeline: the stages before keep no more time for it than the quickest here needs."""
        return min(model.expected_ns() for model in self.rungs)

    def stands_at(self, request: Request) -> bool:
        """Whether the request is at this stage."""
        return request.queue.model in self._rung_of

    # --- requests that come -------------------------------------------------------------------------------------

    def submit(self, runtime: "Runtime", request: Request) -> None:
        """Offer a request, or a part of one, that has come to the stage."""
        now_ns = request.arrival_ns
        if type(request.reply) is Split:
            refusal = self._part_offered(runtime, request, now_ns)
        else:
            request.declared = request.inputs
            refusal = self._offered(runtime, request, now_ns, self._rungs_for(request, now_ns))
        if refusal is not None:
            runtime.refuse(request, refusal)

    def _rungs_for(self, request: Request, now_ns: int) -> Iterable[int]:
        deadline_ns = request.deadline_ns
        ease_ns = self.decision.ease_ns(request.received_ns, deadline_ns, now_ns)

        def is_easy(rung: int) -> bool:
            way = self._way(request, rung)
            if way is None:
                return False
            rows, most = request.rows, way.queue.model.max_batch_size
            end_ns = expected_end_ns(way.queue, min(rows, most), deadline_ns, now_ns)
            if rows > most:
                end_ns += Split.expected_ns(way.queue, rows - most)
            return end_ns <= ease_ns

        return self.decision.offers(request.rows, is_easy)

    def _part_offered(self, runtime: "Runtime", part: Request, now_ns: int) -> Refusal | None:
        """A part of a request for which a rung was chosen already."""
        rung = self._rung_of[part.queue.model]
        if not self.decision.budget.covers(self.decision.losses[rung], part.rows):
            return _OVER_BUDGET
        refusal = runtime.offer(part, now_ns)
        if refusal is None:
            self.decision.taken(rung, part.rows)
        return refusal

    def _offered(
        self, runtime: "Runtime", request: Request, now_ns: int, rungs: Iterable[int]
    ) -> Refusal | None:
        """None: one of the rungs has taken it; else the last one's refusal, and the request is as it came."""
        refused: list[tuple[Queue, Refusal]] = []
        final: Refusal | None = _OVER_BUDGET
        for rung in rungs:
            way = self._way(request, rung)
            if way is None:
                continue
            self._put(request, rung, way)
            final = runtime.offer(request, now_ns)
            is_whole = request.rows <= way.queue.model.max_batch_size  # else it is its parts that are offered
            if final is None:
                if is_whole:
                    self.decision.taken(rung, request.rows)
                break
            if is_whole:
                refused.append((way.queue, final))
        if final is not None:
            self._put(request, 0, Way(self._queue(request, 0, request.declared), request.declared))
            refused = refused[:-1]  # it is refused once, whoever else was asked
        for queue, refusal in refused:
            runtime.scheduler.recall(queue, refusal.reason)
        return final

    def _put(self, request: Request, rung: int, way: Way) -> None:
        model = self.rungs[rung]
        if request.answers_after is self.rungs[self._rung_of[request.queue.model]]:
            request.answers_after = model
        request.queue, request.inputs = way.queue, way.inputs
        if rung:
            notes = request.notes = request.notes or Notes()
            notes.instead = self._words[rung]
        elif request.notes is not None and request.notes.instead in self._words:
            request.notes.instead = ""

    def _way(self, request: Request, rung: int) -> Way | None:
        """None: the rung does not take such inputs."""
        if not rung:
            return Way(self._queue(request, 0, request.declared), request.declared)
        try:
            inputs = [self._input(request, rung, place) for place in range(len(self._sources[rung]))]
        except EngineError:
            return None
        return Way(self._queue(request, rung, inputs), inputs)

    def _input(self, request: Request, rung: int, place: int) -> InferInput:
        source = self._sources[rung][place]
        if source.place is not None:
            return request.declared[source.place]
        signature = self.rungs[rung].signature
        spec = signature.inputs[place]
        one = type(signature)((spec,), (), signature.batch_axis)
        return as_inputs({spec.name: request.carried[source.name]}, self.rungs[rung].name, one)[0]

    def _queue(self, request: Request, rung: int, inputs: Sequence[InferInput]) -> Queue:
        return request.live.rung_queue(rung, self.rungs[rung], inputs, request.priority)

    # --- requests that go ---------------------------------------------------------------------------------------

    def again(self, runtime: "Runtime", drop: Drop, now_ns: int) -> bool:
        """Whether another rung has taken a request that one has dropped."""
        request: Request = drop.job  # type: ignore[assignment]  # every job here is a Request
        rung = self._rung_of.get(request.queue.model)
        if rung is None:
            return False
        self.decision.lost(rung, request.rows)
        if type(request.reply) is Split:
            return False
        queue = request.queue
        if self._offered(runtime, request, now_ns, self.decision.again(rung, request.rows)) is not None:
            return False
        runtime.scheduler.recall(queue, drop.reason, dropped=True)
        return True

    def left(self, request: Request) -> None:
        """The client of a request that waited has left."""
        rung = self._rung_of.get(request.queue.model)
        if rung is not None:
            self.decision.lost(rung, request.rows)

    def settled(self, model: "LiveModel", requests: Sequence[Request], outcome: Outcome) -> None:
        """A batch of one of the rungs is over."""
        rung = self._rung_of[model.scheduled]
        num_answered = 0
        for request in requests:
            if outcome.outputs is not None and outcome.ended_ns <= request.end_by_ns:
                self.decision.answered(rung, request.rows)
                num_answered += request.rows
            else:
                self.decision.lost(rung, request.rows)
        if rung and num_answered:
            counts, name = requests[0].live.counts, model.name
            counts.add("trivet_degraded_rows_total", num_answered, to=name)
            counts.add(
                "trivet_accuracy_paid_total", num_answered * self.decision.losses[rung] / UNIT, to=name
            )
