"""Putting a prepared configuration to work: the scheduler gets to know it. Quick, in the loop's thread."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from trivet.engine.contract import Engine
from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.process import PythonProcess
from trivet.errors import SpecError
from trivet.pipeline.exits import ExitPoint, RoutePoint
from trivet.pipeline.routing import Routing, read_router
from trivet.pipeline.wiring import Wiring
from trivet.runtime.auditing import watch
from trivet.runtime.batch import BatchBuilder
from trivet.runtime.buckets import free_axes
from trivet.runtime.executors import Executor, InlineExecutor, ThreadExecutor
from trivet.runtime.live import LiveModel, LiveService
from trivet.runtime.preparing import Prepared, PreparedModel, Say
from trivet.runtime.process_executor import ProcessExecutor
from trivet.runtime.steps import StepStage
from trivet.runtime.stream_executor import StreamExecutor
from trivet.schedule import Scheduler, ServiceTime
from trivet.spec.route import first_model
from trivet.spec.service import Service
from trivet.spec.signature import Signature

_MIN_DEADLINE_NS = 100_000_000
# Slow is not dead: a batch in a python engine hangs when it takes this many times its predicted time, and two seconds.
_HANG_FACTOR = 20
_MIN_HANG_NS = 2_000_000_000
# Between the chunks of a stream: a generator may wait for something on purpose.
_MIN_STREAM_HANG_NS = 30_000_000_000


def install(
    prepared: Prepared,
    scheduler: Scheduler,
    loop: asyncio.AbstractEventLoop,
    now_ns: Callable[[], int],
    say: Say,
    default_deadline_ns: Literal["auto"] | int = "auto",
) -> LiveService:
    """Make a prepared configuration known to the scheduler. Quick, in the loop's thread.

    Args: default_deadline_ns: of a service that declares none; auto: from its profile.
    """
    service = prepared.configuration.service
    min_share = service.priorities.min_share
    stages = [
        _install_model(stage, min_share, scheduler, loop, now_ns, say)
        if isinstance(stage, PreparedModel)
        else stage
        for stage in prepared.stages
    ]
    routed = None if service.route is None else first_model(service)
    if routed is not None:
        cheap = stages[routed]
        assert isinstance(cheap, LiveModel)  # by its name
        cheap.exit = RoutePoint(cheap.name, has_rows=cheap.signature.batch_axis)
    longest_ns = sum(stage.expected_ns() for stage in stages)
    declared = default_deadline_ns if service.slo.deadline_ns == "auto" else service.slo.deadline_ns
    signature = _signature(service, stages)
    live = LiveService(
        name=service.name,
        version=prepared.version,
        configuration_hash=prepared.configuration.hash,
        signature=signature,
        stages=stages,
        wiring=Wiring(prepared.takings, [spec.name for spec in signature.inputs]),
        scheduler=scheduler,
        deadline_ns=max(_MIN_DEADLINE_NS, 4 * longest_ns) if declared == "auto" else declared,
        last_model=service.last_model,
        slow_ns=service.slo.latency_ns,
        default_priority=service.priorities.default,
        max_priority=service.priorities.levels,
        platform=_platform(service),
    )
    certificate = prepared.certificate
    if certificate is not None and service.route is not None and routed is not None:
        # Nothing here is audited: texts that differ may both be right, and nobody labels live traffic.
        router = read_router(Path(prepared.configuration.root, service.route.router))
        at_least = certificate.points[-1].thresholds[0]
        live.routing = Routing(router, service.route.input, routed, at_least)
    elif certificate is not None and service.certified is not None:
        watch(live, certificate, service.certified[1], say)
    return live


def _install_model(
    prepared: PreparedModel,
    min_share: float,
    scheduler: Scheduler,
    loop: asyncio.AbstractEventLoop,
    now_ns: Callable[[], int],
    say: Say,
) -> LiveModel:
    resolution, levers = prepared.resolution, prepared.model.levers
    inline = resolution.execution == "inline"
    service_time = ServiceTime(resolution.max_batch_size)
    for length, samples in prepared.profile.by_length.items():
        kept = {rows: times for rows, times in samples.items() if rows <= resolution.max_batch_size}
        service_time.seed(length or None, kept)
    num_cores = 0 if inline else min(resolution.threads, scheduler.num_cores)
    scheduled = scheduler.add_model(
        prepared.name,
        max_batch_size=resolution.max_batch_size,
        service_time=service_time,
        cores=num_cores,
        instances=resolution.instances,
        deferral_ns=levers.deferral_ns,
        max_queue_ns=None if levers.queue_ns == "auto" else levers.queue_ns,
        min_share=min_share,
    )
    ragged = {key: (value.axis, value.pad) for key, value in prepared.model.ragged.items()}

    def executor(engine: Engine) -> Executor:
        if isinstance(engine, PythonEngine):
            hang_ns = _HANG_FACTOR * service_time.mean_ns(resolution.max_batch_size)
            hang_ns = max(_MIN_STREAM_HANG_NS if engine.streams else _MIN_HANG_NS, hang_ns)
            spec = engine.process.spec
            kind = StreamExecutor if engine.streams else ProcessExecutor
            return kind(engine.process, lambda: PythonProcess(spec), loop, now_ns, hang_ns, say)
        if inline:
            return InlineExecutor(engine, now_ns)
        return ThreadExecutor(engine, now_ns, loop, prepared.name)

    return LiveModel(
        name=prepared.name,
        signature=prepared.signature,
        scheduled=scheduled,
        service_time=service_time,
        builder=BatchBuilder(prepared.signature, ragged),
        ragged=ragged,
        cut={key: (value.axis, value.like) for key, value in prepared.model.cut.items()},
        idle=[executor(engine) for engine in prepared.engines],
        resolution=resolution,
        batch1_ns=prepared.profile.batch1_ns(),
        largest_batch_difference=prepared.profile.batching.difference,
        free=free_axes(
            prepared.signature,
            {(name, axis) for name, (axis, _) in ragged.items()},
            resolution.max_batch_size,
        ),
        streams=prepared.streams,
        exit=None if prepared.exit is None else ExitPoint(prepared.name, prepared.exit),
    )


def _signature(service: Service, stages: list[LiveModel | StepStage]) -> Signature:
    first, last = stages[0], stages[-1]
    inputs = service.inputs or (first.signature.inputs if isinstance(first, LiveModel) else None)
    outputs = service.outputs or (last.signature.outputs if isinstance(last, LiveModel) else None)
    if inputs is None or outputs is None:
        raise SpecError("a service whose ends are Python code declares `inputs:` and `outputs:` at the top")
    # A model with exits looks to its clients as it did without.
    has_exits = any(isinstance(stage, LiveModel) and stage.exit for stage in stages)
    batch_axis = (len(stages) == 1 or has_exits) and all(
        isinstance(stage, LiveModel) and stage.signature.batch_axis for stage in stages
    )
    return Signature(tuple(inputs), tuple(outputs), batch_axis)


def _platform(service: Service) -> str:
    names = {model.engine for model in service.models.values()}
    return (
        {"onnxruntime": "onnxruntime_onnx"}.get(next(iter(names)), next(iter(names)))
        if len(names) == 1
        else "ensemble"
    )
