"""The trials that may be recommended, each with what it can be held to, the best first."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, Study, Trial
from trivet.tune.legs import RATE, Source, comparable, figures_of, ratio_of
from trivet.tune.recommending.promises import (
    ACCURACY_DROP,
    ACCURACY_FLOOR,
    Check,
    checks,
    objective_figure,
    worth,
)
from trivet.tune.recommending.wording import answers_change

# What a choice has to gain, by its estimate, where the intervals alone do not tell it from one that changes less.
WORTH_OTHER_ANSWERS, WORTH_A_CHANGE = 1.03, 1.01


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial with its checks against one goal; `worth`: of the goal's objective, the more the better."""

    trial: Trial
    figures: Mapping[str, Figure]
    checks: Sequence[Check]
    worth: float
    answers_change: bool

    @property
    def meets(self) -> bool:
        return all(check.is_met for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.is_met]

    @property
    def distance(self) -> tuple[int, float]:
        """Constraints that are not met, and the furthest of them."""
        return len(self.failed), max((check.shortfall for check in self.failed), default=0.0)


def default_of(study: Study) -> Trial | None:
    """The trial of the configuration as declared: what everything is compared with."""
    return next((trial for trial in study.trials if trial.stage == "default"), None) or next(
        (trial for trial in study.trials if trial.id == 0), None
    )


def failed_accuracy(study: Study, trial: Trial) -> Check | None:
    """What keeps out a trial that was only simulated, by its answers; None: nothing does."""
    found = _candidate(trial, study, study.goal, "predicted", False, None).failed
    return next((check for check in found if check.name in (ACCURACY_FLOOR, ACCURACY_DROP)), None)


def candidates(
    study: Study,
    goal: Goal,
    *,
    trust_estimates: bool = False,
    figures: Mapping[int, Mapping[str, Figure]] | None = None,
) -> list[Candidate]:
    """Those that meet the goal first, by their worth; then the others, the closest first. Ties go to the earlier trial.

    Before the best of them comes what changes less and is hardly worse: the same answers, the default.

    Args: figures: by trial, in place of its own: what they would be under other circumstances.
    """
    compared, source = comparable(study.trials)
    made = [_candidate(trial, study, goal, source, trust_estimates, figures) for trial in compared]
    ranked = sorted(made, key=_order)
    default = default_of(study)
    ranked = _first(ranked, goal, WORTH_OTHER_ANSWERS, lambda one: not one.answers_change)
    return _first(
        ranked, goal, WORTH_A_CHANGE, lambda one: default is not None and one.trial.id == default.id
    )


def _first(
    ranked: Sequence[Candidate], goal: Goal, least: float, is_simpler: Callable[[Candidate], bool]
) -> list[Candidate]:
    """The best of the simpler ones before all, unless the best of all gains so much, or is known to be better."""
    best = ranked[0] if ranked else None
    simpler = next((one for one in ranked if one.meets and is_simpler(one)), None)
    if best is None or simpler is None or best is simpler:
        return list(ranked)
    name = objective_figure(best.figures, goal)
    ours, theirs = best.figures, simpler.figures
    gain = ratio_of(ours, theirs, name) if name == RATE else ratio_of(theirs, ours, name)
    if gain is None or gain.estimate >= least or (gain.low is not None and gain.low > 1):
        return list(ranked)
    return [simpler, *(one for one in ranked if one is not simpler)]


def _candidate(
    trial: Trial,
    study: Study,
    goal: Goal,
    source: Source,
    trust_estimates: bool,
    figures: Mapping[int, Mapping[str, Figure]] | None,
) -> Candidate:
    own = figures_of(trial, source)
    if figures is not None:
        own = {**own, **figures.get(trial.id, {})}
    default = default_of(study) or trial
    changes = answers_change(trial, default, study)
    rows = study.dataset.get("rows")
    found = checks(
        own,
        goal,
        answers_change=changes,
        blocks=trial.blocks if goal == study.goal else (),
        num_rows=rows if isinstance(rows, int) else None,
        trust_estimates=trust_estimates,
    )
    return Candidate(trial, own, found, worth(own, goal), changes)


def _order(candidate: Candidate) -> tuple[float, ...]:
    worth_first = -candidate.worth if math.isfinite(candidate.worth) else math.inf
    return (*map(float, candidate.distance), worth_first, float(candidate.trial.id))
