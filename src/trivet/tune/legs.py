"""The legs that a trial stands on (latency, rate, accuracy, and cost where it is the goal), each with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, Trial
from trivet.spec.service import SMALLER_IS_BETTER
from trivet.tune.prices import PRICE

LATENCY, RATE, ACCURACY, COST = "latency_p99_ms", "max_rate_rps", "accuracy", "cpu_ms_per_request"
DIFFERENCE = "accuracy_difference"  # to the default's, on the same rows: no leg of its own
Source = Literal["measured", "predicted"]


@dataclass(frozen=True, slots=True)
class Leg:
    """One figure of a trial, and which way is better."""

    figure: str
    larger_is_better: bool

    def bounds(self, figures: Mapping[str, Figure]) -> tuple[float, float, float]:
        """Estimate, best and worst of what the interval allows, turned so that less is better; unknown: infinite."""
        figure = figures.get(self.figure)
        if figure is None:
            return math.nan, -math.inf, math.inf
        low = -math.inf if figure.low is None else figure.low
        high = math.inf if figure.high is None else figure.high
        return (-figure.estimate, -high, -low) if self.larger_is_better else (figure.estimate, low, high)


def more_accurate_is_larger(goal: Goal) -> bool:
    """Whether more of the goal's metric is better: of errors (mae, rmse) less is."""
    return goal.metric not in SMALLER_IS_BETTER


def cost_figure(goal: Goal) -> str:
    """Processor time; where calls to other servers are paid, the price of both together."""
    return PRICE if goal.currency else COST


def legs_of(goal: Goal, trials: Sequence[Trial], source: Source) -> list[Leg]:
    """Latency and rate always; accuracy where any of the trials has it; cost where the goal is cost, or calls are paid."""
    legs = [Leg(LATENCY, False), Leg(RATE, True)]
    if any(ACCURACY in figures_of(trial, source) for trial in trials):
        legs.append(Leg(ACCURACY, more_accurate_is_larger(goal)))
    if goal.objective == "cost" or goal.currency:
        legs.append(Leg(cost_figure(goal), False))
    return legs


def figures_of(trial: Trial, source: Source) -> Mapping[str, Figure]:
    return trial.measured if source == "measured" else trial.predicted


def comparable(trials: Sequence[Trial]) -> tuple[list[Trial], Source]:
    """The trials that can be compared with one another: those measured, or where none was, those predicted.

    A prediction is never set against a measurement: they err in different ways.
    """
    for source in ("measured", "predicted"):
        found = [trial for trial in trials if trial.stage != "failed" and RATE in figures_of(trial, source)]
        if found:
            return found, source
    return [], "measured"


def ratio_of(above: Mapping[str, Figure], below: Mapping[str, Figure], name: str) -> Figure | None:
    """How many times one figure is another, of intervals taken as independent; None where one is missing or not positive."""
    a, b = above.get(name), below.get(name)
    if a is None or b is None or a.estimate <= 0 or b.estimate <= 0:
        return None
    ratio = a.estimate / b.estimate
    down, up = _apart(a.low, a, b.high, b), _apart(a.high, a, b.low, b)
    return Figure(
        estimate=ratio,
        low=None if down is None else ratio * math.exp(-down),
        high=None if up is None else ratio * math.exp(up),
        unit="times",
    )


def _apart(bound: float | None, figure: Figure, other_bound: float | None, other: Figure) -> float | None:
    """How far the log ratio reaches on one side: both reaches in quadrature."""
    if bound is None or other_bound is None or bound <= 0 or other_bound <= 0:
        return None
    return math.hypot(math.log(bound / figure.estimate), math.log(other_bound / other.estimate))
