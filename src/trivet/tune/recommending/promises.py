"""What a trial can be held to: the rate that it promises, and each constraint of the goal with how far it is from it.

The worse end of each interval counts, never the estimate, and the safety margin comes off that.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, TrialBlock
from trivet.spec.accuracy_drop import drop_in_words
from trivet.tune.accuracy_floor import clears, lowest_difference, rows_in_words
from trivet.tune.legs import ACCURACY, DIFFERENCE, LATENCY, RATE, cost_figure, more_accurate_is_larger

NS_PER_MS = 1e6
ACCURACY_FLOOR, ACCURACY_DROP = "accuracy floor", "accuracy drop"  # names of checks


@dataclass(frozen=True, slots=True)
class Check:
    """One constraint. shortfall: 0 where it is met, else the relative distance to it.  words: why it is not met."""

    name: str
    shortfall: float = 0.0
    words: str = ""

    @property
    def is_met(self) -> bool:
        return self.shortfall <= 0


def promised_rate_rps(figures: Mapping[str, Figure], goal: Goal) -> float:
    """The lower end of the largest rate within the SLO, less the safety margin; 0 where it has no lower end."""
    rate = figures.get(RATE)
    return 0.0 if rate is None or rate.low is None else rate.low * (1 - goal.safety_margin)


def latency_figure(figures: Mapping[str, Figure], goal: Goal) -> str:
    """The name of the latency at the SLO's percentile, as the figures of a run spell it: p99.9 is p999.

    Where that was not measured and p99 is further up, p99 stands in: it is never the lower of the two.
    """
    name = f"latency_p{goal.slo_percentile:g}_ms".replace(".", "", 1)
    return LATENCY if name not in figures and goal.slo_percentile < 99 else name


def objective_figure(figures: Mapping[str, Figure], goal: Goal) -> str:
    """The name of what the goal looks for, as these figures have it."""
    if goal.objective == "rate":
        return RATE
    return latency_figure(figures, goal) if goal.objective == "latency" else cost_figure(goal)


def checks(
    figures: Mapping[str, Figure],
    goal: Goal,
    *,
    answers_change: bool,
    blocks: Sequence[TrialBlock] = (),
    num_rows: int | None = None,
    trust_estimates: bool = False,
) -> list[Check]:
    """Each constraint of the goal on a trial's figures.

    Args: answers_change: against the default's answers.  blocks: that were measured, for this goal.
    num_rows: labelled rows that the accuracy is of.
    trust_estimates: the user accepts an accuracy whose interval does not clear the floor, if its estimate does.
    """
    found = [_latency(figures, goal), _promise(blocks, goal), _throughput(figures, goal)]
    if goal.accuracy_floor is not None:
        found.append(_accuracy(figures, goal, goal.accuracy_floor, num_rows, trust_estimates))
    if goal.accuracy_drop is not None and answers_change:
        found.append(_drop(figures, goal, goal.accuracy_drop, num_rows, trust_estimates))
    if goal.accuracy_floor is None and goal.accuracy_drop is None and answers_change:
        found.append(
            Check(ACCURACY_FLOOR, math.inf, "it changes answers, and no accuracy floor says how far it may")
        )
    return found


def worth(figures: Mapping[str, Figure], goal: Goal) -> float:
    """What the goal looks for, by the worse end of its interval: the more, the better."""
    if goal.objective == "rate":
        return promised_rate_rps(figures, goal)
    figure = figures.get(objective_figure(figures, goal))
    return -math.inf if figure is None or figure.high is None else -figure.high


def _latency(figures: Mapping[str, Figure], goal: Goal) -> Check:
    slo_ms = goal.slo_latency_ns / NS_PER_MS
    if goal.objective == "rate":
        if promised_rate_rps(figures, goal) > 0:
            return Check("latency")
        return Check(
            "latency",
            math.inf,
            f"no rate was found at which p{goal.slo_percentile:g} stays within {slo_ms:g} ms",
        )
    name = latency_figure(figures, goal)
    figure = figures.get(name)
    if figure is None or figure.high is None:
        return Check("latency", math.inf, f"{name} has no upper end: measure longer")
    worst = figure.high * (1 + goal.safety_margin)
    words = (
        f"p{goal.slo_percentile:g} may be as high as {figure.high:.4g} ms, {worst:.4g} ms with the safety margin: "
        f"over {slo_ms:g} ms"
    )
    return Check("latency", max(0.0, worst / slo_ms - 1), words)


def _promise(blocks: Sequence[TrialBlock], goal: Goal) -> Check:
    """What was measured at the promised rate itself, all blocks of it together."""
    slo_ms = goal.slo_latency_ns / NS_PER_MS
    found = [block.values.get("slo_latency_ms", math.inf) for block in promise_blocks(blocks)]
    if not found:
        return Check("promise")
    mean_ms = math.exp(sum(map(math.log, found)) / len(found))
    seen = f"{len(found)} block{'s' * (len(found) != 1)}"
    words = (
        f"at the promised rate p{goal.slo_percentile:g} was {mean_ms:.4g} ms in {seen}: over {slo_ms:g} ms"
    )
    return Check("promise", max(0.0, mean_ms / slo_ms - 1), words)


def promise_blocks(blocks: Sequence[TrialBlock]) -> list[TrialBlock]:
    """Those at the promised rate that count."""
    return [block for block in blocks if block.kind == "promise" and not block.invalid]


def _throughput(figures: Mapping[str, Figure], goal: Goal) -> Check:
    promised = promised_rate_rps(figures, goal)
    if goal.throughput_rps is None:
        return Check("throughput")
    shortfall = math.inf if promised == 0 else max(0.0, goal.throughput_rps / promised - 1)
    words = f"{promised:.4g} requests/s are promised, {goal.throughput_rps:g} are asked for"
    return Check("throughput", shortfall, words)


def _verdict(figure: Figure, floor: float, larger: bool, trust_estimates: bool) -> bool | None:
    """Whether a figure clears a floor; None: cannot tell. Args: larger: is better."""
    sign = 1 if larger else -1
    if trust_estimates and sign * figure.estimate >= sign * floor:
        return True
    return clears(figure, floor, larger_is_better=larger)


def _distance(figure: Figure, floor: float, larger: bool) -> float:
    """How far the worse end is from the floor, over the floor."""
    worst = figure.low if larger else figure.high
    return math.inf if worst is None else abs(floor - worst) / max(abs(floor), 1e-9)


def _drop(
    figures: Mapping[str, Figure], goal: Goal, drop: float, num_rows: int | None, trust_estimates: bool
) -> Check:
    """On the same rows as the default's: what both get wrong says nothing."""
    name, larger = ACCURACY_DROP, more_accurate_is_larger(goal)
    floor, accepted = lowest_difference(drop, larger), drop_in_words(drop)
    figure = figures.get(DIFFERENCE)
    if figure is None:
        return Check(
            name, math.inf, f"nothing says whether it loses at most {accepted}: not judged beside the default"
        )
    verdict = _verdict(figure, floor, larger, trust_estimates)
    if verdict:
        return Check(name)
    distance = _distance(figure, floor, larger)
    told = f"a difference of {figure} on the same rows"
    if verdict is False:
        return Check(name, distance, f"{told} is more than the {accepted} that are accepted")
    rows = rows_in_words(figure, floor, num_rows=num_rows, is_share=False, larger_is_better=larger)
    return Check(name, distance, f"{told} cannot tell whether it is within {accepted}: {rows}")


def _accuracy(
    figures: Mapping[str, Figure], goal: Goal, floor: float, num_rows: int | None, trust_estimates: bool
) -> Check:
    name, larger = ACCURACY_FLOOR, more_accurate_is_larger(goal)
    figure = figures.get(ACCURACY)
    if figure is None:
        return Check(
            name, math.inf, f"its accuracy was not measured, so nothing says that it clears {floor:g}"
        )
    verdict = _verdict(figure, floor, larger, trust_estimates)
    if verdict:
        return Check(name)
    distance = _distance(figure, floor, larger)
    if verdict is False:
        return Check(name, distance, f"{goal.metric or 'accuracy'} of {figure} does not reach {floor:g}")
    rows = rows_in_words(
        figure, floor, num_rows=num_rows, is_share=goal.metric in (None, "accuracy"), larger_is_better=larger
    )
    return Check(
        name,
        distance,
        f"{goal.metric or 'accuracy'} of {figure} cannot tell whether it reaches {floor:g}: {rows}",
    )
