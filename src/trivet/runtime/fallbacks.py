"""Who answers when a stage has failed: another model, what an earlier one gave, an older answer, a fixed one.

Inside the request's deadline, and one after the other: the first that can. Upstreams of the fallback are asked before, by
the stage's own calls (`pipeline/attempts.py`). Steps behind the stage see no difference, and the answer says who gave it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError, RequestError
from trivet.runtime.buckets import bucket_of_shapes
from trivet.runtime.notes import Notes, note_call
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.schedule.job import DONE
from trivet.wire.v2_input import InferInput

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.request import StreamReply
    from trivet.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class StandIn:
    """Another model, given what the stage was given."""

    model: "LiveModel"

    @property
    def name(self) -> str:
        return self.model.name


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier stage gave. keys: output -> the name under which the request carries it."""

    name: str
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fixed:
    """rows: for each output, one row; without a batch axis the whole tensor."""

    rows: Mapping[str, NDArray[Any]]
    name: str = "answer"


@dataclass(frozen=True, slots=True)
class Stale:
    """An older answer of a cache, to the whole request."""

    name: str = "stale"


Way = StandIn | Kept | Fixed | Stale


def kept_keys(model: str, outputs: Sequence[str]) -> dict[str, str]:
    """The names under which a request carries what a model gave; no tensor can be called so: a NUL is no text."""
    return {output: f"{model}\0{output}" for output in outputs}


def rescue(
    runtime: "Runtime", model: "LiveModel", request: Request, error: RequestError, reason: str
) -> bool:
    """Have somebody else answer a request that failed at `model`. False: nobody can; it is still to be told.

    Args: reason: that the counters know.
    """
    if isinstance(error, BadRequestError) or runtime.now_ns() >= request.end_by_ns:
        return False
    return Rescue(runtime, model, request, error, reason).start()


class Rescue:
    """One request's way through the fallbacks; `reply` of the request that a stand-in gets for it.

    Invariant: the request gets one answer or failure, unless it is cancelled before.
    """

    def __init__(
        self, runtime: "Runtime", model: "LiveModel", request: Request, error: RequestError, reason: str
    ) -> None:
        self._runtime = runtime
        self._model = model
        self._whole = request
        self._error = error
        self._reason = reason
        self._left: list[Way] = list(model.fallbacks[::-1])
        self._on: Request | None = None
        self._is_over = False
        self._is_asking = False

    def start(self) -> bool:
        """Ask the first. False: there is none that could answer."""
        self._is_asking = True
        is_rescued = self._ask_next()
        self._is_asking = False
        return is_rescued

    def cancel(self) -> None:
        """Nobody waits for the request any more."""
        on = self._on
        self._end()
        if on is not None:
            if on.stream is not None:
                on.stream.stop("CANCELED")
            else:
                self._runtime.withdraw(on)

    def _ask_next(self) -> bool:
        whole = self._whole
        while self._left and self._runtime.now_ns() < whole.end_by_ns:
            way = self._left.pop()
            match way:
                case StandIn(model):
                    if self._offer(model):
                        return True
                case Kept(name, keys):
                    found = _carried(whole, keys)
                    if found is not None:
                        self._answer_now(name, found)
                        return True
                case Fixed(rows, name):
                    self._answer_now(name, self._repeated(rows))
                    return True
                case Stale(name):
                    fronts = whole.live.fronts
                    older = None if fronts is None else fronts.stale(whole)
                    # Where only some rows of a request got here, its older answer has more of them.
                    if (
                        older is not None
                        and older.batch_rows == whole.rows
                        and whole.answers_after is whole.live.last_stage
                    ):
                        self._note(name)
                        whole.reply.answer(whole, older, 0)
                        return True
        return False

    # --- at once ------------------------------------------------------------------------------------------------

    def _answer_now(self, name: str, outputs: Mapping[str, NDArray[Any]]) -> None:
        whole = self._whole
        self._note(name)
        now_ns = self._runtime.now_ns()
        whole.formed_ns = whole.started_ns = whole.ended_ns = now_ns
        whole.batch_rows = 0
        whole.state = DONE
        if self._model.streams:
            reply: StreamReply = whole.reply  # type: ignore[assignment]  # who sends to a streaming model takes chunks
            reply.chunk(whole, Results(outputs, False, 1))
            reply.ended(whole, None)
            return
        results = Results(outputs, self._model.signature.batch_axis, whole.rows)
        self._runtime.stage_answered(whole, results, 0, self._model)

    def _repeated(self, rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if not self._model.signature.batch_axis:
            return dict(rows)
        return {name: np.repeat(row[None], self._whole.rows, axis=0) for name, row in rows.items()}

    def _note(self, name: str) -> None:
        """The request is answered by somebody else."""
        whole = self._whole
        note_call(whole, Notes(instead=f"fallback:{name}"))
        whole.live.counts.add("trivet_fallbacks_total", stage=self._model.name, by=name)

    # --- by another model ---------------------------------------------------------------------------------------

    def _offer(self, model: "LiveModel") -> bool:
        """Offer the request to a stand-in. False: it was refused at once."""
        whole, runtime = self._whole, self._runtime
        given = dict(zip((spec.name for spec in self._model.signature.inputs), whole.inputs, strict=True))
        inputs: list[InferInput] = [given[spec.name] for spec in model.signature.inputs]
        bucket = bucket_of_shapes(model.free, [tensor.shape for tensor in inputs]) if model.free else None
        queue = runtime.scheduler.queue(model.scheduled, bucket, whole.queue.priority)
        on = self._on = Request(
            queue,
            whole.rows,
            runtime.now_ns(),
            whole.end_by_ns,
            whole.received_ns,
            whole.live,
            whole.message,
            self,
        )
        on.inputs = inputs
        on.priority = whole.priority
        on.answers_after = model
        on.deadline_ns = whole.live.chain.run(whole.stage, whole.end_by_ns).deadline_ns
        whole.stream = None
        whole.split = self
        runtime.submit(on)
        return self._on is on

    def answer(self, request: Request, results: Results, start: int) -> None:
        if self._is_over:
            return
        self._end()
        self._note(request.answers_after.name)
        whole = self._whole
        whole.arrival_ns, whole.formed_ns = request.arrival_ns, request.formed_ns
        whole.started_ns, whole.ended_ns = request.started_ns, request.ended_ns
        whole.batch_rows = request.batch_rows
        given = results.part(start, request.rows)
        outputs = {spec.name: given[spec.name] for spec in self._model.signature.outputs}
        self._runtime.stage_answered(
            whole, Results(outputs, self._model.signature.batch_axis, whole.rows), 0, self._model
        )

    def fail(self, request: Request, error: RequestError) -> None:
        if self._is_over:
            return
        self._on, self._whole.split = None, None
        if self._is_asking:  # refused at once: whoever asks goes on
            return
        if not self.start():
            self._runtime.fail(self._whole, self._error, self._reason)

    def chunk(self, request: Request, results: Results) -> None:
        whole = self._whole
        if self._is_over:
            return
        if whole.stream is None:
            self._note(request.answers_after.name)
            whole.stream = request.stream
            whole.started_ns, whole.ended_ns = request.started_ns, request.ended_ns
            whole.formed_ns, whole.batch_rows = request.formed_ns, 1
        reply: StreamReply = whole.reply  # type: ignore[assignment]  # as above
        reply.chunk(whole, results)

    def ended(self, request: Request, error: RequestError | None) -> None:
        if self._is_over:
            return
        if error is not None and self._whole.stream is None:
            self.fail(request, error)
            return
        self._end()
        self._whole.ended_ns = request.ended_ns
        reply: StreamReply = self._whole.reply  # type: ignore[assignment]  # as above
        reply.ended(self._whole, error)

    def _end(self) -> None:
        self._is_over = True
        self._whole.split = None


def _carried(request: Request, keys: Mapping[str, str]) -> dict[str, NDArray[Any]] | None:
    """What an earlier stage gave; None: this request never passed it."""
    carried = request.carried
    if any(key not in carried for key in keys.values()):
        return None
    return {name: carried[key] for name, key in keys.items()}
