"""The space of a search: the levers that mean something for this service on this machine, and all their combinations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import msgspec

from trivet.catalog.study import LeftOut
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.host import engine_cores
from trivet.load.popularity import EVEN
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.fields import FieldError, nearest
from trivet.spec.service import Model, Service, Stage
from trivet.spec.tuning import Tuning
from trivet.tune.choice import Choice, Value
from trivet.tune.degrade_lever import degrade_lever, sets_idle_models, with_budget
from trivet.tune.front_levers import front_levers, with_front_levers, zipf_of
from trivet.tune.lever import (
    DECLARED,
    DEGRADE,
    EXIT,
    FIRST_THRESHOLDS,
    OF_A_MODEL,
    ROUTE,
    Lever,
    candidates,
    declared_value,
    levers_with,
    powers_up_to,
)
from trivet.tune.lever_rules import ruled
from trivet.tune.route_lever import route_lever, with_ease
from trivet.variants.variant import ORIGINAL, Variant

__all__ = ["Choice", "Lever", "Space", "space_of"]

WithVariant = Callable[[Configuration, Variant], Configuration]
NO_VARIANTS = Tuning()


@dataclass(slots=True)
class Space:
    """Made by `space_of`. levers: those that are searched. default: every lever as declared."""

    base: Configuration
    num_cores: int
    levers: tuple[Lever, ...]
    left_out: tuple[LeftOut, ...]
    default: Choice
    variants: Mapping[str, Mapping[str, JudgedVariant]]  # by model, by name
    with_variant: WithVariant
    _bases: dict[tuple[tuple[str, str], ...], Configuration] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Combinations of what is simulated, before those that mean nothing are left out."""
        return prod(len(lever.values) for lever in self.levers if not lever.live_only)

    def choices(self) -> Iterator[Choice]:
        """Every combination of the levers that simulation knows, each once; the default is the first."""
        simulated = [lever for lever in self.levers if not lever.live_only]
        for values in product(*(lever.values for lever in simulated)):
            chosen = dict(zip([lever.name for lever in simulated], values, strict=True))
            choice = Choice({**self.default, **chosen})
            if choice == self.default or self.means_something(choice):
                yield choice

    def neighbours(self, choice: Choice) -> list[Choice]:
        """The choice with one lever changed that only a live run can tell."""
        found = [
            Choice({**choice, lever.name: value})
            for lever in self.levers
            if lever.live_only
            for value in lever.values
            if value != choice[lever.name]
        ]
        return [neighbour for neighbour in found if self.means_something(neighbour)]

    def means_something(self, choice: Choice) -> bool:
        """Whether no lever of it is without an effect beside the others, and it fits the cores."""
        workers = int(choice.get("workers", 1))
        if sets_idle_models(self.base.service, choice, self.default):
            return False
        return all(self._fits(choice, model, workers) for model in self.base.service.models)

    def _fits(self, choice: Choice, model: str, workers: int) -> bool:
        if self.base.service.models[model].remote is not None:
            return True  # none of its levers is searched, and it takes no core

        def value(lever: str) -> Value | None:
            return choice.get(self.name_of(lever, model))

        cores = engine_cores(workers, self.num_cores)
        threads, instances = value("threads"), value("instances")
        used = _count(threads) * _count(instances)
        if used > max(1, cores) and not self._is_default(choice, ("threads", "instances", "workers"), model):
            return False
        changed = {name for name in OF_A_MODEL if value(name) != self.default.get(self.name_of(name, model))}
        if value(EXIT) != self.default.get(self.name_of(EXIT, model)) and not self._has_exit(choice, model):
            return False
        if value("max_batch_size") == 1 and "deferral" in changed:
            return False
        if value("execution") == "inline" and "instances" in changed:
            return False
        if threads in (1, "auto") and "spinning" in changed:
            return False
        engine = value("engine")
        judged = self.judged(choice).get(model)
        if judged is not None and judged.variant.engine != self.base.service.models[model].engine:
            if "engine" in changed:  # a variant that was made for its engine
                return False
            engine = judged.variant.engine
        return engine != "openvino" or not changed & {"spinning", "graph_optimization"}

    def _is_default(self, choice: Choice, levers: Sequence[str], model: str) -> bool:
        names = [self.name_of(lever, model) if lever in OF_A_MODEL else lever for lever in levers]
        return all(choice.get(name) == self.default.get(name) for name in names)

    def _has_exit(self, choice: Choice, model: str) -> bool:
        """Whether rows may leave early behind the model, or inside what stands for it."""
        judged = self.judged(choice).get(model)
        if judged is not None and judged.variant.stages is not None:
            return _brings_exit(judged)
        return _declares_exit(self.base.service, model)

    def changes_exit(self, choice: Choice) -> bool:
        """Whether any exit, or the route, has another threshold than the declared one."""
        exits = (lever for lever in self.levers if lever.lever in (EXIT, ROUTE))
        return any(choice.get(lever.name) != lever.default for lever in exits)

    def changes_degrade(self, choice: Choice) -> bool:
        """Whether stand-ins may cost something else than declared."""
        return choice.get(DEGRADE) != self.default.get(DEGRADE)

    def name_of(self, lever: str, model: str) -> str:
        """`threads`, or `model.threads` where the service has several models."""
        return lever if len(self.base.service.models) == 1 else f"{model}.{lever}"

    def judged(self, choice: Choice) -> dict[str, JudgedVariant]:
        """The variant of each model that has any."""
        return {
            model: by_name[str(choice.get(self.name_of("variant", model), ORIGINAL))]
            for model, by_name in self.variants.items()
        }

    def variant_of(self, choice: Choice) -> str:
        """`int8-dynamic`, or `encoder=int8-dynamic, head=original` where several models have variants."""
        names = {model: judged.variant.name for model, judged in self.judged(choice).items()}
        if len(self.base.service.models) == 1:
            return next(iter(names.values()), ORIGINAL)
        return ", ".join(f"{model}={name}" for model, name in names.items()) or ORIGINAL

    def configuration(self, choice: Choice) -> tuple[Configuration, int]:
        """What a server would be given, and with how many workers."""
        base = self._with_variants(choice)
        models = {name: self._with_levers(name, model, choice) for name, model in base.service.models.items()}
        pipeline = tuple(self._with_threshold(stage, choice) for stage in base.service.pipeline)
        service = msgspec.structs.replace(base.service, models=models, pipeline=pipeline)
        service = with_budget(service, choice.get(DEGRADE, DECLARED))
        service = with_ease(service, choice.get(ROUTE, DECLARED))
        made = with_front_levers(with_service(base, service), choice)
        return made, int(choice.get("workers", 1))

    @property
    def popularity(self) -> str:
        """Of inputs, in words."""
        tuning = self.base.service.tune
        return EVEN if tuning is None else tuning.popularity

    @property
    def zipf(self) -> float:
        """The exponent of the popularity of inputs; 0: even."""
        return zipf_of(self.base.service)

    def _with_variants(self, choice: Choice) -> Configuration:
        """Files are read once for each combination of variants."""
        judged = self.judged(choice)
        key = tuple((model, one.variant.name) for model, one in judged.items())
        if key not in self._bases:
            found = self.base
            for one in judged.values():
                if one.variant.name != ORIGINAL:
                    found = self.with_variant(found, one.variant)
            self._bases[key] = found
        return self._bases[key]

    def _with_levers(self, name: str, model: Model, choice: Choice) -> Model:
        """A model that a variant brought (the stages of an early exit) has the levers of the one that it stands for."""
        declared, of = self.base.service.models, self.stands_for(name)
        values = {lever: choice[key] for lever in OF_A_MODEL if (key := self.name_of(lever, of)) in choice}
        engine = values.pop("engine", model.engine)
        if of in declared and model.engine != declared[of].engine:
            engine = model.engine  # a variant that was made for its engine
        return msgspec.structs.replace(model, engine=engine, levers=levers_with(model.levers, values))

    def stands_for(self, name: str) -> str:
        """The declared model that a model is, or is a part of."""
        declared = self.base.service.models
        return name if name in declared else next((one for one in declared if name.startswith(one)), name)

    def _with_threshold(self, stage: Stage, choice: Choice) -> Stage:
        if stage.exit is None or stage.exit.at_least is None or stage.model is None:
            return stage
        at_least = choice.get(self.name_of(EXIT, self.stands_for(stage.model)), DECLARED)
        if at_least == DECLARED:
            return stage
        return msgspec.structs.replace(
            stage, exit=msgspec.structs.replace(stage.exit, at_least=float(at_least))
        )


def _declares_exit(service: Service, model: str) -> bool:
    exits = (stage.exit for stage in service.pipeline if stage.model == model)
    return any(exit_ is not None and exit_.at_least is not None for exit_ in exits)


def _brings_exit(judged: JudgedVariant) -> bool:
    return any("at_least" in tree.get("exit", ()) for tree in judged.variant.stages or ())


def space_of(
    configuration: Configuration,
    variants: Sequence[JudgedVariant],
    num_cores: int,
    tuning: Tuning = NO_VARIANTS,
    *,
    with_variant: WithVariant = lambda configuration, variant: configuration,
) -> Space:
    """The space of a service on a server with so many cores, under the rules of its service.yaml.

    Args: variants: as judged; those that are not in the search are left out, with their reason.
    with_variant: replaces the model's file; `variants.apply`, with its store.
    Raises: FieldError: a rule for a lever or variant that there is not, or with values that it cannot have.
    """
    left_out: list[LeftOut] = []
    by_model = _variants_in_search(configuration, variants, tuning, left_out)
    levers, fixed = [], {}
    known = {}
    for lever in _all_levers(configuration, by_model, num_cores, left_out):
        known[lever.name] = lever
        rule = tuning.levers.get(lever.name, tuning.levers.get(lever.lever))
        held, told = ruled(lever, rule, num_cores, ("tune", "levers", lever.name))
        left_out += [told] if told is not None else []
        fixed[lever.name] = lever.default if held is None else held.default
        if held is not None and len(held.values) > 1:
            levers.append(held)
    _check_names(tuning, configuration, {*known, *(one.name for one in left_out)})
    return Space(
        base=configuration,
        num_cores=num_cores,
        levers=tuple(levers),
        left_out=tuple(left_out),
        default=Choice(fixed),
        variants=by_model,
        with_variant=with_variant,
    )


def _all_levers(
    configuration: Configuration,
    variants: Mapping[str, Mapping[str, JudgedVariant]],
    num_cores: int,
    left_out: list[LeftOut],
) -> Iterator[Lever]:
    """Each lever with the declared value first; those without another value go to `left_out`, but keep their value."""
    service = configuration.service
    several = len(service.models) > 1
    for name, model in service.models.items():
        prefix = f"{name}." if several else ""
        if name in variants:
            values = tuple(variants[name])
            if len(values) == 1:
                left_out.append(LeftOut(name=f"{prefix}variant", why="no other variant is in the search"))
            yield Lever(
                name=f"{prefix}variant",
                lever="variant",
                model=name,
                values=values,
                default=ORIGINAL,
                kind="answers",
            )
        if _declares_exit(service, name) or any(map(_brings_exit, variants.get(name, {}).values())):
            yield Lever(
                name=f"{prefix}{EXIT}",
                lever=EXIT,
                model=name,
                values=(DECLARED, *FIRST_THRESHOLDS),
                default=DECLARED,
                kind="answers",
            )
        if model.remote is not None:
            why = "the model runs on another server: how that is called stays as declared"
            left_out.append(LeftOut(name=f"{name}.*", why=why))
        for lever in OF_A_MODEL:
            found = (
                ()
                if model.remote is not None
                else candidates(lever, model, num_cores, service.slo.latency_ns)
            )
            default = declared_value(model, lever)
            if isinstance(found, str):
                left_out.append(LeftOut(name=f"{prefix}{lever}", why=found))
                found = ()
            levels: tuple[Value, ...] = tuple(dict.fromkeys((default, *found)))
            yield Lever(name=f"{prefix}{lever}", lever=lever, model=name, values=levels, default=default)
    if service.degrade is not None:
        yield degrade_lever()
    if service.route is not None:
        yield route_lever(configuration)
    yield _workers(configuration, num_cores, left_out)
    yield from front_levers(configuration, left_out)


def _workers(configuration: Configuration, num_cores: int, left_out: list[LeftOut]) -> Lever:
    hint = configuration.service.deployment
    default = 1 if hint is None else hint.workers
    if num_cores == 1:
        left_out.append(LeftOut(name="workers", why="the server has one core here"))
    values = tuple(dict.fromkeys((default, *powers_up_to(num_cores))))
    return Lever(name="workers", lever="workers", model="", values=values, default=default)


def _variants_in_search(
    configuration: Configuration, variants: Sequence[JudgedVariant], tuning: Tuning, left_out: list[LeftOut]
) -> dict[str, dict[str, JudgedVariant]]:
    """By model and name, the original first. Raises: FieldError: a name that was not built."""
    names = {judged.variant.name for judged in variants} | {ORIGINAL}
    for index, name in enumerate(tuning.variants or ()):
        if name not in names:
            raise FieldError(
                ("tune", "variants", index), f"no variant {name!r} was built{nearest(name, sorted(names))}"
            )
    found: dict[str, dict[str, JudgedVariant]] = {}
    for judged in sorted(variants, key=lambda one: one.variant.name != ORIGINAL):
        variant = judged.variant
        if variant.model not in configuration.service.models:
            continue
        wanted = tuning.variants is None or variant.name in tuning.variants or variant.name == ORIGINAL
        if wanted and (judged.in_search or variant.name == ORIGINAL):
            found.setdefault(variant.model, {})[variant.name] = judged
        else:
            why = judged.reason if wanted else "not among the variants of service.yaml"
            left_out.append(LeftOut(name=f"variant {variant.name}", why=why))
    return {model: by_name for model, by_name in found.items() if ORIGINAL in by_name}


def _check_names(tuning: Tuning, configuration: Configuration, known: set[str]) -> None:
    """Raises: FieldError: a rule for a lever that no service has, or this one has not."""
    bare = {name.rpartition(".")[2] for name in known}
    for name in tuning.levers:
        if name not in known and name not in bare:
            models = ", ".join(configuration.service.models)
            raise FieldError(
                ("tune", "levers", name),
                f"no lever {name!r} of {models}{nearest(name, sorted(known | bare))}",
            )


def _count(value: Value | None) -> int:
    """Of cores; `auto` takes what is there."""
    return value if isinstance(value, int) else 1
