"""The end of a study: its front, how much of the balance it covers, which lever matters, and what is recommended."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.catalog.study import LeverEffect, Study, Trial
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.tune.beliefs import LIMIT
from trivet.tune.choice import Choice
from trivet.tune.goals import objective_figure
from trivet.tune.recommending.effects import effects
from trivet.tune.recommending.front import front
from trivet.tune.recommending.hypervolume import hypervolume
from trivet.tune.recommending.recommend import NothingToRecommendError, recommend
from trivet.tune.recommending.sensitivity import OtherSlo, under_other_budgets
from trivet.tune.screen import largest_rate
from trivet.tune.simulated_load import SimulatedLoad
from trivet.tune.state import State

REPLICATIONS, NUM_REQUESTS, PRECISION = 3, 600, 0.02  # of the simulations that effects are taken from
YamlOf = Callable[[Study, Trial], str]


def no_yaml(study: Study, trial: Trial) -> str:
    return ""


def concluded(state: State, record: Study, yaml_of: YamlOf) -> Study:
    """The record with its front, effects and recommendation, as far as there is anything to conclude from."""
    default = record.trials[0]
    record = msgspec.structs.replace(
        record,
        front=front(record.trials, record.goal),
        hypervolume=hypervolume(record.trials, record.goal, default),
    )
    try:
        chosen = recommend(
            record, yaml_of=lambda trial: yaml_of(record, trial), other_slo=_other_slo(state, record)
        )
    except NothingToRecommendError as error:
        return msgspec.structs.replace(record, notes=[*record.notes, str(error)])
    around = next(trial for trial in record.trials if trial.id == chosen.trial)
    return msgspec.structs.replace(record, recommendation=chosen, effects=_effects(state, record, around))


def _other_slo(state: State, record: Study) -> OtherSlo:
    """What was measured under other latency budgets, as far as there is time to simulate it."""
    profile = state.profile
    if profile is None:
        return {}
    load = SimulatedLoad(profile, NUM_REQUESTS, state.seed, state.space.zipf)

    def predicted_rps(trial: Trial, budget_ns: int) -> float:
        setup, measured = state.bench.setup(Choice(trial.levers)), trial.measured[LIMIT].estimate
        if profile.covers(setup) or not state.budget.left_ns:
            return 0.0
        return largest_rate(profile, setup, load, budget_ns, PRECISION, guess=measured)[0]

    return under_other_budgets(record, predicted_rps)


def _effects(state: State, record: Study, around: Trial) -> list[LeverEffect]:
    """By the figure of the objective; what was not measured is simulated, where there is time for it."""
    replicate = None
    if state.profile is not None and state.screening is not None and state.goal.objective == "rate":
        replicate = Replicated(state, state.profile)
    figure = objective_figure(state.goal)[0]
    return effects(record.trials, around, record.levers, replicate, figure=figure)


class Replicated:
    """Largest rates of choices on loads that all of them share, one for each replication; nan: not profiled, or no time."""

    def __init__(self, state: State, profile: ServiceProfile) -> None:
        self._state, self._profile = state, profile
        seeds = np.random.SeedSequence(state.seed).generate_state(REPLICATIONS)
        self._loads = [SimulatedLoad(profile, NUM_REQUESTS, int(seed), state.space.zipf) for seed in seeds]
        self._known: dict[Setup, list[float]] = {}
        self._end_ns = state.bench.now_ns() + state.budget.finish_ns
        screening = state.screening
        found = () if screening is None else screening.found
        self._guesses = {one.setup: one.figures.get("max_rate_rps") for one in found}

    def __call__(self, choices: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        return np.array([self._rates(Choice(choice)) for choice in choices])

    def _rates(self, choice: Choice) -> list[float]:
        space = self._state.space
        nothing = [math.nan] * len(self._loads)
        if any(lever.live_only and choice[lever.name] != lever.default for lever in space.levers):
            return nothing
        setup = self._state.bench.setup(choice)
        if setup not in self._known:
            is_late = self._state.bench.now_ns() >= self._end_ns
            if is_late or self._profile.covers(setup) or not space.means_something(choice):
                return nothing
            self._known[setup] = [self._rate(load, setup) for load in self._loads]
        return self._known[setup]

    def _rate(self, load: SimulatedLoad, setup: Setup) -> float:
        budget_ns, guess = self._state.goal.slo_latency_ns, self._guesses.get(setup)
        rate, _ = largest_rate(self._profile, setup, load, budget_ns, PRECISION, guess=guess or None)
        return rate or math.nan
