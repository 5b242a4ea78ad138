"""Other ways to search the same truth: Optuna's TPE and NSGA-II, and random choice.

They are given more than a tuner gets: each of their trials tells the largest rate within 2 % and p99 exactly, at once. Like
the tuner they know an accuracy's interval, and that nothing under the floor counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal
from trivet.tune.accuracy_floor import clears
from trivet.tune.choice import Choice
from trivet.tune.space import Space

NOISE = 0.02  # of the log rate that a trial tells


@dataclass(slots=True)
class Truth:
    """figures: largest rate, p99 at the reference rate in ms, accuracy. accuracies: as judged, with their intervals."""

    space: Space
    figures: Mapping[Choice, tuple[float, float, float]]
    accuracies: Mapping[Choice, Figure]
    default: Choice
    _simulated: dict[Choice, Choice] = field(default_factory=dict)

    def worth(self, choice: Choice, goal: Goal) -> float:
        """The largest rate; 0 where the accuracy's interval does not clear the floor: nobody may recommend it."""
        known = self.like(choice)
        return self.figures[known][0] if self.is_allowed(known, goal) else 0.0

    def is_allowed(self, choice: Choice, goal: Goal) -> bool:
        accuracy = self.accuracies.get(choice)
        return goal.accuracy_floor is None or (
            accuracy is not None and clears(accuracy, goal.accuracy_floor) is True
        )

    def like(self, choice: Choice) -> Choice:
        """The choice itself, or the one whose truth is known that has the most levers in common with it."""
        if choice in self.figures:
            return choice
        if choice not in self._simulated:
            self._simulated[choice] = max(
                self.figures, key=lambda one: (sum(one[name] == choice.get(name) for name in one), one.key)
            )
        return self._simulated[choice]


@dataclass(frozen=True, slots=True)
class Found:
    """chosen: None: nothing met the goal.  tried: what was measured."""

    chosen: Choice | None
    tried: Sequence[Choice]


def at_random(truth: Truth, goal: Goal, num: int, seed: int) -> Found:
    rng = np.random.default_rng((seed, 11))
    choices = list(truth.figures)
    places = rng.permutation(len(choices))[: num - 1]
    return _best(truth, goal, [truth.default, *(choices[place] for place in places)], rng)


def by_tpe(truth: Truth, goal: Goal, num: int, seed: int) -> Found:
    import optuna

    return _by_optuna(truth, goal, num, seed, optuna.samplers.TPESampler(seed=seed, multivariate=True))


def by_nsga2(truth: Truth, goal: Goal, num: int, seed: int) -> Found:
    import optuna

    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=min(num, 12))
    return _by_optuna(truth, goal, num, seed, sampler)


SEARCHES: Mapping[str, Callable[[Truth, Goal, int, int], Found]] = {
    "TPE": by_tpe,
    "NSGA-II": by_nsga2,
    "random": at_random,
}


def _by_optuna(truth: Truth, goal: Goal, num: int, seed: int, sampler: object) -> Found:
    """Maximises the rate, and for the front p99 and accuracy beside it; the default is the first trial."""
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng((seed, 12))
    levers = truth.space.levers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # multivariate is marked experimental
        study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize", "maximize"])  # type: ignore[arg-type]
        study.enqueue_trial({lever.name: lever.values.index(truth.default[lever.name]) for lever in levers})
        tried: list[Choice] = []

        def objective(trial: optuna.Trial) -> tuple[float, float, float]:
            places = {
                lever.name: trial.suggest_categorical(lever.name, list(range(len(lever.values))))
                for lever in levers
            }
            choice = Choice(
                {**truth.default, **{lever.name: lever.values[places[lever.name]] for lever in levers}}
            )
            known = truth.like(choice)
            tried.append(known)
            rate, p99, accuracy = truth.figures[known]
            told = _told(truth, goal, known, rng)
            return math.log(max(told, 1e-3)) if rate else -9.0, math.log(min(p99, 1e6)), accuracy

        study.optimize(objective, n_trials=num)
    return _best(truth, goal, tried, rng)


def _told(truth: Truth, goal: Goal, choice: Choice, rng: np.random.Generator) -> float:
    return truth.worth(choice, goal) * float(np.exp(rng.normal(0, NOISE)))


def _best(truth: Truth, goal: Goal, tried: Sequence[Choice], rng: np.random.Generator) -> Found:
    """What a person would take from such a list: the highest rate that was told."""
    told = {choice: _told(truth, goal, choice, rng) for choice in dict.fromkeys(tried)}
    best = max(told, key=lambda choice: told[choice])
    return Found(best if told[best] > 0 else None, list(told))
