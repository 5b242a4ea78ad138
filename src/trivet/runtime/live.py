"""What a worker holds of one live configuration: models, pipeline, codec; and how a message becomes a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from trivet.errors import BadRequestError, EngineError
from trivet.pipeline.chain import Answer, Chain, Run
from trivet.pipeline.chain import Stage as ChainStage
from trivet.pipeline.exits import ExitPoint
from trivet.pipeline.wiring import REQUEST, Wiring
from trivet.runtime.batch import BatchBuilder
from trivet.runtime.buckets import FreeAxes, bucket_of_shapes
from trivet.runtime.conversion import as_inputs
from trivet.runtime.costing import Costing
from trivet.runtime.counters import ModelCounters
from trivet.runtime.counts import Counts
from trivet.runtime.degrading import LiveLadder
from trivet.runtime.executors import Executor
from trivet.runtime.fallbacks import Way
from trivet.runtime.fronts.front import Front, Fronts
from trivet.runtime.live_exits import LiveExits
from trivet.runtime.live_route import LiveRoute
from trivet.runtime.remote_calls import RemotePool
from trivet.runtime.request import Reply, Request
from trivet.runtime.results import Results
from trivet.runtime.steps import StepStage, Tensors, call_step
from trivet.runtime.token_counts import TokensOf
from trivet.schedule import Model, Queue, Scheduler, ServiceTime
from trivet.spec.configuration import Resolution
from trivet.spec.openai import OpenAIForm
from trivet.spec.signature import VARIABLE, Signature
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage, RequestDecoder
from trivet.wire.v2_response import ResponseEncoder

# Shapes and priorities are the clients' choice: of ever new ones only so many are remembered.
_MAX_QUEUES = 1024
_NEVER = 1 << 62


@dataclass(slots=True)
class LiveModel:
    """A model stage: its instances, what the scheduler knows of it, and how its batches are built."""

    name: str
    signature: Signature
    scheduled: Model
    service_time: ServiceTime
    builder: BatchBuilder
    ragged: Mapping[str, tuple[int, float]]  # input -> (axis, padding)
    cut: Mapping[str, tuple[int, str]]  # output -> (axis, ragged input that it is as long as)
    idle: list[Executor]
    resolution: Resolution
    batch1_ns: int  # profiled service time of one row
    largest_batch_difference: float  # between batched and single answers, found by the check at load
    free: FreeAxes  # the axes whose sizes requests choose
    streams: bool = False  # answers in chunks, one request at a time
    exit: ExitPoint | None = None  # stands behind it
    timeout_ns: int | None = None  # what one batch may take
    remote: RemotePool | None = None  # of one that runs on other servers
    fallbacks: Sequence[Way] = ()  # who answers when it has failed, in order
    ladder: LiveLadder | None = None  # of which it is a rung
    counters: ModelCounters = field(default_factory=ModelCounters)
    nano_per_ns: float = 0.0  # what its engines cost; 0: nobody asks
    tokens_of: TokensOf | None = None  # of Python code that counts tokens which have a price

    def expected_ns(self) -> int:
        return self.batch1_ns

    def cut_padding(self, request: Request, results: Results, start: int) -> Results:
        """One request's part of the outputs, as long along each cut axis as its own ragged input."""
        inputs = dict(zip((spec.name for spec in self.signature.inputs), request.inputs, strict=True))
        outputs = dict(results.part(start, request.rows))
        for name, (axis, like) in self.cut.items():
            length = inputs[like].shape[self.ragged[like][0]]
            outputs[name] = outputs[name][(slice(None),) * axis + (slice(length),)]
        return Results(outputs, True, request.rows)


class LiveService:
    """One configuration of one service, ready to take requests."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        configuration_hash: str,
        signature: Signature,
        stages: Sequence[LiveModel | StepStage],
        wiring: Wiring,
        scheduler: Scheduler,
        deadline_ns: int,
        last_model: int = -1,
        slow_ns: int | None = None,
        default_priority: int = 0,
        max_priority: int = 100,
        platform: str = "",
        openai: OpenAIForm | None = None,
        stand_ins: Sequence[LiveModel] = (),
        kept: Mapping[int, Mapping[str, str]] | None = None,
        ladder: LiveLadder | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.hash = configuration_hash
        self.short_hash = configuration_hash[:12].encode()
        self.signature = signature
        self.platform = platform
        self.openai = openai
        self.stages = list(stages)
        self.models_by_place = {i: stage for i, stage in enumerate(stages) if isinstance(stage, LiveModel)}
        self.ladder = ladder  # of the last model, where others may stand in for it
        self.models = list(self.models_by_place.values())
        self.answered_counters = self.models[-1].counters  # where whole requests are counted
        # Of what a stage gives: what a fallback of a later one answers with, and the name for it.
        self._kept = kept
        self.last_stage = self.stages[-1]
        self.streams = any(model.streams for model in self.models)
        points = {place: model.exit for place, model in self.models_by_place.items() if model.exit}
        self.chain = self._chain(points, last_model)
        self.every_model = [*self.models, *stand_ins]  # with those that answer only where another has failed
        self.wiring = wiring
        self.deadline_ns = deadline_ns
        # An answer that took longer is worth a look: over the SLO's latency; without one only those past the deadline.
        self.slow_ns = _NEVER if slow_ns is None else slow_ns
        self.decoder = RequestDecoder(signature)
        self.encoder = ResponseEncoder(name, version, signature, configuration_hash[:12])
        self.exits = self._exits(points, last_model) if points else None
        self.json_rows = all(spec.datatype not in ("FP16", "BF16", "BYTES") for spec in signature.outputs)
        self.counts = Counts()
        # What writes answers that say something of their way, and their headers, by what they say.
        self.noted_encoders: dict[tuple[str | int, ...], tuple[ResponseEncoder, bytes]] = {}
        # What is asked first, and what is asked when no other front knows the answer; see `make_fronts`.
        self.front_list: list[Front] = []
        self.last_fronts: list[Front] = []
        self.fronts: Fronts | None = None  # what may answer before the pipeline; set when it is put to work
        self.costing: Costing | None = None  # where the service has prices; set when it is put to work
        self.routing: LiveRoute | None = None  # which of two models answers; set when it is put to work
        self._scheduler = scheduler
        self._default_priority = default_priority
        self._max_priority = max_priority
        self._queues: dict[tuple[int, int, Any], Queue] = {}
        self._lone_queue = self._queue_of_lone_model()
        # Of requests that have not begun: nobody waits in it, it says which model's they are.
        self._first_queue = self._lone_queue or scheduler.queue(
            self.models[0].scheduled, None, default_priority
        )
        # Then its inputs are the first model's as they came, and nobody else takes them.
        self._starts_with_model = isinstance(stages[0], LiveModel) and not wiring.kept(REQUEST)

    def _chain(self, points: Mapping[int, ExitPoint], last_model: int) -> Chain:
        """Its stages; at the ladder's any of its models may stand, which are models of the service too."""
        expected: list[ChainStage] = [*self.stages]
        if self.ladder is not None:
            self.models += self.ladder.rungs[1:]
            expected[last_model] = self.ladder
            for rung in self.ladder.rungs:
                rung.ladder = self.ladder
        return Chain(expected, points, last_model)

    def _exits(self, points: Mapping[int, ExitPoint], last_model: int) -> LiveExits:
        carried_on = [key for keys in (self._kept or {}).values() for key in keys.values()]
        models = self.models_by_place
        return LiveExits(points, models, last_model, self.wiring, carried_on, self._exit_encoder)

    def _exit_encoder(self, names: str) -> ResponseEncoder:
        return self.encoder_saying(names, {})

    def encoder_saying(self, exit_: str, parameters: Mapping[str, str | int]) -> ResponseEncoder:
        return ResponseEncoder(self.name, self.version, self.signature, self.hash[:12], exit_, parameters)

    def _forget_idle_queues(self) -> None:
        """Forget the queues in which nobody waits, with what was learned of their shapes."""
        for key, queue in list(self._queues.items()):
            if not len(queue):
                self._scheduler.forget(queue)
                del self._queues[key]

    def num_unanswered(self) -> int:
        """Batches that run and requests that wait, over all models and at the fronts."""
        num_held = 0 if self.fronts is None else self.fronts.num_held
        return num_held + sum(
            model.scheduled.num_running + sum(one.num_waiting for one in model.scheduled.classes.values())
            for model in self.every_model
        )

    def close_tables(self) -> None:
        """Let go of the tables that features are looked up in."""
        for stage in self.stages:
            if isinstance(stage, StepStage) and stage.joins is not None:
                stage.joins.source.close()

    def summary(self) -> str:
        """What `auto` became, in one line for the log."""
        rungs = (
            [] if self.ladder is None else [f"under load {_summary(rung)}" for rung in self.ladder.rungs[1:]]
        )
        return "; ".join([*(_summary(stage) for stage in self.stages), *rungs])

    def _queue_of_lone_model(self) -> Queue | None:
        """The only queue there can be, for the commonest service: one model, fixed shapes, one priority."""
        first = self.stages[0]
        if (
            not isinstance(first, LiveModel)
            or len(self.stages) > 1
            or not first.signature.batch_axis
            or len(first.signature.inputs) != 1
            or self.wiring.kept(REQUEST)  # somebody who stands in takes more than the model
        ):
            return None
        if VARIABLE in first.signature.inputs[0].shape[1:]:
            return None
        return self._scheduler.queue(first.scheduled, None, self._default_priority)

    def request(
        self,
        message: InferMessage,
        received_ns: int,
        now_ns: int,
        timeout_ns: int,
        priority: int,
        reply: Reply,
    ) -> Request:
        """A request that has arrived. Where something may answer it before its pipeline, nothing has been computed for it:
        its `stage` is REQUEST then, and `begin` takes it to the first model. Else it is there.

        Args: timeout_ns: 0 means the service's own deadline. priority: 0 means the service's default.
        Raises: BadRequestError: the inputs do not fit together. EngineError: a step failed.
        """
        deadline_ns = received_ns + (timeout_ns or self.deadline_ns)
        queue = self._lone_queue
        if queue is not None and not priority:
            rows = message.inputs[0].shape[0]
            if rows > 0:  # there is nothing to begin
                return Request(queue, rows, now_ns, deadline_ns, received_ns, self, message, reply)
        if self.streams and message.binary_outputs is not False:
            raise BadRequestError(
                "this model answers in chunks of JSON; leave out binary_data_output and binary_data"
            )
        request = Request(self._first_queue, 1, now_ns, deadline_ns, received_ns, self, message, reply)
        request.stage = REQUEST
        request.priority = priority
        request.carried = {}
        request.exit = ""
        if self.fronts is None:
            self.begin(request)
        return request

    def begin(self, request: Request) -> None:
        """Run the steps before the first model and find the request's queue. Raises: as `request`."""
        run, inputs = self._first_run(request)
        request.queue, request.rows = self.place(run.index, inputs, request.priority)
        request.deadline_ns = run.deadline_ns
        request.inputs = inputs
        request.stage = run.index
        if self.routing is not None and self.exits is not None and run.index == self.exits.last:
            request.exit = self.exits.last_model.name

    def _first_run(self, request: Request) -> tuple[Run, list[InferInput]]:
        """The first model and its inputs, after the steps before it."""
        inputs, carried, deadline_ns = request.inputs, request.carried, request.end_by_ns
        if self._starts_with_model and self.routing is None:
            return self.chain.start(deadline_ns), inputs
        tensors = BatchBuilder(self.signature).build([inputs], 0)
        start = REQUEST
        if self.routing is not None and not self.routing.is_easy(request, tensors):
            self.wiring.keep(REQUEST, tensors, carried)
            start = self.routing.place  # the stages up to it are left out
        command, given = self.run_steps(start, tensors, carried, deadline_ns)
        assert isinstance(command, Run)  # every pipeline has a model
        model = self.stages[command.index]
        assert isinstance(model, LiveModel)  # run_steps stops at models only
        return command, as_inputs(given, model.name, model.signature)

    def check_outputs(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Raises: EngineError: the last step left out an output that the service declares."""
        for spec in self.signature.outputs:
            if spec.name not in outputs:
                raise EngineError(f"output {spec.name!r} is missing; the last step gave {sorted(outputs)}")

    def run_steps(
        self, index: int, outputs: Tensors, carried: dict[str, NDArray[Any]], end_by_ns: int
    ) -> tuple[Run | Answer, Tensors]:
        """Hand on what stage `index` gave: run the short steps behind it, up to the next model or the end.

        Args: carried: what earlier stages gave for later ones; brought up to date.
        Returns: the command for the next model and what it takes, or the answer's tensors.
        Raises: RequestError: a step failed, or an input is missing.
        """
        if self._kept is not None and index in self._kept:
            carried.update((key, outputs[name]) for name, key in self._kept[index].items())
        command = self.chain.stage_done(index, end_by_ns)
        while isinstance(command, Run):
            inputs = self.wiring.hand_over(command.index - 1, outputs, carried)
            stage = self.stages[command.index]
            if isinstance(stage, LiveModel):
                return command, inputs
            outputs = call_step(stage, inputs)
            command = self.chain.stage_done(command.index, end_by_ns)
        return command, outputs

    def place(self, index: int, inputs: Sequence[InferInput], priority: int) -> tuple[Queue, int]:
        """The queue and the number of rows of a request for model stage `index`.

        Raises: BadRequestError: inputs disagree on the batch axis, or there are no rows.
        """
        model = self.stages[index]
        assert isinstance(model, LiveModel)  # run_steps stops at models only
        rows = _rows(model, inputs)
        bucket = bucket_of_shapes(model.free, [tensor.shape for tensor in inputs]) if model.free else None
        priority = min(priority, self._max_priority) or self._default_priority
        key = (index, priority, bucket)
        queue = self._queues.get(key)
        if queue is None:
            if len(self._queues) >= _MAX_QUEUES:
                self._forget_idle_queues()
            queue = self._scheduler.queue(model.scheduled, bucket, priority)
            self._queues[key] = queue
        return queue, rows

    def rung_queue(self, rung: int, model: LiveModel, inputs: Sequence[InferInput], priority: int) -> Queue:
        """The queue of a request that is at the ladder's stage, for one of its models."""
        bucket = bucket_of_shapes(model.free, [tensor.shape for tensor in inputs]) if model.free else None
        priority = min(priority, self._max_priority) or self._default_priority
        key = (len(self.stages) + rung if rung else self.chain.last_model, priority, bucket)
        queue = self._queues.get(key)
        if queue is None:
            if len(self._queues) >= _MAX_QUEUES:
                self._forget_idle_queues()
            queue = self._queues[key] = self._scheduler.queue(model.scheduled, bucket, priority)
        return queue


def _summary(stage: LiveModel | StepStage) -> str:
    how = stage.resolution
    where = "inline" if how.execution == "inline" else f"{how.instances} x {how.execution}"
    one = "" if how.one_ns is None else f", {how.one_ns / 1e6:.3g} ms for one on {how.profiled_on}"
    batches = f", batches up to {how.max_batch_size}" if isinstance(stage, LiveModel) else ""
    return f"{stage.name}: {where}{batches}{one}"


def _rows(model: LiveModel, inputs: Sequence[InferInput]) -> int:
    if not model.signature.batch_axis:
        return 1
    rows = inputs[0].shape[0]
    for spec, tensor in zip(model.signature.inputs, inputs, strict=True):
        if tensor.shape[0] != rows:
            raise BadRequestError(
                f"input {spec.name!r} has {tensor.shape[0]} rows on axis 0; the other inputs have {rows}"
            )
    if rows == 0:
        raise BadRequestError(
            f"input {model.signature.inputs[0].name!r} has no rows: axis 0 of its shape is 0"
        )
    return rows
