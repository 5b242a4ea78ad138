"""What `auto` becomes for a model or a step with its profile on this host, and where profiles are kept."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from trivet import host
from trivet.runtime.preparing import profile as profiles
from trivet.runtime.preparing.engines import num_threads, wanted_batch_size
from trivet.runtime.preparing.profile import Profile
from trivet.runtime.preparing.samples import Samples
from trivet.spec.configuration import Configuration, Resolution
from trivet.spec.service import Model, Stage
from trivet.spec.signature import TensorSpec

# A batch of one that takes less than this runs in the loop: handing it to a thread and back costs about a tenth of
# a millisecond and the loop's attention twice. The same for a step, whose way to its process and back is as long.
INLINE_BELOW_NS = 1_000_000
# Calls that one worker has on their way to one remote model.
_REMOTE_CALLS = 128
# The loop is never away longer than this for one inline batch.
_LONGEST_INLINE_NS = 1_000_000


class StepProfile(msgspec.Struct, frozen=True):
    """Times of a step in the loop on rows of data, and the tensors that it gave."""

    times_ns: list[int]
    outputs: tuple[TensorSpec, ...]
    measured_on: str

    def median_ns(self) -> int:
        return int(np.median(self.times_ns))


def resolve_model(model: Model, profile: Profile, num_cores: int) -> Resolution:
    """Args: num_cores: that the engines of one worker may use."""
    if model.remote is not None:
        return _resolve_remote(model)
    threads = num_threads(model)
    inline = _is_inline(model, profile)
    max_batch_size = wanted_batch_size(model)
    if profile.max_rows() == 1 or (model.batching == "auto" and not profile.batching.same):
        max_batch_size = 1
    elif inline and model.levers.max_batch_size == "auto":
        max_batch_size = min(max_batch_size, _largest_inline(profile))
    instances = max(1, num_cores // threads) if model.levers.instances == "auto" else model.levers.instances
    return Resolution(
        execution="process" if model.python else "inline" if inline else "thread",
        instances=1 if inline else instances,
        threads=threads,
        max_batch_size=max_batch_size,
        one_ns=profile.batch1_ns() or None,
        profiled_on=profile.measured_on,
    )


def _resolve_remote(model: Model) -> Resolution:
    """Nothing is profiled: each call may cost money, and an upstream need not be there. The first requests tell."""
    levers = model.levers
    is_whole = model.batching == "off" or (model.remote is not None and model.remote.streams)
    return Resolution(
        execution="remote",
        instances=_REMOTE_CALLS if levers.instances == "auto" else levers.instances,
        threads=0,
        max_batch_size=1 if is_whole else wanted_batch_size(model),
    )


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


def step_execution(stage: Stage, profile: StepProfile | None) -> str:
    """Where a step runs: as declared, else by its time on rows of data; inline where there are none."""
    if stage.execution != "auto":
        return stage.execution
    return "inline" if profile is None or profile.median_ns() < INLINE_BELOW_NS else "process"


def inline_step(profile: StepProfile | None) -> Resolution:
    """The resolution of a step in the loop: one call at a time."""
    return Resolution(
        execution="inline",
        instances=1,
        threads=1,
        max_batch_size=1,
        one_ns=profile.median_ns() if profile else None,
        profiled_on=profile.measured_on if profile else None,
    )


def step_model(stage: Stage) -> Model:
    """A step that runs in its own process, as the model that it then is: each request alone."""
    return Model(python=stage.target, files=stage.files, batching="off")


def profile_path(configuration: Configuration, index: int, data_digest: str, rung: str | None = None) -> Path:
    """Where the profile of the model (or step in its own process) at a stage of the pipeline is kept.

    Args: data_digest: of the rows that it is measured on, after the stages before it; empty for random inputs.
    rung: the model that stands in there; None: the declared one.
    """
    name = rung or configuration.service.pipeline[index].model
    if name is None:
        return profiles.cache_path(configuration.stages_digest(index + 1), {"data": data_digest})
    model = configuration.service.models[name]
    settings = {
        "threads": num_threads(model),
        "max_batch_size": wanted_batch_size(model),
        "lengths": "" if data_digest else str(model.lengths),
        "data": data_digest,
        "before": configuration.stages_digest(index) if data_digest else "",
    }
    return profiles.cache_path(configuration.model_digest(name), settings)


def step_profile_path(configuration: Configuration, index: int, data_digest: str) -> Path:
    return profiles.cache_path(
        configuration.stages_digest(index + 1), {"execution": "inline", "data": data_digest}
    )


def known_resolutions(
    configuration: Configuration, num_cores: int | None = None
) -> dict[str, Resolution | None]:
    """What `auto` becomes for each model, who stands in included, and step on this machine; None while it has no profile.

    Args: num_cores: that the engines of one worker may use; None: of the only worker.
    """
    service = configuration.service
    cores = host.engine_cores(1) if num_cores is None else num_cores
    digest = Samples(service, Path(configuration.root), _never).digest
    found: dict[str, Resolution | None] = {}
    for index, stage in enumerate(service.pipeline):
        if stage.target in found:
            continue
        if stage.features is not None:
            found[stage.target] = inline_step(None)
            continue
        model = (
            service.models.get(stage.model) if stage.model else _step_in_process(configuration, index, digest)
        )
        if isinstance(model, Model) and model.remote is not None:
            found[stage.target] = _resolve_remote(model)
        elif isinstance(model, Model):
            profile = profiles.read(profile_path(configuration, index, digest), Profile)
            found[stage.target] = None if profile is None else resolve_model(model, profile, cores)
        else:
            found[stage.target] = model
    for name in service.degrade.names if service.degrade is not None else ():
        profile = profiles.read(profile_path(configuration, service.last_model, digest, name), Profile)
        found[name] = None if profile is None else resolve_model(service.models[name], profile, cores)
    return found


def _step_in_process(configuration: Configuration, index: int, digest: str) -> Model | Resolution | None:
    """The model that a step is where it runs in its own process, else its resolution."""
    stage = configuration.service.pipeline[index]
    path = step_profile_path(configuration, index, digest)
    profile = profiles.read(path, StepProfile) if digest and stage.execution == "auto" else None
    if profile is None and digest and stage.execution == "auto":
        return None
    return step_model(stage) if step_execution(stage, profile) == "process" else inline_step(profile)


_never: Callable[[], int] = lambda: 0  # noqa: E731  # no row is carried here: nobody asks for the time
