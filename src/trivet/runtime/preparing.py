"""Preparing a configuration, off the loop: engines, profile, the check of batched answers, and what `auto` becomes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trivet import host
from trivet.engine.contract import Engine
from trivet.engine.onnx import OnnxEngine
from trivet.engine.openvino import OpenVinoEngine
from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.process import PythonSpec
from trivet.errors import EngineError, SpecError
from trivet.runtime import profile as profiles
from trivet.runtime.batch_check import check_batching
from trivet.runtime.live import StepStage
from trivet.runtime.profile import Profile
from trivet.runtime.steps import load_callable
from trivet.runtime.streaming import FirstChunk
from trivet.spec.configuration import Configuration, Resolution
from trivet.spec.service import Model, Service
from trivet.spec.signature import VARIABLE, Signature
from trivet.spec.sources import resolve_file
from trivet.spec.validation import check_signature

# A batch of one that takes less than this runs in the loop: handing it to a thread and back costs about a tenth of
# a millisecond and the loop's attention twice.
INLINE_BELOW_NS = 1_000_000
# The loop is never away longer than this for one inline batch.
_LONGEST_INLINE_NS = 1_000_000
_DEFAULT_MAX_BATCH_SIZE = 64
# Python code that says nothing for this long on a small batch of its profile is not going to.
_PROFILE_TIMEOUT_NS = 60_000_000_000

Say = Callable[[str], None]


@dataclass(slots=True)
class PreparedModel:
    """One model's engines with what `auto` became for it; not known to a scheduler yet."""

    name: str
    model: Model
    signature: Signature
    engines: list[Engine]
    profile: Profile
    resolution: Resolution

    @property
    def streams(self) -> bool:
        """It answers in chunks, one request at a time."""
        return _streams(self.engines[0])


@dataclass(slots=True)
class Prepared:
    """A configuration whose files are read, profiled and checked; `installing.install` puts it to work."""

    configuration: Configuration
    version: str
    stages: list[PreparedModel | StepStage]


def prepare(configuration: Configuration, version: str, now_ns: Callable[[], int], say: Say) -> Prepared:
    """Load, profile and check every model. Blocking, and touches nothing live: fit for a thread.

    Raises: UserError: the declaration does not fit the model, the host or the installed extras.
    """
    root = Path(configuration.root)
    stages: list[PreparedModel | StepStage] = []
    for stage in configuration.service.pipeline:
        if stage.kind == "model":
            stages.append(_prepare_model(configuration, stage.target, now_ns, say))
        else:
            if stage.execution == "process":
                raise SpecError(
                    f"step {stage.target!r}: steps run in the event loop; `execution: process` is for models yet"
                )
            stages.append(StepStage(stage.target, load_callable(stage.target, root)))
    _check_stream_is_last(stages)
    return Prepared(configuration, version, stages)


def _check_stream_is_last(stages: Sequence[PreparedModel | StepStage]) -> None:
    models = [stage for stage in stages if isinstance(stage, PreparedModel)]
    for model in models:
        if model.streams and model is not stages[-1]:
            for engine in [engine for each in models for engine in each.engines]:
                engine.close()
            raise SpecError(
                f"model {model.name!r} is a generator: it answers in chunks, so it must be the last stage"
            )


def _prepare_model(
    configuration: Configuration, name: str, now_ns: Callable[[], int], say: Say
) -> PreparedModel:
    model = configuration.service.models[name]
    root = Path(configuration.root)
    declared = _service_signature(configuration.service) if model.python else None
    engine = _engine(model, root, declared)
    signature = _declared_signature(engine, model, name)
    check_signature(name, model, signature)
    path = _profile_path(configuration, name)
    profile = profiles.read(path)
    if profile is None:
        say(
            f"profiling {model.source} on random inputs (at most {profiles.BUDGET_NS // 10**9} s, once for this machine)"
        )
        try:
            profile = _profile(engine, signature, _wanted_batch_size(model), now_ns)
        except EngineError as error:
            raise SpecError(f"model {name!r} fails on a profile's input: {error}") from None
        profiles.write(path, profile)
    if not profile.batching.same:
        consequence = "; batching is off" if model.batching == "auto" else ""
        say(
            f"model {name!r}: batched answers differ from single ones: {profile.batching.reason}{consequence}"
        )
    resolution = _resolve(model, profile)
    engines = [engine, *(_engine(model, root, declared) for _ in range(resolution.instances - 1))]
    return PreparedModel(name, model, signature, engines, profile, resolution)


def known_resolution(configuration: Configuration, name: str) -> Resolution | None:
    """What `auto` becomes for a model on this machine; None while it has no profile here."""
    profile = profiles.read(_profile_path(configuration, name))
    return None if profile is None else _resolve(configuration.service.models[name], profile)


def _profile_path(configuration: Configuration, name: str) -> Path:
    model = configuration.service.models[name]
    settings = {"threads": _threads(model), "max_batch_size": _wanted_batch_size(model)}
    return profiles.cache_path(configuration.model_digest(name), settings)


def _threads(model: Model) -> int:
    return 1 if model.levers.threads == "auto" else model.levers.threads


def _wanted_batch_size(model: Model) -> int:
    return _DEFAULT_MAX_BATCH_SIZE if model.levers.max_batch_size == "auto" else model.levers.max_batch_size


def _resolve(model: Model, profile: Profile) -> Resolution:
    """What `auto` becomes with this profile on this host."""
    threads = _threads(model)
    inline = _is_inline(model, profile)
    max_batch_size = _wanted_batch_size(model)
    if profile.max_rows() == 1 or (model.batching == "auto" and not profile.batching.same):
        max_batch_size = 1
    elif inline and model.levers.max_batch_size == "auto":
        max_batch_size = min(max_batch_size, _largest_inline(profile))
    return Resolution(
        execution="process" if model.python else "inline" if inline else "thread",
        instances=1 if inline else _instances(model, threads),
        threads=threads,
        max_batch_size=max_batch_size,
    )


def _service_signature(service: Service) -> Signature | None:
    """The signature at the top of the service file, where its only stage is Python code that may lack one."""
    if len(service.pipeline) > 1 or service.inputs is None or service.outputs is None:
        return None
    tensors = (*service.inputs, *service.outputs)
    return Signature(service.inputs, service.outputs, all(spec.shape[:1] == (VARIABLE,) for spec in tensors))


def _engine(model: Model, root: Path, declared: Signature | None) -> Engine:
    """Raises: SpecError: it cannot be loaded; says why."""
    threads = _threads(model)
    if model.file is None:
        try:
            return PythonEngine(
                PythonSpec(model.source, root, declared, threads), timeout_ns=_PROFILE_TIMEOUT_NS
            )
        except EngineError as error:
            raise SpecError(str(error)) from None
    if model.engine == "openvino":
        return OpenVinoEngine(resolve_file(model.file, root), threads=threads)
    return OnnxEngine(
        resolve_file(model.file, root),
        threads=threads,
        providers=model.providers,
        graph_optimization=model.levers.graph_optimization,
        spinning=model.levers.spinning,
    )


def _streams(engine: Engine) -> bool:
    return isinstance(engine, PythonEngine) and engine.streams


def _declared_signature(engine: Engine, model: Model, name: str) -> Signature:
    """The engine's signature with the batch axis as declared, where it is."""
    found = engine.signature
    if model.batching == "off" or _streams(engine):
        return Signature(found.inputs, found.outputs, False)
    if model.batch_axis == "auto":
        return found
    if model.batch_axis and any(not spec.shape for spec in (*found.inputs, *found.outputs)):
        raise SpecError(f"models.{name}.batch_axis is true, but a tensor of the model is a scalar")
    return Signature(found.inputs, found.outputs, model.batch_axis)


def _profile(engine: Engine, signature: Signature, max_batch_size: int, now_ns: Callable[[], int]) -> Profile:
    if not signature.batch_axis:
        max_batch_size = 1
    if isinstance(engine, PythonEngine) and engine.streams:
        engine = FirstChunk(engine)
    free = any(VARIABLE in spec.shape[int(signature.batch_axis) :] for spec in signature.inputs)
    lengths = profiles.LENGTHS if free else (0,)
    by_length = profiles.measure(engine, signature, max_batch_size, lengths, now_ns)
    if max_batch_size == 1:
        return Profile(by_length, profiles.Batching(True, 0.0))
    check = check_batching(engine, signature, max_batch_size, max(lengths))
    return Profile(by_length, profiles.Batching(check.same, check.absolute, str(check)))


def _is_inline(model: Model, profile: Profile) -> bool:
    if model.python:
        return False
    if model.levers.execution == "auto":
        return profile.batch1_ns() < INLINE_BELOW_NS
    return model.levers.execution == "inline"


def _largest_inline(profile: Profile) -> int:
    """The largest profiled batch that the loop may run itself."""
    samples = profile.by_length[max(profile.by_length)]
    return max([rows for rows, times in samples.items() if np.median(times) <= _LONGEST_INLINE_NS], default=1)


def _instances(model: Model, threads: int) -> int:
    if model.levers.instances != "auto":
        return model.levers.instances
    return max(1, (host.num_cores() - 1) // threads)
