"""What would change the choice: the same trials under another floor, another SLO, another objective or price."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, Study, Trial
from trivet.tune.candidates import Candidate, candidates, failed_accuracy
from trivet.tune.legs import ACCURACY, COST, RATE, comparable, figures_of, more_accurate_is_larger
from trivet.tune.prices import PRICE
from trivet.tune.recommending.promises import NS_PER_MS, latency_figure, promised_rate_rps
from trivet.tune.recommending.wording import bounds, trial_in_words

OtherSlo = Mapping[float, Mapping[int, Figure]]  # latency budget in ms -> trial -> its largest rate within it
OTHER_FACTORS = (0.5, 2.0)  # of the declared budget
_MAX_LINES = 6
_NO_RATE = Figure(estimate=0.0, unit="requests/s")  # without a lower end it promises nothing


def would_change(study: Study, best: Candidate, other_slo: OtherSlo) -> list[str]:
    """One line for each circumstance under which another of the trials would be chosen; one where there is none."""
    found: dict[str, None] = {}
    for circumstance, chosen in _others(study, best, other_slo):
        if chosen is not None and chosen.meets and chosen.trial.id != best.trial.id:
            worth = _worth_in_words(study, chosen)
            found.setdefault(f"{circumstance}: {trial_in_words(chosen.trial, study.levers)}, {worth}")
    lines = list(found)[:_MAX_LINES]
    return lines or [
        "no other accuracy floor, SLO or objective that was looked at would choose another trial"
    ]


def under_other_budgets(study: Study, predicted_rps: Callable[[Trial, int], float]) -> OtherSlo:
    """Largest rates of what was measured within half and twice the budget: measured, times what the simulator says of it.

    Args: predicted_rps: the largest rate of a trial within so many ns, simulated; 0 where it is not known, or none holds.
    """
    declared = study.goal.slo_latency_ns
    found: dict[float, dict[int, Figure]] = {
        round(factor * declared) / NS_PER_MS: {} for factor in OTHER_FACTORS
    }
    for trial in study.trials:
        rate = trial.measured.get(RATE)
        base = predicted_rps(trial, declared) if rate is not None else 0.0
        if rate is None or not base:
            continue
        for factor in OTHER_FACTORS:
            budget_ns = round(factor * declared)
            ratio = predicted_rps(trial, budget_ns) / base
            if ratio:
                found[budget_ns / NS_PER_MS][trial.id] = _scaled(rate, ratio)
    return {budget_ms: rates for budget_ms, rates in found.items() if rates}


def not_tried(study: Study) -> list[str]:
    """What the study did not look at, or only by simulation."""
    verified = [trial for trial in study.trials if trial.stage in ("default", "verified")]
    failed = [trial for trial in study.trials if trial.stage == "failed"]
    lines = []
    if study.num_screened > len(verified):
        lines.append(
            f"{study.num_screened - len(verified):,} of {study.num_screened:,} configurations were simulated, never measured"
        )
    if failed:
        lines.append(
            f"{len(failed)} trials failed: {'; '.join(dict.fromkeys(trial.reason for trial in failed))}"
        )
    lines += _kept_out(study)
    lines += [f"{one.name}: {one.why}" for one in study.left_out]
    return lines or ["nothing of what this service and machine offer"]


def _kept_out(study: Study) -> list[str]:
    """The variants that never ran because they cost too much accuracy, whatever else is chosen with them."""
    ran = {trial.variant for trial in study.trials if trial.stage != "screened"}
    why: dict[str, str] = {}
    fits: set[str] = set()
    for trial in study.trials:
        if trial.variant in ran:
            continue
        failed = failed_accuracy(study, trial)
        if failed is None:
            fits.add(trial.variant)
        else:
            why.setdefault(trial.variant, failed.words)
    return [f"variant {name}: {words}" for name, words in why.items() if name not in fits][:_MAX_LINES]


def _others(study: Study, best: Candidate, other_slo: OtherSlo) -> Iterator[tuple[str, Candidate | None]]:
    goal = study.goal
    yield from _floors(study, best)
    for latency_ms, rates in sorted(other_slo.items()):
        changed = msgspec.structs.replace(goal, slo_latency_ns=round(latency_ms * 1e6))
        figures = {trial.id: {RATE: rates.get(trial.id, _NO_RATE)} for trial in study.trials}
        yield (
            f"with {latency_ms:g} ms instead of {goal.slo_latency_ns / 1e6:g} ms",
            _first(study, changed, figures),
        )
    if goal.objective != "latency":
        yield (
            "for the lowest latency instead",
            _first(study, msgspec.structs.replace(goal, objective="latency")),
        )
    if goal.objective != "cost":
        yield (
            "for the least processor time a request instead",
            _first(study, msgspec.structs.replace(goal, objective="cost")),
        )
    if goal.objective != "rate":
        yield "for the largest rate instead", _first(study, msgspec.structs.replace(goal, objective="rate"))
        promised = promised_rate_rps(best.figures, goal)
        more = msgspec.structs.replace(goal, throughput_rps=max(promised, 1e-9) * 1.001)
        yield f"for more than {promised:.4g} requests/s", _first(study, more)


def _floors(study: Study, best: Candidate) -> Iterator[tuple[str, Candidate | None]]:
    """Every floor at which the set of those that clear it changes: the worse ends of the accuracies."""
    goal, larger = study.goal, more_accurate_is_larger(study.goal)
    compared, source = comparable(study.trials)
    figures = [figures_of(trial, source).get(ACCURACY) for trial in compared]
    ends = {
        end for one in figures if one is not None and (end := one.low if larger else one.high) is not None
    }
    own = best.figures.get(ACCURACY)
    own_end = None if own is None else own.low if larger else own.high
    word = ("a floor", "at most") if larger else ("a ceiling", "at least")
    for end in sorted(ends, reverse=larger):
        stricter = own_end is not None and (end > own_end if larger else end < own_end)
        if stricter:
            over = "over" if larger else "under"
            told = f"with {word[0]} {over} {own_end:.4g}"
        else:
            told = f"with {word[0]} of {word[1]} {end:.4g} (declared: {_declared(goal)})"
        yield told, _first(study, msgspec.structs.replace(goal, accuracy_floor=end))


def _declared(goal: Goal) -> str:
    return "none" if goal.accuracy_floor is None else f"{goal.accuracy_floor:g}"


def _first(
    study: Study, goal: Goal, figures: Mapping[int, Mapping[str, Figure]] | None = None
) -> Candidate | None:
    return next(iter(candidates(study, goal, figures=figures)), None)


def _scaled(figure: Figure, ratio: float) -> Figure:
    return Figure(
        estimate=figure.estimate * ratio,
        low=None if figure.low is None else figure.low * ratio,
        high=None if figure.high is None else figure.high * ratio,
        unit=figure.unit,
        verdict="simulated from what was measured",
    )


def _worth_in_words(study: Study, chosen: Candidate) -> str:
    told = [f"{bounds(chosen.figures[RATE], 3)} requests/s"]
    name = latency_figure(chosen.figures, study.goal)
    if name in chosen.figures:
        told.append(f"p{study.goal.slo_percentile:g} {bounds(chosen.figures[name], 3)} ms")
    if ACCURACY in chosen.figures:
        told.append(f"{study.goal.metric or 'accuracy'} {bounds(chosen.figures[ACCURACY], 3)}")
    if COST in chosen.figures:
        told.append(f"{bounds(chosen.figures[COST], 3)} ms of processor a request")
    if PRICE in chosen.figures:
        told.append(f"{bounds(chosen.figures[PRICE], 3)} {study.goal.currency} for a million requests")
    return ", ".join(told)
