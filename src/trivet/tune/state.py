"""A study while it runs, and the record that it becomes: written after every trial, read again to go on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from trivet.catalog.environment import Environment
from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, LeverRecord, Study, Trial, TrialBlock
from trivet.simulate.profile import ServiceProfile
from trivet.spec.degrade import Degrade
from trivet.tune.beliefs import LIMIT, REFERENCE_FIGURES, Beliefs, Records
from trivet.tune.bench import Bench
from trivet.tune.budget import Budget
from trivet.tune.choice import Choice
from trivet.tune.degrade_lever import Losses, paid, shares_of
from trivet.tune.goals import floor_standing, objective_figure
from trivet.tune.legs import ACCURACY, DIFFERENCE, more_accurate_is_larger
from trivet.tune.lever import DEGRADE, SEMANTIC_CACHE
from trivet.tune.screen import Screened, Screening, answers_of, most_rps
from trivet.tune.space import Space
from trivet.variants.variant import ORIGINAL

UNITS = {
    "max_rate_rps": "requests/s",
    "latency_p50_ms": "ms",
    "latency_p99_ms": "ms",
    "cpu_ms_per_request": "ms",
    "memory_mib": "MiB",
}
NUM_KEPT = 200  # configurations that were only simulated; the best of them
Z = 1.96
HITS = "hit_share"
CALLS = "calls"  # of a block: tries at servers elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a study is of, beside its space: as it goes into the record."""

    environment: Environment = field(default_factory=Environment)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class State:
    """All that a study knows. record: as it was saved last."""

    bench: Bench
    space: Space
    goal: Goal
    budget: Budget
    seed: int
    record: Study
    records: Records = field(default_factory=Records)
    ended: dict[Choice, str] = field(default_factory=dict)  # why each trial ended, in words
    losses: Losses = field(default_factory=dict)  # of who stands in under load, where they were measured
    profile: ServiceProfile | None = None
    screening: Screening | None = None
    notes: list[str] = field(default_factory=list)
    told: Callable[[str], None] = lambda text: None

    def note(self, text: str) -> None:
        """A sentence for the record, once."""
        if text not in self.notes:
            self.notes.append(text)
            self.told(text)

    def note_invalid(self) -> None:
        """How many blocks say nothing, and why: said where they are half of all or more."""
        blocks = [block for found in self.records.blocks.values() for block in found]
        reasons = [block.invalid for block in blocks if block.invalid]
        if blocks and 2 * len(reasons) >= len(blocks):
            self.note(
                f"{len(reasons)} of {len(blocks)} live blocks say nothing of the service: {reasons[-1]}"
            )

    def admissible(self, choice: Choice) -> int:
        """How surely a choice may be recommended, by its answers: as goals.floor_standing."""
        judged = self.space.judged(choice).values()
        changes = any(one.variant.name != ORIGINAL and one.variant.answers_change for one in judged)
        changes = changes or self.space.changes_exit(choice) or self.space.changes_degrade(choice)
        changes = changes or choice.get(SEMANTIC_CACHE) != self.space.default.get(SEMANTIC_CACHE)
        return floor_standing(
            self.accuracy(choice), self.goal, answers_change=changes, difference=self.difference(choice)
        )

    def accuracy(self, choice: Choice) -> Figure | None:
        """As judged, less what stand-ins cost under load."""
        found = self.bench.accuracy(choice)
        return None if found is None else self._paid(choice, found)

    def difference(self, choice: Choice) -> Figure | None:
        """To the default's accuracy when nobody stands in for it, likewise."""
        found = self.bench.difference(choice)
        if found is None and self.space.changes_degrade(choice):
            others = Choice({**choice, DEGRADE: self.space.default[DEGRADE]})
            if answers_of(others) == answers_of(self.space.default):
                found = Figure(estimate=0.0, low=0.0, high=0.0, unit=self.goal.metric or "")
        return None if found is None else self._paid(choice, found)

    def _paid(self, choice: Choice, figure: Figure) -> Figure:
        degrade = self.space.configuration(choice)[0].service.degrade
        if degrade is None:
            return figure
        is_declared = all(one.variant.name == ORIGINAL for one in self.space.judged(choice).values())
        sign = 1 if more_accurate_is_larger(self.goal) else -1
        losses = self.losses if is_declared else {}
        return paid(figure, degrade, self._shares(choice, degrade), losses, sign)

    def _shares(self, choice: Choice, degrade: Degrade) -> list[float] | None:
        """Who stood in near the largest rate: as lived, else as simulated."""
        blocks = [
            one for one in self.records.blocks.get(choice, ()) if one.kind != "reference" and not one.invalid
        ]
        lived = [shares for one in blocks if (shares := shares_of(one.values, degrade)) is not None]
        if lived:
            return [sum(found) / len(lived) for found in zip(*lived, strict=True)]
        found = () if self.screening is None else self.screening.found
        like = next((one for one in found if one.choice == choice), None) or self._runs_the_same(choice)
        return None if like is None else shares_of(like.figures, degrade)

    def beliefs(self) -> Beliefs:
        """From all records so far; what differs only in levers that simulation does not know has one forecast."""
        found = () if self.screening is None else self.screening.found
        beliefs = Beliefs(found, self.records, self.goal)
        by_simulated = {self._simulated_part(one.choice): one for one in found}
        unknown = [choice for choice in self.records.blocks if beliefs.screened(choice) is None]
        for choice in unknown:
            like = by_simulated.get(self._simulated_part(choice)) or self._runs_the_same(choice)
            if like is not None:
                beliefs.know(choice, like)
        return Beliefs([*found, *filter(None, map(beliefs.screened, unknown))], self.records, self.goal)

    @property
    def calls_left(self) -> float:
        """That live blocks may still make of servers elsewhere; infinite: nobody counts them."""
        tuning = self.space.base.service.tune
        if tuning is None or tuning.calls is None:
            return math.inf
        blocks = (block for found in self.records.blocks.values() for block in found)
        return tuning.calls - sum(block.values.get(CALLS, 0.0) for block in blocks)

    def most_rps(self, choice: Choice) -> float:
        """What a choice may be offered, so that no server elsewhere is asked too much; infinite: anything."""
        return math.inf if self.profile is None else most_rps(self.profile, self.bench.setup(choice))

    def _simulated_part(self, choice: Choice) -> Choice:
        live = {lever.name: lever.default for lever in self.space.levers if lever.live_only}
        return Choice({**choice, **live})

    def _runs_the_same(self, choice: Choice) -> Screened | None:
        """The default, where it runs the same as another choice that was screened in its place."""
        if self.screening is None:  # nor is there a profile yet, where a study goes on
            return None
        setup = self.bench.setup(choice)
        return next((one for one in self.screening.found if one.setup == setup), None)


def best_so_far(state: State) -> str:
    """The best that was measured, by the objective, in a few words; empty: nothing was."""
    figure, sign = objective_figure(state.goal)
    beliefs = state.beliefs()
    known = [
        (state.admissible(choice), sign * estimate.mean, estimate)
        for choice in state.records.measured()
        if (estimate := beliefs.measured(choice, figure)) is not None
    ]
    if not known:
        return ""
    best = max(known, key=lambda one: one[:2])[2]
    return f"{math.exp(best.mean):,.4g} {UNITS.get(figure, state.goal.currency)}"


def opened(space: Space, goal: Goal, budget_ns: int, seed: int, origin: Origin) -> Study:
    """The record of a study before anything was measured."""
    service = space.base.service
    judged = [
        msgspec.to_builtins(one, str_keys=True) for found in space.variants.values() for one in found.values()
    ]
    return Study(
        service=service.name,
        seed=seed,
        budget_ns=budget_ns,
        goal=goal,
        environment=origin.environment,
        dataset=dict(origin.dataset),
        base=msgspec.to_builtins(service),
        base_hash=space.base.hash,
        levers=[
            LeverRecord(
                name=one.name, values=list(one.values), default=one.default, kind=one.kind, why=one.why
            )
            for one in space.levers
        ],
        left_out=list(space.left_out),
        variants=judged,
        notes=list(origin.notes),
        command=list(origin.command),
    )


def recorded(state: State) -> Study:
    """The state as a record: the default first, then what was measured or failed, in that order, then the best forecasts."""
    beliefs = state.beliefs()
    forecasts = [] if state.screening is None else [one.choice for one in state.screening.found[:NUM_KEPT]]
    order = dict.fromkeys([state.space.default, *state.records.order, *forecasts])
    trials = [trial_of(state, beliefs, choice, number) for number, choice in enumerate(order)]
    profile = {} if state.profile is None else msgspec.to_builtins(state.profile, str_keys=True)
    screening = state.screening
    return msgspec.structs.replace(
        state.record,
        budget_ns=state.budget.total_ns,
        spent_ns=dict(state.budget.spent_ns),
        reference_rate_rps=0.0 if screening is None else screening.reference_rps,
        num_screened=0 if screening is None else screening.num,
        trials=trials,
        profile=profile,
        notes=list(state.notes),
    )


def trial_of(state: State, beliefs: Beliefs, choice: Choice, number: int) -> Trial:
    configuration, workers = state.space.configuration(choice)
    blocks = state.records.blocks.get(choice, [])
    failure = state.records.failed.get(choice, "")
    is_measured = choice in state.records.measured()
    stage = "failed" if failure else "default" if number == 0 else "verified" if is_measured else "screened"
    return Trial(
        id=number,
        levers=dict(choice),
        variant=state.space.variant_of(choice),
        configuration_hash=configuration.hash,
        workers=workers,
        stage=stage,  # type: ignore[arg-type]  # one of the words above
        predicted=predicted_figures(state, beliefs, choice),
        measured=measured_figures(state, beliefs, choice),
        runs=[block.run for block in blocks if block.run],
        reason=failure or state.ended.get(choice, ""),
        blocks=list(blocks),
    )


def measured_figures(state: State, beliefs: Beliefs, choice: Choice) -> dict[str, Figure]:
    """With 95 % intervals; accuracy as it was judged, for what ran at least once."""
    found = {}
    for name in (LIMIT, *REFERENCE_FIGURES):
        estimate = beliefs.measured(choice, name)
        if estimate is not None:
            interval = estimate.interval()
            found[name] = Figure(
                estimate=interval.estimate,
                low=interval.low,
                high=interval.high,
                unit=UNITS.get(name, state.goal.currency),
            )
    if found:
        found |= _judged_figures(state, choice) | _hits_of(state.records.blocks.get(choice, ()))
    return found | _promise_kept(state.records.blocks.get(choice, ()))


def _hits_of(blocks: Sequence[TrialBlock]) -> dict[str, Figure]:
    """The share of requests that were answered before the pipeline; nothing where no cache was asked."""
    shares = [block.values[HITS] for block in blocks if not block.invalid and HITS in block.values]
    if not shares:
        return {}
    told = f"of {len(shares)} blocks that began with empty caches; a hit costs no engine"
    return {HITS: Figure(estimate=sum(shares) / len(shares), unit="share", verdict=told)}


def _promise_kept(blocks: Sequence[TrialBlock]) -> dict[str, Figure]:
    """The share within the SLO at the rate that would be promised, where that was offered."""
    shares = [
        block.values["slo_attainment"]
        for block in blocks
        if block.kind == "promise" and not block.invalid and "slo_attainment" in block.values
    ]
    if not shares:
        return {}
    mean = sum(shares) / len(shares)
    note = f"at the promised rate, lowest of {len(shares)} blocks: {min(shares):.2%}"
    return {"slo_attainment": Figure(estimate=mean, unit="share", verdict=note)}


def predicted_figures(state: State, beliefs: Beliefs, choice: Choice) -> dict[str, Figure]:
    found = {}
    for name in (LIMIT, *REFERENCE_FIGURES):
        predicted = beliefs.predicted(choice, name)
        if predicted is not None:
            mean, spread = predicted
            found[name] = Figure(
                estimate=math.exp(mean),
                low=math.exp(mean - Z * spread),
                high=math.exp(mean + Z * spread),
                unit=UNITS.get(name, state.goal.currency),
            )
    if not found:
        return found
    screened = beliefs.screened(choice)
    if screened is not None and HITS in screened.figures:
        told = "from empty caches on; a hit costs no engine"
        found[HITS] = Figure(estimate=screened.figures[HITS], unit="share", verdict=told)
    return found | _judged_figures(state, choice)


def _judged_figures(state: State, choice: Choice) -> dict[str, Figure]:
    found = {ACCURACY: state.accuracy(choice), DIFFERENCE: state.difference(choice)}
    return {name: figure for name, figure in found.items() if figure is not None}


def restored(study: Study, records: Records, ended: dict[Choice, str]) -> ServiceProfile | None:
    """What an earlier part of the study measured, put into `records`; its profile, if it had one."""
    for trial in study.trials:
        choice = Choice(trial.levers)
        for block in trial.blocks:
            records.add(choice, block)
        if trial.stage == "failed":
            records.fail(choice, trial.reason)
        elif trial.reason:
            ended[choice] = trial.reason
    if not study.profile:
        return None
    return msgspec.convert(study.profile, ServiceProfile, strict=False, str_keys=True)
