"""From a configuration to what the simulator runs: `auto` becomes what the server would make of it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from trivet import host
from trivet.errors import SpecError
from trivet.experiment.simulating.fronts import fronts_setup
from trivet.experiment.simulating.remote_points import cut_to, last_upstreams, remote_places
from trivet.runtime.preparing import profile as profiles
from trivet.runtime.preparing.engines import num_threads, wanted_batch_size
from trivet.runtime.preparing.exits import certificate_of
from trivet.runtime.preparing.profile import Batching, Profile
from trivet.runtime.preparing.resolving import profile_path, resolve_model, step_execution, step_model
from trivet.runtime.preparing.samples import Samples
from trivet.simulate.profile import ModelTimes, ServiceProfile, model_key
from trivet.simulate.setup import (
    GuardSetup,
    LadderSetup,
    RemoteSetup,
    RouteSetup,
    RungSetup,
    Setup,
    StageSetup,
)
from trivet.simulate.times import mean_ns
from trivet.spec.configuration import Configuration, Resolution, with_service
from trivet.spec.failures import Failures
from trivet.spec.remote import names_of
from trivet.spec.route import certified_ease, first_model
from trivet.spec.service import Model, Stage

_MIN_DEADLINE_NS = 100_000_000  # as the server's own default (runtime/installing.py)
_REMOTE_DEADLINE_NS = 10_000_000_000  # the same


def setup_of(
    configuration: Configuration,
    profile: ServiceProfile,
    *,
    workers: int,
    num_cores: int,
    exits: Sequence[int] | None = None,
) -> Setup:
    """The service as a server with so many workers would run it.

    Args: num_cores: that the server's processes may use together.  exits: as in Setup; None: as the profile has them.
    """
    service = configuration.service
    cores = host.engine_cores(workers, num_cores)
    stages = tuple(_stage(configuration, profile, index, cores) for index in range(len(service.pipeline)))
    deadline = service.slo.deadline_ns
    return Setup(
        service=service.name,
        stages=stages,
        workers=workers,
        cores=num_cores,
        deadline_ns=max(_least_deadline_ns(stages), 4 * _expected_ns(stages, profile))
        if deadline == "auto"
        else deadline,
        slo_latency_ns=service.slo.latency_ns,
        slo_percentile=service.slo.percentile,
        exits=tuple(_exits(configuration, profile) if exits is None else exits),
        ladder=_ladder(configuration, profile, cores),
        route=_route(configuration, profile),
        guard=_guard(configuration, profile),
        names=tuple(stage.target for stage in service.pipeline),
        fronts=fronts_setup(configuration, profile),
    )


def _ladder(configuration: Configuration, profile: ServiceProfile, engine_cores: int) -> LadderSetup | None:
    service = configuration.service
    if service.degrade is None:
        return None
    rungs = []
    for name, rung in zip(service.degrade.names, service.degrade.to, strict=True):
        key = _engine_key(configuration, name)
        kept = _kept_profile(configuration, service.last_model, name)
        stage = _resolved(key, service.models[name], profile.models.get(key), kept, engine_cores)
        rungs.append(RungSetup(name, stage, rung.share))
    budget, window = service.degrade.budget, service.degrade.window
    return LadderSetup(service.last_model, tuple(rungs), budget, window, service.slo.latency_ns)


def _route(configuration: Configuration, profile: ServiceProfile) -> RouteSetup | None:
    service = configuration.service
    if service.route is None:
        return None
    table = profile.routes.get(table_key(configuration))
    ways = () if table is None else tuple(table.ways(ease_of(configuration)).tolist())
    decide_ns = round(float(np.mean(table.decide_ns))) if table is not None and table.decide_ns else 0
    return RouteSetup(first_model(service), service.last_model, ways, decide_ns)


def _guard(configuration: Configuration, profile: ServiceProfile) -> GuardSetup | None:
    """Where exits were measured; without what the last model says, audits cost what they cost and find nothing."""
    service = configuration.service
    certificate = certificate_of(configuration) if has_exits(configuration) else None
    table = None if certificate is None else profile.exits.get(table_key(configuration))
    if certificate is None or table is None or service.certified is None:
        return None
    rules = service.certified[1]
    places = [place for place, stage in enumerate(service.pipeline) if stage.exit is not None]
    exits = [table.exits(dict(zip(places, one.thresholds, strict=True))) for one in certificate.points]
    return GuardSetup(
        points=certificate.points,
        exits=tuple(tuple(one.tolist()) for one in exits),
        lost=tuple(tuple(table.lost(one).tolist()) for one in exits),
        max_loss=certificate.max_loss,
        delta=1 - certificate.confidence,
        audit_share=rules.audit,
        seed=rules.seed,
    )


def ease_of(configuration: Configuration) -> float:
    """The ease from which the first of a route's two models answers.

    Raises: SpecError: no route, or a certificate that cannot be read, or speaks of something else.
    """
    route, certificate = configuration.service.route, certificate_of(configuration)
    if route is None or certificate is None:
        raise SpecError("the service declares no route")
    return certified_ease(route, certificate.points)


def rung_configurations(configuration: Configuration) -> list[Configuration]:
    """For each model that stands in under load the service in which it always answers."""
    service = configuration.service
    if service.degrade is None:
        return []
    found = []
    for name, rung in zip(service.degrade.names, service.degrade.to, strict=True):
        stages = list(service.pipeline)
        declared = stages[service.last_model]
        stages[service.last_model] = msgspec.structs.replace(
            declared, model=name, inputs=dict(rung.inputs) or None
        )
        used = {stage.model for stage in stages}
        models = {key: model for key, model in service.models.items() if key in used}
        changed = msgspec.structs.replace(service, models=models, pipeline=tuple(stages), degrade=None)
        found.append(with_service(configuration, changed))
    return found


def routed_alone(configuration: Configuration) -> Configuration:
    """The service whose requests all go to the first model of its route; without a route as it is.

    What is left when a live server's engines are subtracted from its requests' times tells of the host only where one
    engine answers them all.
    """
    service = configuration.service
    if service.route is None:
        return configuration
    first, last = first_model(service), service.last_model
    stages = tuple(stage for place, stage in enumerate(service.pipeline) if place <= first or place > last)
    used = {stage.model for stage in stages}
    models = {key: model for key, model in service.models.items() if key in used}
    changed = msgspec.structs.replace(
        service, models=models, pipeline=stages, route=None, cascade=None, degrade=None
    )
    return with_service(configuration, changed)


def local_alone(configuration: Configuration) -> Configuration | None:
    """The same of a service some of whose models run elsewhere: up to the last that runs here before the first of them;
    None: none does.
    """
    places = remote_places(configuration)
    if not places:
        return routed_alone(configuration)
    service = configuration.service
    if service.route is not None and places[0] > first_model(service):
        return routed_alone(configuration)
    before = service.pipeline[: places[0]]
    last = max((at for at, stage in enumerate(before) if stage.exit is not None), default=None)
    if last is None:
        last = max((at for at, stage in enumerate(before) if stage.model is not None), default=None)
        return None if last is None else cut_to(service, service.pipeline[: last + 1], configuration)
    # What an exit gives stands for what the last model gives: the stages behind that one take it.
    kept = [*service.pipeline[: last + 1], *service.pipeline[service.last_model + 1 :]]
    stages = tuple(msgspec.structs.replace(stage, exit=None, failures=None) for stage in kept)
    used = {stage.model for stage in stages}
    models = {key: model for key, model in service.models.items() if key in used}
    changed = msgspec.structs.replace(service, models=models, pipeline=stages, cascade=None, degrade=None)
    return with_service(configuration, changed)


def one_alone(configuration: Configuration, setup: Setup) -> Configuration:
    """The service that ends with the first of its models, where it has several; else as it is.

    What is left when a live server's engine is subtracted from its requests' times tells of the host only where one
    engine works for each. Where any model runs in a thread this one does: only there is seen what handing over costs.
    """
    models = [place for place, stage in enumerate(setup.stages) if stage.kind == "model"]
    if len(models) <= 1:
        return configuration
    service = configuration.service
    first = service.pipeline[models[0]]
    if first.model is not None and any(setup.stages[place].execution != "inline" for place in models):
        model = service.models[first.model]
        if setup.stages[models[0]].execution == "inline":
            model = msgspec.structs.replace(
                model, levers=msgspec.structs.replace(model.levers, execution="thread")
            )
        service = msgspec.structs.replace(service, models={**service.models, first.model: model})
    return cut_to(service, service.pipeline[: models[0] + 1], configuration)


def remote_keys(configuration: Configuration) -> dict[int, str]:
    """The keys of the tries of its remote models in a profile, by their places; empty: all models run here."""
    return {place: stage_key(configuration, place) for place in remote_places(configuration)}


def has_exits(configuration: Configuration) -> bool:
    return any(stage.exit is not None for stage in configuration.service.pipeline)


def table_key(configuration: Configuration) -> str:
    """Of all that confidences and answers depend on: the stages' bytes and how exits read scores, not the thresholds."""
    stages = []
    for index, stage in enumerate(configuration.service.pipeline):
        key = stage_key(configuration, index)
        rule = None
        if stage.exit is not None:
            rule = [stage.exit.output, stage.exit.scores, stage.exit.confidence, stage.exit.calibration]
        stages.append([key if stage.model is None else key.split("/", 1)[0], rule])
    if configuration.service.route is not None:
        router = configuration.service.route.router
        stages.append([next(file.digest for file in configuration.files if file.name == router), None])
    return hashlib.sha256(msgspec.json.encode(stages)).hexdigest()[:16]


def front_key(configuration: Configuration) -> str:
    """Of all that the answers to the data depend on: the data, and the stages' bytes."""
    samples = Samples(configuration.service, Path(configuration.root), lambda: 0)
    return f"{samples.digest[:16]}/{table_key(configuration)}"


def thresholds_of(configuration: Configuration) -> dict[int, float]:
    """By the place of the stage that an exit stands behind; of a certified cascade those that it begins with.

    Raises: SpecError: a certificate that cannot be read, or speaks of something else.
    """
    pipeline = configuration.service.pipeline
    exits = {place: stage.exit for place, stage in enumerate(pipeline) if stage.exit is not None}
    certificate = certificate_of(configuration)
    if certificate is not None:
        return dict(zip(exits, certificate.points[-1].thresholds, strict=True))
    return {place: rule.threshold for place, rule in exits.items()}


def _exits(configuration: Configuration, profile: ServiceProfile) -> Sequence[int]:
    """Of each measured input; nothing where it was not measured: then all pass every stage."""
    table = profile.exits.get(table_key(configuration)) if has_exits(configuration) else None
    return () if table is None else table.exits(thresholds_of(configuration)).tolist()


def stage_key(configuration: Configuration, index: int) -> str:
    """The key of a stage's times in a profile."""
    stage = configuration.service.pipeline[index]
    if stage.model is None:
        return f"step/{_digest(configuration, (stage.target, *stage.files))}"
    return _engine_key(configuration, stage.model)


def _engine_key(configuration: Configuration, name: str) -> str:
    model = configuration.service.models[name]
    # What another server calls a model tells it from no model of a third one.
    names = (model.source, *model.files) if model.remote is None else (name, model.source)
    return model_key(
        _digest(configuration, names, model),
        model.engine,
        num_threads(model),
        model.levers.graph_optimization,
        spinning=model.levers.spinning,
    )


def wanted_deadline_ns(configuration: Configuration) -> int:
    """The longest time that a batch may take and be of use; the server's least default where none is declared."""
    declared = configuration.service.slo.deadline_ns
    return _MIN_DEADLINE_NS if declared == "auto" else declared


def _stage(
    configuration: Configuration, profile: ServiceProfile, index: int, engine_cores: int
) -> StageSetup:
    stage = configuration.service.pipeline[index]
    key = stage_key(configuration, index)
    times = profile.models.get(key)
    if stage.model is not None and configuration.service.models[stage.model].remote is not None:
        return _remote(key, stage, configuration)
    if stage.model is None:
        execution = step_execution(stage, None)
        if execution == "inline":
            return StageSetup(key, "step", "inline")
        return _resolved(key, step_model(stage), times, None, engine_cores)
    kept = _kept_profile(configuration, index)
    return _resolved(key, configuration.service.models[stage.model], times, kept, engine_cores)


def _remote(key: str, stage: Stage, configuration: Configuration) -> StageSetup:
    model = configuration.service.models[stage.model or ""]
    assert model.remote is not None  # as in `_stage`
    failures, last = stage.failures or Failures(), last_upstreams(stage)
    found = resolve_model(model, _profile_of(None, model), 1)
    names = names_of([*model.remote.upstreams, *last])
    earlier = {one.model for one in configuration.service.pipeline} - {stage.model}
    instead, unknown = "", ""
    for way in failures.fallback:
        if way.upstream is not None or instead:
            continue
        if way.answer is not None or way.model in earlier:
            instead = way.name
        else:
            unknown = f"the fallback to {way.name}"
    if model.levers.instances != "auto" and found.max_batch_size > 1:
        unknown = "that requests share a call (they do where `instances` is bounded, unless `batching: off`)"
    return StageSetup(
        key,
        kind="remote",
        execution="remote",
        instances=found.instances,
        queue_ns=None if model.levers.queue_ns == "auto" else model.levers.queue_ns,
        remote=RemoteSetup(
            upstreams=tuple((names[one.url], one.weight) for one in model.remote.upstreams),
            rules=msgspec.structs.replace(failures, fallback=()),
            last=tuple(names[one.url] for one in last),
            instead=instead,
            unknown=unknown,
        ),
    )


def _resolved(
    key: str, model: Model, times: ModelTimes | None, kept: Profile | None, engine_cores: int
) -> StageSetup:
    """Without any times it is what is declared: the profile does not cover it anyhow, and says so."""
    if kept is None and times is None:
        return StageSetup(key, max_batch_size=wanted_batch_size(model), threads=num_threads(model))
    found: Resolution = resolve_model(model, kept or _profile_of(times, model), engine_cores)
    return StageSetup(
        key=key,
        kind="model",
        execution=found.execution,  # type: ignore[arg-type]  # one of the three words
        instances=found.instances,
        threads=found.threads,
        max_batch_size=found.max_batch_size,
        deferral_ns=model.levers.deferral_ns * (found.max_batch_size > 1),  # else nobody waits for company
        queue_ns=None if model.levers.queue_ns == "auto" else model.levers.queue_ns,
    )


def _profile_of(times: ModelTimes | None, model: Model) -> Profile:
    """The times as the server's own profile at load would have them."""
    if times is None:
        return Profile({}, Batching(True, 0.0), "nothing")
    wanted = wanted_batch_size(model)
    by_length = {
        length: {rows: values for rows, values in by_rows.items() if rows <= wanted}
        for length, by_rows in times.samples.items()
    }
    if times.batches and wanted > 1:
        # Only lone rows were measured, by a lever: the server would find out what batches take, and so must the profile.
        for by_rows in by_length.values():
            by_rows.setdefault(2, [2 * ns for ns in by_rows[1]])
    return Profile(by_length, Batching(times.same, 0.0), "the simulator's profile")


def _kept_profile(configuration: Configuration, index: int, rung: str | None = None) -> Profile | None:
    """What the server itself has kept of this model on this machine; None: nothing yet. Args: rung: who stands in there."""
    digest = Samples(configuration.service, Path(configuration.root), lambda: 0).digest
    return profiles.read(profile_path(configuration, index, digest, rung), Profile)


def _least_deadline_ns(stages: Sequence[StageSetup]) -> int:
    is_remote = any(stage.remote is not None for stage in stages)
    return _REMOTE_DEADLINE_NS if is_remote else _MIN_DEADLINE_NS


def _expected_ns(stages: Sequence[StageSetup], profile: ServiceProfile) -> int:
    """Of a lone request of the longest profiled length, in all stages."""
    # Of a server elsewhere nothing is known when a deadline is chosen.
    local = [stage for stage in stages if stage.remote is None]
    known = [profile.models[stage.key] for stage in local if stage.key in profile.models]
    return sum(round(mean_ns(times, 1, max(times.samples))) for times in known)


def _digest(configuration: Configuration, names: Sequence[str], model: Model | None = None) -> str:
    """Of the bytes behind the names, and of how requests are put together for it."""
    files = [file.digest for name in names for file in configuration.files if file.name == name]
    how = [] if model is None else [msgspec.to_builtins(model.ragged), model.providers, model.batching]
    return hashlib.sha256(
        msgspec.json.encode([files, how, [name.rpartition(":")[2] for name in names]])
    ).hexdigest()
