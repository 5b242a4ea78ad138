"""A request that is answered in chunks: from an engine's process to whoever takes them, one chunk at a time.

A stream holds its engine's instance to its end. What the scheduler knows and learns of it is the time to its first
chunk, which the deadline is about; how long the rest takes is up to the code, the request and its client.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trivet.engine.contract import StreamingEngine, Tensors
from trivet.errors import DeadlineError, RequestError
from trivet.runtime.costing import charge
from trivet.runtime.executors import Executor
from trivet.runtime.fallbacks import rescue
from trivet.runtime.notes import Notes, note_call
from trivet.runtime.remote_calls import pay_call
from trivet.runtime.remote_executor import RemoteExecutor
from trivet.runtime.results import Results
from trivet.runtime.stream_executor import StreamExecutor
from trivet.schedule import Batch
from trivet.spec.signature import Signature

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.request import Request, StreamReply
    from trivet.runtime.runtime import Runtime


class Stream:
    """One request's chunks.

    Invariant: the reply gets chunks, and `ended` once; after `stop`, nothing.
    """

    __slots__ = (
        "_call",
        "_first_ns",
        "_is_stopped",
        "_reply",
        "_runtime",
        "_started_ns",
        "_tokens",
        "batch",
        "executor",
        "model",
        "request",
    )

    def __init__(self, runtime: "Runtime", model: "LiveModel", batch: Batch, executor: Executor) -> None:
        request: Request = batch.jobs[0]  # type: ignore[assignment]  # every job here is a Request
        reply: StreamReply = request.reply  # type: ignore[assignment]  # who sends to a streaming model takes chunks
        assert isinstance(executor, StreamExecutor | RemoteExecutor)  # installed for every model that streams
        self.model = model
        self.batch = batch
        self.executor = executor
        self.request = request
        self._runtime = runtime
        self._reply = reply
        self._is_stopped = False
        self._started_ns = 0
        self._call: Notes | None = None  # of one that comes from another server
        self._tokens = (0, 0)
        self._first_ns = 0  # when the first chunk was there

    def start(self) -> None:
        request = self.request
        request.stream = self
        request.formed_ns = self.batch.started_ns
        request.started_ns = self._started_ns = self._runtime.now_ns()
        request.batch_rows = 1
        first_by_ns = request.end_by_ns
        if self.model.timeout_ns is not None:
            first_by_ns = min(first_by_ns, self._started_ns + self.model.timeout_ns)
        self.executor.open(lambda: self.model.builder.build([request.inputs], 1), self, first_by_ns)

    # --- from the executor --------------------------------------------------------------------------------------

    def chunk(
        self,
        outputs: Mapping[str, NDArray[Any]],
        notes: Notes | None = None,
        tokens: tuple[int, int] = (0, 0),
    ) -> None:
        if notes is not None:
            self._call = notes
            self._tokens = max(self._tokens, tokens)  # as of the end; some services count on the way
        elif self.model.tokens_of is not None:
            self._tokens = max(self._tokens, self.model.tokens_of(outputs))
        if self._is_stopped:
            return
        request = self.request
        if not self._first_ns:
            if notes is not None:
                note_call(request, notes)
            now_ns = self._first_ns = request.ended_ns = self._runtime.now_ns()
            if now_ns > request.end_by_ns:
                self.late()
                return
            self.model.counters.first_chunk(now_ns - request.received_ns)
        self._reply.chunk(request, Results(outputs, False, 1))

    def late(self) -> None:
        """The deadline has passed without a chunk."""
        if self.stop("LATE"):
            error = DeadlineError("the deadline passed before the first chunk was ready")
            if not self._is_rescued(error):
                self._reply.ended(self.request, error)

    def ended(self, error: RequestError | None, *, executor_lost: bool) -> None:
        """The engine has let go of it."""
        now_ns = self._runtime.now_ns()
        if self.model.nano_per_ns:
            charge(self.model, [self.request], 1, now_ns - self._started_ns)
            if self._is_stopped and (costing := self.request.live.costing) is not None:
                costing.also(self.request)
        if self._call is not None or self._tokens != (0, 0):
            self._pay()
        first_ns = self._first_ns or now_ns  # an answer without chunks is ready at its end
        learned_ns = first_ns - self._started_ns if error is None else None
        if not self._is_stopped:
            self._is_stopped = True
            self.request.ended_ns = now_ns
            if error is not None and not self._first_ns and self._is_rescued(error):
                self._runtime.stream_over(self, None, executor_lost=executor_lost)
                return
            if error is None:
                # Beside what was predicted, which is the time to the first chunk.
                self.model.counters.batch(1, first_ns - self._started_ns, self.batch.predicted_ns)
            else:
                self.model.counters.fail("BACKEND", now_ns - self.request.received_ns)
            self._reply.ended(self.request, error)
        self._runtime.stream_over(self, learned_ns, executor_lost=executor_lost)

    def _pay(self) -> None:
        costing = self.request.live.costing
        if self._call is not None:
            pay_call(self.model, self.request, self._call.attempts, self._tokens)
        elif costing is not None:
            costing.counted(self.request, self.model.name, self._tokens)
        if self._is_stopped and costing is not None:
            costing.also(self.request)

    def _is_rescued(self, error: RequestError) -> bool:
        """Nothing has gone to the client yet: whether somebody else answers."""
        model = self.model
        return bool(model.fallbacks) and rescue(self._runtime, model, self.request, error, "BACKEND")

    # --- from the reply -----------------------------------------------------------------------------------------

    def grant(self, num_chunks: int) -> None:
        """So many chunks have been taken: as many more may be made."""
        if not self._is_stopped:
            self.executor.grant(num_chunks)

    def stop(self, reason: str) -> bool:
        """Nobody wants the rest: the generator is closed, and the reply hears no more. False: it was over before."""
        if self._is_stopped:
            return False
        self._is_stopped = True
        self.model.counters.fail(reason, self._runtime.now_ns() - self.request.received_ns)
        self.executor.cancel()
        return True


class FirstChunk:
    """A streaming engine as one that is profiled: its run ends with the first chunk."""

    def __init__(self, engine: StreamingEngine) -> None:
        self._engine = engine

    @property
    def signature(self) -> Signature:
        return self._engine.signature

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        with closing(self._engine.stream(inputs)) as chunks:  # type: ignore[type-var]  # a generator
            return next(chunks, {})

    def close(self) -> None:
        self._engine.close()
