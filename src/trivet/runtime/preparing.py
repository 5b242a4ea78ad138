"""Preparing a configuration, off the loop: engines, profile, the check of batched answers, and what `auto` becomes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trivet import host
from trivet.engine.contract import Engine
from trivet.engine.onnx import OnnxEngine
from trivet.errors import SpecError
from trivet.runtime import profile as profiles
from trivet.runtime.batch_check import check_batching
from trivet.runtime.live import StepStage
from trivet.runtime.profile import Profile
from trivet.runtime.steps import load_callable
from trivet.spec.configuration import Configuration, Resolution
from trivet.spec.service import Model
from trivet.spec.signature import VARIABLE, Signature
from trivet.spec.sources import resolve_file

# A batch of one that takes less than this runs in the loop: handing it to a thread and back costs about a tenth of
# a millisecond and the loop's attention twice.
INLINE_BELOW_NS = 1_000_000
# The loop is never away longer than this for one inline batch.
_LONGEST_INLINE_NS = 1_000_000
_DEFAULT_MAX_BATCH_SIZE = 64

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
            stages.append(StepStage(stage.target, load_callable(stage.target, root)))
    return Prepared(configuration, version, stages)


def _prepare_model(
    configuration: Configuration, name: str, now_ns: Callable[[], int], say: Say
) -> PreparedModel:
    model = configuration.service.models[name]
    levers = model.levers
    root = Path(configuration.root)
    threads = 1 if levers.threads == "auto" else levers.threads
    engine = _engine(model, root, threads)
    signature = _declared_signature(engine.signature, model, name)
    wanted = _DEFAULT_MAX_BATCH_SIZE if levers.max_batch_size == "auto" else levers.max_batch_size
    max_batch_size = wanted if signature.batch_axis else 1
    path = profiles.cache_path(
        configuration.model_digest(name), {"threads": threads, "max_batch_size": max_batch_size}
    )
    profile = profiles.read(path)
    if profile is None:
        say(
            f"profiling {model.source} on random inputs (at most {profiles.BUDGET_NS // 10**9} s, once for this machine)"
        )
        profile = _profile(engine, signature, max_batch_size, now_ns)
        profiles.write(path, profile)
    if not profile.batching.same and signature.batch_axis:
        if model.batching == "auto":
            say(
                f"model {name!r}: batched answers differ from single ones ({profile.batching.reason}): batching is off"
            )
            max_batch_size = 1
        else:
            say(f"model {name!r}: batched answers differ from single ones ({profile.batching.reason})")
    inline = _is_inline(model, profile)
    if inline and levers.max_batch_size == "auto":
        max_batch_size = min(max_batch_size, _largest_inline(profile))
    instances = 1 if inline else _instances(model, threads)
    engines = [engine, *(_engine(model, root, threads) for _ in range(instances - 1))]
    execution = "inline" if inline else "thread"
    resolution = Resolution(
        execution=execution, instances=instances, threads=threads, max_batch_size=max_batch_size
    )
    return PreparedModel(name, model, signature, engines, profile, resolution)


def _engine(model: Model, root: Path, threads: int) -> Engine:
    if model.file is None:
        raise SpecError(f"engine {model.engine!r} is not served yet")
    return OnnxEngine(
        resolve_file(model.file, root),
        threads=threads,
        providers=model.providers,
        graph_optimization=model.levers.graph_optimization,
        spinning=model.levers.spinning,
    )


def _declared_signature(found: Signature, model: Model, name: str) -> Signature:
    """The engine's signature with the batch axis as declared, where it is."""
    if model.batching == "off":
        return Signature(found.inputs, found.outputs, False)
    if model.batch_axis == "auto":
        return found
    if model.batch_axis and any(not spec.shape for spec in (*found.inputs, *found.outputs)):
        raise SpecError(f"models.{name}.batch_axis is true, but a tensor of the model is a scalar")
    return Signature(found.inputs, found.outputs, model.batch_axis)


def _profile(engine: Engine, signature: Signature, max_batch_size: int, now_ns: Callable[[], int]) -> Profile:
    free = any(VARIABLE in spec.shape[int(signature.batch_axis) :] for spec in signature.inputs)
    lengths = profiles.LENGTHS if free else (0,)
    by_length = profiles.measure(engine, signature, max_batch_size, lengths, now_ns)
    if max_batch_size == 1:
        return Profile(by_length, profiles.Batching(True, 0.0))
    check = check_batching(engine, signature, max_batch_size, max(lengths))
    return Profile(by_length, profiles.Batching(check.same, check.absolute, str(check)))


def _is_inline(model: Model, profile: Profile) -> bool:
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
