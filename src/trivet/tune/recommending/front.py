"""The front: the trials that no other beats on all legs together, as far as the intervals can tell.

A trial is off the front only where another is better beyond the intervals on every leg. Between that and being best on
the estimates lies what may be on the front: noise could have made the difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, Trial
from trivet.tune.legs import ACCURACY, RATE, Leg, comparable, figures_of, legs_of


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a trial stands. `beaten_by`: the trial that beats it; where it may be on the front, on the estimates only."""

    status: Literal["on", "may be", "off"]
    beaten_by: int | None = None


def front(trials: Sequence[Trial], goal: Goal) -> list[int]:
    """The trials on the front, and those that may be on it; the highest rate first.

    Of measured trials; where nothing was measured, of predicted ones.
    """
    source = comparable(trials)[1]
    rates = {trial.id: figures_of(trial, source)[RATE].estimate for trial in comparable(trials)[0]}
    kept = [number for number, standing in standings(trials, goal).items() if standing.status != "off"]
    return sorted(kept, key=lambda number: (-rates[number], number))


def standings(trials: Sequence[Trial], goal: Goal) -> dict[int, Standing]:
    """Of each trial that can be compared, by its number."""
    compared, source = comparable(trials)
    legs = legs_of(goal, compared, source)
    return {trial.id: _standing(trial, compared, legs, source) for trial in compared}


def _standing(
    trial: Trial, compared: Sequence[Trial], legs: Sequence[Leg], source: Literal["measured", "predicted"]
) -> Standing:
    own = figures_of(trial, source)
    likely = None
    for other in compared:
        if other.id == trial.id:
            continue
        figures = figures_of(other, source)
        if _beats_surely(figures, own, legs):
            return Standing("off", other.id)
        if likely is None and _beats_by_estimate(figures, own, legs):
            likely = other.id
    return Standing("on") if likely is None else Standing("may be", likely)


def _beats_surely(figures: Mapping[str, Figure], own: Mapping[str, Figure], legs: Sequence[Leg]) -> bool:
    """Better beyond the intervals on each leg; on accuracy it is enough to give the same answers."""
    beyond = 0
    for leg in legs:
        if _gives_the_same_answers(leg, figures, own):
            continue
        if not leg.bounds(figures)[2] < leg.bounds(own)[1]:
            return False
        beyond += 1
    return beyond > 0


def _gives_the_same_answers(leg: Leg, figures: Mapping[str, Figure], own: Mapping[str, Figure]) -> bool:
    # Answers are judged once for all trials that give the same: equal figures, interval and all, are of the same answers.
    return leg.figure == ACCURACY and ACCURACY in own and figures.get(ACCURACY) == own[ACCURACY]


def _beats_by_estimate(figures: Mapping[str, Figure], own: Mapping[str, Figure], legs: Sequence[Leg]) -> bool:
    pairs = [(leg.bounds(figures)[0], leg.bounds(own)[0]) for leg in legs]  # nan where unknown: never better
    return all(theirs <= ours for theirs, ours in pairs) and any(theirs < ours for theirs, ours in pairs)
