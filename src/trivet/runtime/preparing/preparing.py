"""Preparing a configuration, off the loop: engines, profiles, the check of batched answers, and what `auto` becomes.

Stage by stage in the pipeline's order, so that each can be profiled on what the stages before it give for real data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trivet import host
from trivet.engine.contract import Engine
from trivet.engine.python.engine import PythonEngine
from trivet.errors import RequestError, SpecError
from trivet.judge.decode import Decoder
from trivet.pipeline.wiring import Taking
from trivet.runtime.conversion import as_arrays
from trivet.runtime.degrading import Source
from trivet.runtime.fronts.precomputed import PrecomputedFront
from trivet.runtime.preparing import profile as profiles
from trivet.runtime.preparing.caches import check_cached_stages
from trivet.runtime.preparing.engines import answers_in_chunks, declared_batch_axis, load_engine
from trivet.runtime.preparing.exits import certificate_of, check_exits, check_routed, meaning_of
from trivet.runtime.preparing.openai import check_openai, openai_sample
from trivet.runtime.preparing.profile import Batching, Profile
from trivet.runtime.preparing.profile_inputs import (
    ProfileInputs,
    data_profile,
    random_profile,
    sample_profile,
)
from trivet.runtime.preparing.profiling import accepted_rows, profile_model, single_rows
from trivet.runtime.preparing.resolving import (
    inline_step,
    profile_path,
    resolve_model,
    step_execution,
    step_model,
)
from trivet.runtime.preparing.rungs import check_rung, rung_takes, say_if_slower, sources_of
from trivet.runtime.preparing.samples import Samples
from trivet.runtime.preparing.service_signature import service_signature
from trivet.runtime.preparing.stand_ins import check_fallbacks
from trivet.runtime.preparing.steps import check_ends, declared_signature, profile_step
from trivet.runtime.steps import StepStage, call_step, load_callable
from trivet.runtime.streaming import FirstChunk
from trivet.spec.certified import Certificate
from trivet.spec.configuration import Configuration, Resolution
from trivet.spec.exit import Exit
from trivet.spec.failures import Failures
from trivet.spec.features import Features
from trivet.spec.fields import FieldError, FieldPath
from trivet.spec.service import Model, Stage
from trivet.spec.service_file import located
from trivet.spec.signature import Signature, TensorSpec
from trivet.spec.taking import check_taken
from trivet.spec.validation import check_signature

if TYPE_CHECKING:
    from trivet.runtime.semantic.preparing import PreparedSemantic

Say = Callable[[str], None]


@dataclass(slots=True)
class PreparedModel:
    """One model's engines (or those of a step in its own process) with what `auto` became for it.

    Not known to a scheduler yet.
    """

    name: str
    model: Model
    signature: Signature
    engines: list[Engine]
    profile: Profile
    resolution: Resolution
    exit: Exit | None = None  # stands behind it
    failures: Failures | None = None  # when it fails

    @property
    def streams(self) -> bool:
        """It answers in chunks, one request at a time."""
        return answers_in_chunks(self.engines[0])


@dataclass(slots=True)
class Prepared:
    """A configuration whose files are read, profiled and checked; `installing.install` puts it to work."""

    configuration: Configuration
    version: str
    stages: list[PreparedModel | StepStage]
    takings: list[Taking]
    stand_ins: dict[str, PreparedModel]  # who answers only where another has failed
    rungs: list[PreparedModel]  # who stands in for the last model
    rung_sources: list[list[Source]]  # of the inputs of each
    precomputed: PrecomputedFront | None = None
    certificate: Certificate | None = None  # of exits with a `max_loss`
    semantic: "PreparedSemantic | None" = None
    meaning: Decoder | None = None  # of the answers of a route's models


def prepare(
    configuration: Configuration,
    version: str,
    now_ns: Callable[[], int],
    say: Say,
    num_cores: int | None = None,
) -> Prepared:
    """Load, profile and check every model. Blocking, and touches nothing live: fit for a thread.

    Args: num_cores: that the engines of one worker may use; None: of the only worker.
    Raises: UserError: the declaration does not fit the model, the host, the data or the installed extras.
    """
    cores = host.engine_cores(1) if num_cores is None else num_cores
    preparing = _Preparing(configuration, now_ns, say, cores)
    try:
        for index in range(len(configuration.service.pipeline)):
            preparing.add_stage(index)
        check_exits(configuration.service, preparing.stages, preparing.takings)
        check_openai(configuration.service, preparing.stages)
        check_routed(configuration.service, preparing.stages, preparing.takings, preparing.brought)
        check_cached_stages(configuration.service, preparing.stages)
        for name in configuration.service.stand_ins:
            preparing.add_stand_in(name)
        check_fallbacks(configuration.service, preparing.stages, preparing.stand_ins)
        certificate = certificate_of(configuration)
        meaning = meaning_of(configuration)
        semantic = _semantic(configuration, preparing.stages)
        precomputed = _precomputed(configuration, preparing.stages, say)
    except FieldError as error:
        preparing.close()
        raise located(configuration, error) from None
    except BaseException:
        preparing.close()
        raise
    return Prepared(
        configuration,
        version,
        preparing.stages,
        preparing.takings,
        preparing.stand_ins,
        preparing.rungs,
        preparing.rung_sources,
        precomputed,
        certificate,
        semantic,
        meaning,
    )


def _precomputed(
    configuration: Configuration, stages: Sequence[PreparedModel | StepStage], say: Say
) -> PrecomputedFront | None:
    """Raises: SpecError: the table cannot be used, and the service wants none then."""
    declared = configuration.service.precomputed
    if declared is None:
        return None
    signature = service_signature(configuration.service, stages)
    path = Path(configuration.root, declared.table)
    front = PrecomputedFront(declared, path, configuration.hash, signature, say)
    front.load()
    return front


def _semantic(
    configuration: Configuration, stages: Sequence[PreparedModel | StepStage]
) -> "PreparedSemantic | None":
    if configuration.service.semantic_cache is None:
        return None
    from trivet.runtime.semantic.preparing import prepare_semantic

    return prepare_semantic(configuration, configuration.service.semantic_cache, stages)


class _Preparing:
    """The stages prepared so far, and what they give by name."""

    def __init__(
        self, configuration: Configuration, now_ns: Callable[[], int], say: Say, num_cores: int
    ) -> None:
        self.stages: list[PreparedModel | StepStage] = []
        self.takings: list[Taking] = []
        self.stand_ins: dict[str, PreparedModel] = {}
        self.rungs: list[PreparedModel] = []
        self.rung_sources: list[list[Source]] = []
        self.brought: dict[str, TensorSpec] = {}  # by requests
        self._configuration = configuration
        self._service = configuration.service
        self._root = Path(configuration.root)
        self._now_ns = now_ns
        self._say = say
        self._num_cores = num_cores
        self._samples = Samples(self._service, self._root, now_ns)
        self._given = {spec.name: spec for spec in self._service.inputs or ()}
        self._last: tuple[TensorSpec, ...] | None = self._service.inputs  # what the stage before gives
        self._all_known = True  # whether `_given` names all that was given so far

    def close(self) -> None:
        for stage in (*self.stages, *self.stand_ins.values(), *self.rungs):
            if isinstance(stage, PreparedModel):
                for engine in stage.engines:
                    engine.close()

    def add_stage(self, index: int) -> None:
        stage = self._service.pipeline[index]
        if stage.features is not None:
            self._add_features(stage, index, stage.features)
        elif stage.model is not None:
            model = self._service.models[stage.model]
            declared = declared_signature(self._service, index, None, None) if model.python else None
            self._add_model(stage, index, model, declared)
        else:
            self._add_step(stage, index)

    # --- steps --------------------------------------------------------------------------------------------------

    def _add_step(self, stage: Stage, index: int) -> None:
        self._begin(index, Signature(self._service.inputs or (), (), False))
        takes = stage.takes if index else None
        if self._all_known:
            check_taken(stage, index, self._given)
        profile, call = None, None
        if stage.execution != "process":
            call = load_callable(stage.target, self._root)
        if call is not None and stage.execution == "auto" and self._samples.digest:
            profile = profile_step(
                self._configuration, index, self._samples, takes, call, self._now_ns, self._say
            )
        if call is None or step_execution(stage, profile) == "process":
            inputs = self._last if takes is None else self._specs_of(takes)
            declared = declared_signature(self._service, index, inputs, profile.outputs if profile else None)
            self._add_model(stage, index, step_model(stage), declared)
            return
        step = StepStage(stage.target, call, inline_step(profile), profile.median_ns() if profile else 0)
        outputs = self._service.outputs if index == len(self._service.pipeline) - 1 else stage.outputs
        outputs = outputs or (profile.outputs if profile else None)
        self._end(step, takes, outputs, lambda inputs: call_step(step, inputs))

    def _add_features(self, stage: Stage, index: int, declared: Features) -> None:
        self._begin(index, Signature(self._service.inputs or (), (), False))
        if self._all_known:
            check_taken(stage, index, self._given)
        from trivet.runtime.features.loading import load_features  # who joins none loads none of it

        join = load_features(declared, self._service.inputs or (), self._root, self._say)
        step = StepStage(declared.table, join, inline_step(None), joins=join)
        # Only the names: whoever takes one brings it into the form that it needs.
        self._end(step, stage.takes, None, lambda inputs: call_step(step, inputs), list(declared.tensors))

    def _specs_of(self, takes: Mapping[str, str]) -> tuple[TensorSpec, ...] | None:
        """The tensors that a stage takes, under its own names; None where nobody has declared one of them."""
        if any(source not in self._given for source in takes.values()):
            return None
        given = self._given
        return tuple(
            TensorSpec(name, given[source].datatype, given[source].shape) for name, source in takes.items()
        )

    # --- models -------------------------------------------------------------------------------------------------

    def _add_model(self, stage: Stage, index: int, model: Model, declared: Signature | None) -> None:
        engine = load_engine(model, self._root, declared)
        engines = [engine]
        try:
            if answers_in_chunks(engine) and index < len(self._service.pipeline) - 1:
                raise SpecError(
                    f"model {stage.target!r} is a generator: it answers in chunks, so it must be the last stage"
                )
            signature = declared_batch_axis(engine, model, stage.target)
            if stage.model is not None:
                check_signature(stage.target, model, signature)
            check_ends(self._service, index, signature)
            self._begin(index, signature)
            takes = {spec.name: spec.name for spec in signature.inputs} | dict(stage.takes or {})
            if index and self._all_known:
                check_taken(stage, index, self._given, takes)
            measured = FirstChunk(engine) if isinstance(engine, PythonEngine) and engine.streams else engine
            profile = self._profiled(index, stage.target, model, measured, signature, takes)
            resolution = resolve_model(model, profile, self._num_cores)
            if model.remote is None:  # of one that runs elsewhere there are calls, not copies
                engines += [load_engine(model, self._root, declared) for _ in range(resolution.instances - 1)]
            prepared = PreparedModel(
                stage.target, model, signature, engines, profile, resolution, stage.exit, stage.failures
            )
            others = self._add_rungs(index, prepared, takes)
        except BaseException:
            for one in engines:
                one.close()
            raise
        self._end(
            prepared,
            takes,
            signature.outputs,
            lambda inputs: engine.run(as_arrays(inputs, stage.target, signature)),
            others=others,
        )

    def add_stand_in(self, name: str) -> None:
        """A model that is given what a stage was given that failed."""
        model = self._service.models[name]
        place = next(
            i
            for i, stage in enumerate(self._service.pipeline)
            if stage.failures and name in [one.model for one in stage.failures.fallback]
        )
        failing = self.stages[place]
        assert isinstance(failing, PreparedModel)  # failures belong to models
        engines = [load_engine(model, self._root, failing.signature if model.python else None)]
        try:
            signature = declared_batch_axis(engines[0], model, name)
            check_signature(name, model, signature)
            profile = self._stand_in_profile(name, model, engines[0], signature)
            resolution = resolve_model(model, profile, self._num_cores)
            if model.remote is None:
                engines += [
                    load_engine(model, self._root, signature if model.python else None)
                    for _ in range(resolution.instances - 1)
                ]
        except BaseException:
            for one in engines:
                one.close()
            raise
        self.stand_ins[name] = PreparedModel(name, model, signature, engines, profile, resolution)

    def _stand_in_profile(self, name: str, model: Model, engine: Engine, signature: Signature) -> Profile:
        """On random inputs; of code, which may take no random text, nothing is known before the first requests."""
        if model.file is None:
            return Profile({}, Batching(True, 0.0), "nothing (it answers only instead of others)")
        path = profiles.cache_path(self._configuration.model_digest(name), {"stand_in": True})
        profile = profiles.read(path, Profile)
        if profile is None:
            inputs = random_profile(signature, model)
            self._say(f"profiling {model.source} on {inputs.told}")
            profile = profile_model(engine, signature, model, inputs, self._now_ns)
            profiles.write(path, profile)
        return profile

    def _add_rungs(self, index: int, declared: PreparedModel, takes: Mapping[str, str]) -> frozenset[str]:
        """Who stands in for the last model; the names that they take beside it."""
        degrade = self._service.degrade
        if degrade is None or index != self._service.last_model:
            return frozenset()
        if declared.streams:
            raise FieldError(("degrade",), f"{declared.name!r} answers in chunks: nobody can stand in for it")
        for place, name in enumerate(degrade.names):
            self._add_rung(index, place, name, declared, takes)
        say_if_slower([declared, *self.rungs], self._say)
        return frozenset(
            source.name for sources in self.rung_sources for source in sources if source.place is None
        )

    def _add_rung(
        self, index: int, place: int, name: str, declared: PreparedModel, takes: Mapping[str, str]
    ) -> None:
        assert self._service.degrade is not None  # who calls has seen it
        path: FieldPath = ("degrade", "to", place)
        model, rung = self._service.models[name], self._service.degrade.to[place]
        promised = declared.signature
        engines = [load_engine(model, self._root, promised if model.python else None)]
        try:
            if answers_in_chunks(engines[0]):
                raise FieldError(path, f"{name!r} answers in chunks: it can stand in for nobody")
            signature = declared_batch_axis(engines[0], model, name)
            check_signature(name, model, signature)
            check_rung(path, name, signature, declared.name, promised)
            own = rung_takes(rung.inputs, path, name, signature)
            given = self._given if self._all_known else None
            sources = sources_of(path, name, signature, own, promised, takes, given)
            profile = self._profiled(index, name, model, engines[0], signature, own)
            resolution = resolve_model(model, profile, self._num_cores)
            while len(engines) < resolution.instances:
                engines.append(load_engine(model, self._root, promised if model.python else None))
        except BaseException:
            for one in engines:
                one.close()
            raise
        self.rungs.append(PreparedModel(name, model, signature, engines, profile, resolution))
        self.rung_sources.append(sources)

    def _profiled(
        self,
        index: int,
        name: str,
        model: Model,
        engine: Engine,
        signature: Signature,
        takes: Mapping[str, str],
    ) -> Profile:
        """The kept profile of a model at a stage, or a new one."""
        if model.remote is not None:
            return Profile({}, Batching(True, 0.0), "nothing (it runs on another server)")
        rung = None if name == self._service.pipeline[index].target else name
        path = profile_path(self._configuration, index, self._samples.digest, rung)
        profile = profiles.read(path, Profile)
        if profile is None:
            is_step = self._service.pipeline[index].model is None
            if is_step and not self._samples.digest:
                # Random text is no request: what the step takes is learned from the first ones.
                return Profile({}, Batching(True, 0.0), f"nothing ({self._samples.why_not})")
            inputs = self._inputs(index, model, engine, signature, takes)
            self._say(
                f"profiling {model.source} on {inputs.told} (at most {profiles.BUDGET_NS // 10**9} s, once for this "
                "machine)"
            )
            try:
                profile = profile_model(engine, signature, model, inputs, self._now_ns)
            except RequestError as error:
                raise SpecError(f"{name!r} fails on a profile's input: {error}") from None
            profiles.write(path, profile)
        if not profile.batching.same:
            consequence = "; batching is off" if model.batching == "auto" else ""
            reason = profile.batching.reason
            self._say(f"model {name!r}: batched answers differ from single ones: {reason}{consequence}")
        return profile

    def _inputs(
        self, index: int, model: Model, engine: Engine, signature: Signature, takes: Mapping[str, str]
    ) -> ProfileInputs:
        if not self._samples.digest:
            if self._service.data is not None:
                self._say(f"{self._samples.why_not}: profiling on random inputs")
            sample = openai_sample(self._service, index, signature)
            return (
                random_profile(signature, model)
                if sample is None
                else sample_profile(signature, model, sample)
            )
        rows = single_rows(self._samples.inputs(takes), model.source, signature)
        if model.python:  # such code may call a request bad, and real data has bad ones
            rows = accepted_rows(rows, engine, model.source, self._now_ns)
        return data_profile(signature, model, rows)

    # --- both ---------------------------------------------------------------------------------------------------

    def _begin(self, index: int, signature: Signature) -> None:
        """The first stage says what requests bring."""
        if index == 0:
            if not signature.inputs:
                raise FieldError(
                    ("pipeline", 0), "a service that begins with Python code declares `inputs:` at the top"
                )
            self._samples.begin(signature)
            self.brought = {spec.name: spec for spec in signature.inputs}
            self._given = {spec.name: spec for spec in signature.inputs}

    def _end(
        self,
        stage: PreparedModel | StepStage,
        takes: Mapping[str, str] | None,
        outputs: tuple[TensorSpec, ...] | None,
        run: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
        gives: Sequence[str] | None = None,
        others: frozenset[str] = frozenset(),
    ) -> None:
        """Args: gives: names of its outputs, where only these are known."""
        gives = gives if outputs is None else [spec.name for spec in outputs]
        self.stages.append(stage)
        self.takings.append(Taking(stage.name, takes, gives, others))
        self._samples.add_stage(stage.name, takes, run)
        self._given |= {spec.name: spec for spec in outputs or ()}
        self._last = outputs
        self._all_known = self._all_known and outputs is not None
