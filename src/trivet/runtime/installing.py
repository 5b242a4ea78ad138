"""Putting a prepared configuration to work: the scheduler gets to know it. Quick, in the loop's thread."""

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from trivet.engine.contract import Engine
from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.process import PythonProcess
from trivet.engine.remote.client import Client
from trivet.engine.remote.engine import RemoteEngine
from trivet.pipeline.attempts import Caller
from trivet.pipeline.degrading import Degrading
from trivet.pipeline.exits import ExitPoint, RoutePoint
from trivet.pipeline.routing import Routing, read_router
from trivet.pipeline.wiring import Wiring
from trivet.runtime.auditing import watch
from trivet.runtime.batch import BatchBuilder
from trivet.runtime.buckets import free_axes
from trivet.runtime.costing import Costing
from trivet.runtime.degrading import LiveLadder, Source
from trivet.runtime.executors import Executor, InlineExecutor, ThreadExecutor
from trivet.runtime.fallbacks import Fixed, Kept, Stale, StandIn, Way, kept_keys
from trivet.runtime.features.store import FeatureStore
from trivet.runtime.live import LiveModel, LiveService
from trivet.runtime.preparing.preparing import Prepared, PreparedModel, Say
from trivet.runtime.preparing.service_signature import service_signature
from trivet.runtime.preparing.stand_ins import fixed_rows, kept_places
from trivet.runtime.process_executor import ProcessExecutor
from trivet.runtime.remote_calls import RemotePool
from trivet.runtime.remote_executor import remote_executors
from trivet.runtime.route_auditing import watch_route
from trivet.runtime.steps import StepStage
from trivet.runtime.stream_executor import StreamExecutor
from trivet.runtime.token_counts import token_counter
from trivet.schedule import Scheduler, ServiceTime
from trivet.spec.degrade import Degrade
from trivet.spec.failures import Failures, Fallback
from trivet.spec.openai import form_of
from trivet.spec.remote import Upstream, names_of
from trivet.spec.route import certified_ease, first_model
from trivet.spec.service import Service

_MIN_DEADLINE_NS = 100_000_000
# Where another server answers nothing was profiled that a deadline could be made of.
_REMOTE_DEADLINE_NS = 10_000_000_000
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
    stand_ins = {
        name: _install_model(one, min_share, scheduler, loop, now_ns, say)
        for name, one in prepared.stand_ins.items()
    }
    _add_fallbacks(service, stages, stand_ins)
    ladder = None
    if service.degrade is not None:
        rungs = [_install_model(rung, 0.0, scheduler, loop, now_ns, say) for rung in prepared.rungs]
        ladder = _ladder(service, service.degrade, stages, rungs, prepared.rung_sources)
    routed = None if service.route is None else first_model(service)
    if routed is not None:
        cheap = stages[routed]
        assert isinstance(cheap, LiveModel)  # by its name
        cheap.exit = RoutePoint(cheap.name, has_rows=cheap.signature.batch_axis)
    longest_ns = sum(stage.expected_ns() for stage in stages)
    declared = default_deadline_ns if service.slo.deadline_ns == "auto" else service.slo.deadline_ns
    is_remote = any(model.remote is not None for model in service.models.values())
    least_ns = _REMOTE_DEADLINE_NS if is_remote else _MIN_DEADLINE_NS
    signature = service_signature(service, stages)
    live = LiveService(
        name=service.name,
        version=prepared.version,
        configuration_hash=prepared.configuration.hash,
        signature=signature,
        stages=stages,
        wiring=Wiring(prepared.takings, [spec.name for spec in signature.inputs]),
        scheduler=scheduler,
        deadline_ns=max(least_ns, 4 * longest_ns) if declared == "auto" else declared,
        last_model=service.last_model,
        slow_ns=service.slo.latency_ns,
        default_priority=service.priorities.default,
        max_priority=service.priorities.levels,
        platform=_platform(service),
        openai=None if service.openai is None else form_of(service.openai, signature),
        stand_ins=list(stand_ins.values()),
        kept=kept_places(service, prepared.stages) or None,
        ladder=ladder,
    )
    _equip(live, prepared, routed, loop, now_ns, say)
    return live


def _equip(
    live: LiveService,
    prepared: Prepared,
    routed: int | None,
    loop: asyncio.AbstractEventLoop,
    now_ns: Callable[[], int],
    say: Say,
) -> None:
    """Give a live service what stands beside its pipeline: prices, tables, counts, certificates.

    Args: routed: the place of the cheap model, where a route decides who answers.
    """
    service = prepared.configuration.service
    for model in live.every_model:
        if model.remote is not None:
            model.remote.counts = live.counts
    if service.cost is not None:
        live.costing = Costing(service.cost, live.counts)
        for model in live.every_model:
            if model.remote is None:  # what is called is paid by the call
                model.nano_per_ns = service.cost.nano_per_core_ns() * max(1, model.resolution.threads)
                if live.openai is not None and service.cost.tokens_nano(model.name, 1_000, 1_000):
                    names = [spec.name for spec in model.signature.outputs]
                    model.tokens_of = token_counter(live.openai, names)
    if prepared.precomputed is not None:
        prepared.precomputed.begin(loop, live.counts, now_ns)
        live.front_list.append(prepared.precomputed)
    for stage in live.stages:
        if isinstance(stage, StepStage) and stage.joins is not None:
            stage.joins.begin(loop, live.counts, now_ns)
            if isinstance(stage.joins.source, FeatureStore):
                live.last_fronts.append(stage.joins.source)
    certificate = prepared.certificate
    if certificate is None or service.certified is None:
        return
    rules = service.certified[1]
    if service.route is not None and routed is not None:
        router = read_router(Path(prepared.configuration.root, service.route.router))
        least = certified_ease(service.route, certificate.points)
        # The guard steps back from what is chosen, and never beyond it.
        points = tuple(point for point in certificate.points if point.thresholds[0] >= least)
        rule = Routing(router, service.route.input, routed, least)
        assert prepared.meaning is not None  # every route has one
        kept = msgspec.structs.replace(certificate, points=points)
        watch_route(live, kept, rules, rule, prepared.meaning, say)
    else:
        watch(live, certificate, rules, say)


def _ladder(
    service: Service,
    degrade: Degrade,
    stages: Sequence[LiveModel | StepStage],
    stand_ins: Sequence[LiveModel],
    sources: Sequence[Sequence[Source]],
) -> LiveLadder:
    declared = stages[service.last_model]
    assert isinstance(declared, LiveModel)  # the last model is one
    losses = [0.0, *(rung.share for rung in degrade.to)]
    decision = Degrading(losses, degrade.budget, degrade.window, service.slo.latency_ns)
    return LiveLadder([declared, *stand_ins], sources, decision)


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
        elsewhere=prepared.model.remote is not None,
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

    engine = prepared.engines[0]
    pool = _remote_pool(prepared, engine, loop, now_ns) if isinstance(engine, RemoteEngine) else None
    return LiveModel(
        name=prepared.name,
        remote=pool,
        signature=prepared.signature,
        scheduled=scheduled,
        service_time=service_time,
        builder=BatchBuilder(prepared.signature, ragged),
        ragged=ragged,
        cut={key: (value.axis, value.like) for key, value in prepared.model.cut.items()},
        idle=[executor(engine) for engine in prepared.engines]
        if pool is None
        else remote_executors(pool, resolution.instances),
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
        timeout_ns=prepared.failures.timeout_ns if prepared.failures and prepared.model.python else None,
    )


def _add_fallbacks(
    service: Service, stages: Sequence[LiveModel | StepStage], stand_ins: Mapping[str, LiveModel]
) -> None:
    for stage, declared in zip(stages, service.pipeline, strict=True):
        if isinstance(stage, LiveModel) and declared.failures is not None:
            ways = [_way(one, stage, stand_ins) for one in declared.failures.fallback]
            stage.fallbacks = [way for way in ways if way is not None]


def _way(fallback: Fallback, stage: LiveModel, stand_ins: Mapping[str, LiveModel]) -> Way | None:
    """None: another upstream, which the stage's own calls ask."""
    if fallback.model is not None:
        outputs = [spec.name for spec in stage.signature.outputs]
        model = stand_ins.get(fallback.model)
        return Kept(fallback.model, kept_keys(fallback.model, outputs)) if model is None else StandIn(model)
    if fallback.answer is not None:
        return Fixed(fixed_rows(fallback, stage.signature, ("answer",)))
    return Stale() if fallback.stale else None


def _remote_pool(
    prepared: PreparedModel,
    engine: RemoteEngine,
    loop: asyncio.AbstractEventLoop,
    now_ns: Callable[[], int],
) -> RemotePool:
    """Where the calls to another server are made."""
    remote, failures = engine.remote, prepared.failures or Failures()
    last = [Upstream(url=one.upstream) for one in failures.fallback if one.upstream is not None]
    names = names_of([*remote.upstreams, *last])
    named = [(names[one.url], one.weight) for one in remote.upstreams]
    # Workers that meet the same failure must not come back at the same instants: each draws its own pauses.
    caller = Caller(named, failures, random.Random(os.getpid()), [names[one.url] for one in last])
    urls = {name: url for url, name in names.items()}
    return RemotePool(engine.dialect, Client(remote), caller, urls, loop, now_ns, prepared.name)


def _platform(service: Service) -> str:
    names = {model.engine for model in service.models.values()}
    return (
        {"onnxruntime": "onnxruntime_onnx"}.get(next(iter(names)), next(iter(names)))
        if len(names) == 1
        else "ensemble"
    )
