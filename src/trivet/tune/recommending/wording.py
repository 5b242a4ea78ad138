"""Trials, levers and figures in words, the same everywhere."""

from collections.abc import Sequence
from typing import Any

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, LeverRecord, Study, Trial
from trivet.spec.accuracy_drop import drop_in_words
from trivet.tune.recommending.promises import NS_PER_MS


def trial_in_words(trial: Trial, levers: Sequence[LeverRecord]) -> str:
    """`trial 7 (int8-dynamic, threads 2)`: the levers that are not at their defaults."""
    changed = changed_levers(trial, levers)
    return f"trial {trial.id} ({changed})" if changed else f"trial {trial.id} (all defaults)"


def changed_levers(trial: Trial, levers: Sequence[LeverRecord]) -> str:
    defaults = {lever.name: lever.default for lever in levers}
    return ", ".join(
        value_in_words(name, value)
        for name, value in trial.levers.items()
        if name in defaults and value != defaults[name]
    )


def value_in_words(name: str, value: Any) -> str:
    """A variant by its name alone, as it is the name of a thing; other levers with their own name."""
    if name.rpartition(".")[2] == "variant":
        return str(value)
    return f"{name} {'on' if value is True else 'off' if value is False else value}"


def slo_in_words(goal: Goal) -> str:
    return f"p{goal.slo_percentile:g} within {goal.slo_latency_ns / NS_PER_MS:g} ms"


def floors_in_words(goal: Goal) -> str:
    """What answers are held to, each behind a comma: `, accuracy floor 0.9`; empty where nothing is."""
    found = (
        "" if goal.accuracy_floor is None else f", {goal.metric or 'accuracy'} floor {goal.accuracy_floor:g}"
    )
    if goal.accuracy_drop is not None:
        found += f", at most {drop_in_words(goal.accuracy_drop)} worse than the service as declared"
    return found


def bounds(figure: Figure, digits: int = 4) -> str:
    """`412 [398, 431]`: without the unit."""
    low = "?" if figure.low is None else f"{figure.low:.{digits}g}"
    high = "?" if figure.high is None else f"{figure.high:.{digits}g}"
    return f"{figure.estimate:.{digits}g} [{low}, {high}]"


def answers_change(trial: Trial, default: Trial, study: Study) -> bool:
    """Whether its answers may differ from the default's: by its variant, or by a lever whose values change answers."""
    by_lever = any(
        lever.kind == "answers"
        and lever.name.rpartition(".")[2] != "variant"
        and trial.levers.get(lever.name, lever.default) != default.levers.get(lever.name, lever.default)
        for lever in study.levers
    )
    return by_lever or _variant_changes_answers(trial, default, study)


def _variant_changes_answers(trial: Trial, default: Trial, study: Study) -> bool:
    if trial.variant == default.variant:
        return False
    keeping = {
        judged["variant"]["name"]
        for judged in study.variants
        if not judged["variant"].get("answers_change", True)
    }
    return not _names(trial.variant) <= keeping | _names(default.variant) | {"original"}


def _names(variant: str) -> set[str]:
    """Of a service with several models `variant` may name one for each: `encoder=int8-dynamic, head=original`."""
    return {part.rpartition("=")[2].strip() for part in variant.split(",")}
