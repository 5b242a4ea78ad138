"""What a study looks for: the goal of a service, whether it can be met at all, and how a configuration is valued by it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, Objective
from trivet.errors import UserError
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.spec.service import Service
from trivet.spec.units import format_duration
from trivet.tune.accuracy_floor import clears, lowest_difference, rows_in_words
from trivet.tune.legs import more_accurate_is_larger
from trivet.tune.prices import PRICE, currency, paid
from trivet.tune.space import Space

# Of each objective: the figure, and 1 where more is better.
OBJECTIVES: Mapping[Objective, tuple[str, int]] = {
    "rate": ("max_rate_rps", 1),
    "latency": ("latency_p99_ms", -1),
    "cost": ("cpu_ms_per_request", -1),
}
_NICE = (1, 2, 5)
_MS = 1_000_000


def objective_figure(goal: Goal) -> tuple[str, int]:
    """The figure of the goal's objective, and 1 where more of it is better."""
    return (PRICE, -1) if goal.objective == "cost" and goal.currency else OBJECTIVES[goal.objective]


def goal_of(service: Service, objective: Objective | None, slo_latency_ns: int) -> Goal:
    """Args: objective: None: as service.yaml says.  slo_latency_ns: the service's, or a proposed one."""
    tuning = service.tune
    return Goal(
        objective=objective or (tuning.objective if tuning is not None else "rate"),
        slo_latency_ns=slo_latency_ns,
        slo_percentile=service.slo.percentile,
        accuracy_floor=service.slo.accuracy,
        accuracy_drop=service.slo.most_drop,
        metric=service.metric,
        throughput_rps=service.slo.throughput,
        safety_margin=tuning.safety_margin if tuning is not None else 0.1,
        currency=currency(service),
    )


def proposed_slo_ns(latency_ns: float) -> int:
    """A budget for a service that declares none: twice a latency, up to the next of 1, 2, 5, 10 ... ms."""
    least_ms = max(1.0, 2 * latency_ns / _MS)
    decade = 10 ** math.floor(math.log10(least_ms))
    return int(next(step * decade for step in (*_NICE, 10) if step * decade >= least_ms - 1e-9)) * _MS


def value(figures: Mapping[str, float], goal: Goal) -> float:
    """The figure of the objective on a log scale, where more is better; -inf where it has none."""
    name, sign = objective_figure(goal)
    figure = figures.get(name, 0.0)
    return sign * math.log(figure) if figure > 0 else -math.inf


def floor_standing(
    accuracy: Figure | None, goal: Goal, *, answers_change: bool, difference: Figure | None = None
) -> int:
    """2: the accuracy may be recommended; 1: nothing tells yet; 0: it may not.

    Without a floor nothing says how far answers may change: only those of the original may be recommended then.
    Args: difference: to the default's, on the same rows.
    """
    if goal.accuracy_floor is None and goal.accuracy_drop is None:
        return 0 if answers_change else 2
    larger = more_accurate_is_larger(goal)
    standings = [2]
    if goal.accuracy_floor is not None:
        standings.append(_standing(accuracy, goal.accuracy_floor, larger))
    if goal.accuracy_drop is not None and answers_change:
        standings.append(_standing(difference, lowest_difference(goal.accuracy_drop, larger), larger))
    return min(standings)


def _standing(figure: Figure | None, floor: float, larger_is_better: bool) -> int:
    verdict = None if figure is None else clears(figure, floor, larger_is_better=larger_is_better)
    return 1 if verdict is None else 2 if verdict else 0


def check_goal(goal: Goal, space: Space, num_rows: int | None = None) -> list[str]:
    """Before anything long runs: can the goal be met at all? Sentences about what cannot be told.

    Args: num_rows: labelled rows that accuracies are of.
    Raises: UserError: it cannot, whatever is tried; names the constraint to change.
    """
    _check_calls(space.base.service)
    judged = [one for by_name in space.variants.values() for one in by_name.values()]
    _check_latency(goal, judged)
    _check_throughput(goal, judged, space.num_cores)
    return _check_floor(goal, judged, num_rows)


def _check_floor(goal: Goal, judged: Sequence[JudgedVariant], num_rows: int | None) -> list[str]:
    if goal.accuracy_floor is None:
        return []
    known = [one.accuracy for one in judged if one.accuracy is not None]
    floor = f"{goal.accuracy_floor:g}"
    if not known:
        return [f"cannot tell whether the floor of {floor} is kept: nothing was judged on labelled data"]
    larger = more_accurate_is_larger(goal)
    best = max(known, key=lambda one: one.estimate if larger else -one.estimate)
    standings = [clears(figure, goal.accuracy_floor, larger_is_better=larger) for figure in known]
    if all(standing is False for standing in standings):
        raise UserError(
            f"slo.accuracy is {floor}, and the best of the model and its variants has {best}: no configuration can "
            "keep it; set a floor within reach, or bring a better model"
        )
    if any(standings):
        return []
    is_share = goal.metric in (None, "accuracy")
    rows = rows_in_words(
        best, goal.accuracy_floor, num_rows=num_rows, is_share=is_share, larger_is_better=larger
    )
    return [
        f"cannot tell for certain whether the floor of {floor} is kept: the best accuracy is {best}; {rows}"
    ]


def _check_calls(service: Service) -> None:
    if paid(service) is not None and (service.tune is None or service.tune.calls is None):
        raise UserError(
            "calls of servers elsewhere have a price, and live blocks make thousands: say how many they may make, as "
            "`tune: {calls: 20000}`"
        )


def fastest_ns(judged: Sequence[JudgedVariant]) -> float | None:
    """Median service time of one row on the fastest variant, at its shortest length; None: nothing was timed."""
    medians = [
        float(np.median(by_rows[1])) for one in judged for by_rows in one.times_ns.values() if by_rows.get(1)
    ]
    return min(medians, default=None)


def _check_latency(goal: Goal, judged: Sequence[JudgedVariant]) -> None:
    fastest = fastest_ns(judged)
    if fastest is not None and fastest > goal.slo_latency_ns:
        raise UserError(
            f"slo.latency is {format_duration(goal.slo_latency_ns)}, and the fastest variant alone takes "
            f"{format_duration(round(fastest))} for one request: no configuration can keep it; allow more, or bring "
            "a smaller model"
        )


def _check_throughput(goal: Goal, judged: Sequence[JudgedVariant], num_cores: int) -> None:
    """The most that the engines alone could do, with every core on the best batch of the fastest variant."""
    per_row = [
        float(np.median(times)) / rows
        for one in judged
        for by_rows in one.times_ns.values()
        for rows, times in by_rows.items()
        if times
    ]
    if goal.throughput_rps is None or not per_row:
        return
    most = num_cores * 1e9 / min(per_row)
    if goal.throughput_rps > most:
        raise UserError(
            f"slo.throughput is {goal.throughput_rps:g}/s, and {num_cores} cores of this machine with the fastest variant "
            f"in its best batch make {most:,.0f}/s at most: ask for less, or use more cores"
        )
