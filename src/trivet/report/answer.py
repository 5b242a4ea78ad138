"""The answer of a study: one sentence, and the figures that carry it."""

from trivet.catalog.study import Trial
from trivet.report.blocks import tile, tiles
from trivet.report.html import Markup, joined, prose, tag
from trivet.report.numbers import bounds, label, number, ratio, short, value
from trivet.report.study_view import ACCURACY, COST, MEMORY, PRICE, RATE, StudyView, figures_of, slo_words
from trivet.spec.accuracy_drop import drop_in_words

_OBJECTIVES = {
    "rate": "the largest rate",
    "latency": "the least latency",
    "cost": "the least processor time a request",
}
_PAID = "the least price of a request"  # where calls to other servers are paid


def goal_words(view: StudyView) -> str:
    """`Goal: the largest rate with p99 within 20 ms, accuracy at least 90 %, 10 % of the rate kept free`."""
    goal = view.study.goal
    objective = _PAID if goal.objective == "cost" and goal.currency else _OBJECTIVES[goal.objective]
    parts = [f"Goal: {objective} with {slo_words(view.study)}"]
    if view.floor:
        parts.append(f"{goal.metric or 'accuracy'} {view.floor}")
    if goal.accuracy_drop is not None:
        parts.append(f"at most {drop_in_words(goal.accuracy_drop)} worse than as declared")
    if goal.throughput_rps is not None:
        parts.append(f"at least {number(goal.throughput_rps)} requests a second")
    parts.append(f"{100 * goal.safety_margin:g} % of the rate kept free")
    return ", ".join(parts)


def said(view: StudyView) -> str:
    """The outcome in a sentence or two."""
    chosen, found = view.chosen, view.study.recommendation
    if found is None or chosen is None:
        if not view.has_live and view.study.trials:
            return "No recommendation: nothing was verified under load, so all figures here are predictions."
        return "No recommendation: the study ended before anything could be promised."
    what = view.told(chosen)
    if not found.meets:
        binding = f" ({found.binding})" if found.binding else ""
        return (
            f"Nothing that was tried is sure to meet the goal{binding}. Closest is trial {chosen.id}: {what}."
        )
    if view.default is not None and chosen.id == view.default.id:
        return "Keep the default: nothing that was tried is better for certain."
    return f"Serve trial {chosen.id}: {what}.{_gained(view)}"


def _gained(view: StudyView) -> str:
    """What the choice gains beside the default, or that this cannot be told; empty where there is nothing to compare."""
    gain, name = view.gain(view.objective), label(view.objective)
    if gain is None:
        return ""
    what = f" {name[0].upper()}{name[1:]}"
    if (gain.low is None or gain.low < 1) and (gain.high is None or gain.high > 1):
        return f"{what}: cannot be told from the default's, {ratio(gain)}."
    return f"{what}: {ratio(gain)} beside the default."


def answer(view: StudyView) -> Markup:
    """The sentence and the tiles."""
    found = [tag("p", prose(said(view)), class_="said")]
    trial = view.chosen or view.default
    if trial is not None:
        names = [RATE, view.latency_name, ACCURACY, COST, PRICE, MEMORY]
        made = [_tile(view, trial, name) for name in names if name in figures_of(trial)]
        found.append(tiles(made))
        if view.chosen is None:
            found.append(tag("p", "These are the figures of the default.", class_="muted small"))
    return tag("div", joined(*found), class_="answer")


def limits(view: StudyView) -> dict[str, str]:
    """What must hold, by the figure that it is about."""
    goal = view.study.goal
    found = {view.latency_name: f"at most {number(view.slo_ms)} ms"}
    if view.floor:
        found[ACCURACY] = view.floor
    if goal.throughput_rps is not None:
        found[RATE] = f"at least {number(goal.throughput_rps)}/s"
    return found


def _tile(view: StudyView, trial: Trial, name: str) -> Markup:
    figure = figures_of(trial)[name]
    remarks = [bounds(figure)]
    if name not in trial.measured:
        remarks.append("predicted")
    if name in (found := limits(view)):
        remarks.append(found[name])
    default = view.default
    if default is not None and default.id != trial.id and name in figures_of(default):
        remarks.append(f"default {value(figures_of(default)[name])}")
    return tile(short(name), value(figure), remarks)
