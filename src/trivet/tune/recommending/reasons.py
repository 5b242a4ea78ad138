"""Five plain lines: what is recommended, what it gains, why not the next, what limits it, what it was proven on."""

from collections.abc import Sequence
from typing import Any

from trivet.catalog.records import Figure
from trivet.catalog.study import Study
from trivet.tune.candidates import Candidate
from trivet.tune.legs import ACCURACY, COST, RATE, ratio_of
from trivet.tune.prices import PRICE
from trivet.tune.recommending.promises import (
    latency_figure,
    objective_figure,
    promise_blocks,
    promised_rate_rps,
)
from trivet.tune.recommending.wording import bounds, slo_in_words, trial_in_words

_WORDS = {RATE: "largest rate", COST: "processor time a request", PRICE: "price of a million requests"}


def reasons(
    study: Study,
    best: Candidate,
    runner_up: Candidate | None,
    default: Candidate | None,
    ranked: Sequence[Candidate],
    is_measured: bool,
) -> list[str]:
    """Exactly five lines, in this order. Args: ranked: all candidates."""
    is_alone = len(ranked) == 1
    return [
        _what(study, best, is_measured),
        _gain(study, best, default),
        _next(study, best, runner_up, is_alone=is_alone),
        _limit(study, best, ranked),
        _proof(study, best, is_measured, is_alone=is_alone),
    ]


def uncertainty(study: Study, best: Candidate, runner_up: Candidate | None, is_measured: bool) -> str:
    """What the intervals leave open about the choice and about what it promises."""
    rate = best.figures[RATE]
    kind = "measured" if is_measured else "simulated, not measured"
    text = f"largest rate {bounds(rate)}/s ({kind}); the promise counts from its lower end"
    if ACCURACY in best.figures:
        text += f"; {study.goal.metric or 'accuracy'} {bounds(best.figures[ACCURACY])}"
    if runner_up is None:
        return text
    ratio = ratio_of(best.figures, runner_up.figures, objective_figure(best.figures, study.goal))
    if ratio is None:
        return text
    if _holds_one(ratio):
        return f"{text}; it cannot be told from {trial_in_words(runner_up.trial, study.levers)}: {bounds(ratio, 3)} times"
    return f"{text}; told apart from the next: {bounds(ratio, 3)} times"


def _what(study: Study, best: Candidate, is_measured: bool) -> str:
    promised, goal = promised_rate_rps(best.figures, study.goal), study.goal
    verb = "Serve" if is_measured and best.meets else "Closest is"
    latency = ""
    if goal.objective != "rate" and (name := latency_figure(best.figures, goal)) in best.figures:
        at = f" at {study.reference_rate_rps:g}/s" if study.reference_rate_rps else ""
        latency = f", p{goal.slo_percentile:g} {bounds(best.figures[name])} ms{at}"
    return (
        f"{verb} {trial_in_words(best.trial, study.levers)}: {promised:.4g} requests/s with {slo_in_words(goal)}, "
        f"{goal.safety_margin:.0%} kept free{latency}."
    )


def _gain(study: Study, best: Candidate, default: Candidate | None) -> str:
    if default is None:
        return "The default has no figures to compare with: it failed, or was not measured."
    if default.trial.id == best.trial.id:
        return "It is the default configuration: nothing that was tried is known to be better."
    name = objective_figure(best.figures, study.goal)
    ratio = ratio_of(best.figures, default.figures, name)
    words = _WORDS.get(name, "latency")
    gain = (
        f"Its {words} is {bounds(ratio, 3)} times the default's"
        if ratio
        else f"The default has no {words} to compare"
    )
    return f"{gain}; {_answers(study, best, default)}{_hits(best)}."


def _hits(best: Candidate) -> str:
    """What stands before its pipeline, where anything does."""
    share = best.figures.get("hit_share")
    if share is None:
        return ""
    return f"; {share.estimate:.0%} of its requests are answered before the pipeline, at no engine's cost"


def _answers(study: Study, best: Candidate, default: Candidate) -> str:
    if not best.answers_change:
        return "answers stay the same"
    own, theirs = best.figures.get(ACCURACY), default.figures.get(ACCURACY)
    metric = study.goal.metric or "accuracy"
    if own is None or theirs is None:
        return f"answers change, and {metric} was not measured"
    paired = _paired_difference(study, best.trial.variant)
    on_the_same = f", {bounds(paired, 2)} apart on the same rows" if paired is not None else ""
    return f"answers change: {metric} {bounds(own)} against {bounds(theirs)}{on_the_same}"


def _paired_difference(study: Study, variant: str) -> Figure | None:
    for judged in study.variants:
        if judged["variant"]["name"] == variant and judged.get("difference"):
            return _figure(judged["difference"])
    return None


def _figure(told: dict[str, Any]) -> Figure:
    return Figure(
        estimate=told["estimate"], low=told.get("low"), high=told.get("high"), unit=told.get("unit", "")
    )


def _next(study: Study, best: Candidate, runner_up: Candidate | None, *, is_alone: bool) -> str:
    if runner_up is None:
        return (
            "Nothing else was compared." if is_alone else "No other trial that was compared meets the goal."
        )
    told = trial_in_words(runner_up.trial, study.levers)
    if not runner_up.meets:
        worst = max(runner_up.failed, key=lambda check: check.shortfall)
        return f"Next is {told}, further from the goal: {worst.words}."
    name = objective_figure(best.figures, study.goal)
    ratio = ratio_of(runner_up.figures, best.figures, name)
    if ratio is None:
        return f"Next is {told}; their figures do not compare."
    close = " (cannot be told apart)" if _holds_one(ratio) else ""
    words = _WORDS.get(name, "latency")
    return f"Next is {told}: its {words} is {bounds(ratio, 3)} times this one's{close}."


def _limit(study: Study, best: Candidate, ranked: Sequence[Candidate]) -> str:
    if not best.meets:
        worst = max(best.failed, key=lambda check: check.shortfall)
        return f"It fails the {worst.name}: {worst.words}."
    limits = [f"The budget, {slo_in_words(study.goal)}, limits the rate"]
    kept_out = [one for one in ranked if len(one.failed) == 1 and one.worth > best.worth]
    if kept_out:
        rival = max(kept_out, key=lambda one: one.worth)
        limits.append(f"the {rival.failed[0].name} keeps out {trial_in_words(rival.trial, study.levers)}")
    edges = [
        f"{lever.name} at the largest that was searched, {own}"
        for lever in study.levers
        if len(sizes := [value for value in lever.values if _is_count(value)]) > 1
        and _is_count(own := best.trial.levers.get(lever.name))
        and own == max(sizes)
    ]
    return f"{'; '.join([*limits, *edges])}."


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _proof(study: Study, best: Candidate, is_measured: bool, *, is_alone: bool) -> str:
    rows = study.dataset.get("rows")
    judged = (
        f"{rows:,} labelled rows"
        if isinstance(rows, int) and ACCURACY in best.figures
        else "no labelled rows"
    )
    if not is_measured:
        return f"Proven on nothing yet: {study.num_screened:,} configurations were simulated, none was measured; {judged}."
    blocks = [block for block in best.trial.blocks if not block.invalid]
    live = f"{len(blocks)} live blocks" if blocks else f"{len(best.trial.runs)} live runs"
    at = (
        f" at {min(b.rate_rps for b in blocks):.4g} to {max(b.rate_rps for b in blocks):.4g}/s"
        if blocks
        else ""
    )
    held = [b.values["slo_latency_ms"] for b in promise_blocks(blocks) if "slo_latency_ms" in b.values]
    kept = (
        f", where the promised rate had p{study.goal.slo_percentile:g} up to {max(held):.4g} ms"
        if held
        else ""
    )
    machine = study.environment.processor.model or "this machine"
    beside = "" if is_alone else ", in turn with the others"
    return f"Proven on {live}{at}{kept}{beside}, on {machine}; {judged}."


def _holds_one(ratio: Figure) -> bool:
    return (ratio.low is None or ratio.low <= 1) and (ratio.high is None or ratio.high >= 1)
