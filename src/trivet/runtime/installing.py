"""Putting a prepared configuration to work: the scheduler gets to know it. Quick, in the loop's thread."""

import asyncio
from collections.abc import Callable
from typing import Literal

from trivet.engine.contract import Engine
from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.process import PythonProcess
from trivet.pipeline.exits import ExitPoint
from trivet.pipeline.wiring import Wiring
from trivet.runtime.batch import BatchBuilder
from trivet.runtime.buckets import free_axes
from trivet.runtime.costing import Costing
from trivet.runtime.executors import Executor, InlineExecutor, ThreadExecutor
from trivet.runtime.feature_store import FeatureStore
from trivet.runtime.live import LiveModel, LiveService
from trivet.runtime.preparing import Prepared, PreparedModel, Say
from trivet.runtime.process_executor import ProcessExecutor
from trivet.runtime.service_signature import service_signature
from trivet.runtime.steps import StepStage
from trivet.runtime.stream_executor import StreamExecutor
from trivet.schedule import Scheduler, ServiceTime
from trivet.spec.service import Service

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
    longest_ns = sum(stage.expected_ns() for stage in stages)
    declared = default_deadline_ns if service.slo.deadline_ns == "auto" else service.slo.deadline_ns
    signature = service_signature(service, stages)
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
    if service.cost is not None:
        live.costing = Costing(service.cost, live.counts)
        for model in live.models:
            model.nano_per_ns = service.cost.nano_per_core_ns() * max(1, model.resolution.threads)
    if prepared.precomputed is not None:
        prepared.precomputed.begin(loop, live.counts, now_ns)
        live.front_list.append(prepared.precomputed)
    for stage in stages:
        if isinstance(stage, StepStage) and stage.joins is not None:
            stage.joins.begin(loop, live.counts, now_ns)
            if isinstance(stage.joins.source, FeatureStore):
                live.last_fronts.append(stage.joins.source)
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


def _platform(service: Service) -> str:
    names = {model.engine for model in service.models.values()}
    return (
        {"onnxruntime": "onnxruntime_onnx"}.get(next(iter(names)), next(iter(names)))
        if len(names) == 1
        else "ensemble"
    )
