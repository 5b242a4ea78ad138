"""A study as text for a terminal: the front, what matters, and the recommendation."""

from collections.abc import Sequence
from pathlib import Path

from trivet.catalog.study import LeverEffect, Study, StudySummary, Trial
from trivet.report.text import number, table
from trivet.tune.recommending.wording import bounds, changed_levers, floors_in_words, slo_in_words

MAX_EFFECTS = 8
_COLUMNS = (
    "max_rate_rps",
    "latency_p50_ms",
    "latency_p99_ms",
    "accuracy",
    "cpu_ms_per_request",
    "cost_per_million",
)
_STATES = {"complete": "complete", "partial": "PARTIAL", "failed": "FAILED"}


def studies_text(found: Sequence[StudySummary]) -> str:
    if not found:
        return "no studies yet; trivet tune SERVICE makes one"
    rows = [["study", "begun", "service", "objective", "trials", "state", ""]]
    rows += [
        [
            one.id,
            one.begun[:16].replace("T", " "),
            one.service,
            one.objective,
            str(one.num_trials),
            one.state,
            one.reason,
        ]
        for one in found
    ]
    return "\n".join(table(rows, indent=""))


def study_text(study: Study, written: Path | None) -> list[str]:
    """Args: written: where the configuration was put; None: nowhere."""
    live = [trial for trial in study.trials if trial.stage in ("default", "verified") and trial.measured]
    lines = [
        f"{study.service}: {_STATES.get(study.state, study.state)}"
        + (f" ({study.reason})" if study.reason else "")
        + f"; {slo_in_words(study.goal)}{floors_in_words(study.goal)}, objective {study.goal.objective}",
        f"{study.num_screened:,} configurations simulated, {len(live)} measured live; latencies at "
        f"{number(study.reference_rate_rps)} requests/s",
    ]
    lines += ["", *_trials(study, live)] if live else []
    failed = [trial for trial in study.trials if trial.stage == "failed"]
    lines += [f"trial {one.id} failed ({changed_levers(one, study.levers)}): {one.reason}" for one in failed]
    lines += _effects(study.effects)
    lines += ["", *(f"note: {note}" for note in study.notes)] if study.notes else []
    lines += _recommendation(study)
    if written is not None:
        lines += ["", f"written to {written}; next:  trivet serve {written}   trivet report {study.id}"]
    if study.state in ("partial", "failed"):
        lines.append(f"go on with:  trivet tune SERVICE --resume {study.id}")
    return lines


def _trials(study: Study, live: Sequence[Trial]) -> list[str]:
    """The front first, each by its rate; `*` is recommended, `+` on the front."""
    chosen = None if study.recommendation is None else study.recommendation.trial
    place = {trial_id: index for index, trial_id in enumerate(study.front)}
    ordered = sorted(live, key=lambda trial: (place.get(trial.id, len(place)), trial.id))
    columns = [name for name in _COLUMNS if any(name in trial.measured for trial in live)]
    rows = [["", "trial", *columns, "levers"]]
    for trial in ordered:
        mark = "*" if trial.id == chosen else "+" if trial.id in place else ""
        cells = [bounds(trial.measured[name]) if name in trial.measured else "" for name in columns]
        default = "as declared" if trial.stage == "default" else "all defaults"
        rows.append([mark, str(trial.id), *cells, changed_levers(trial, study.levers) or default])
    return [*table(rows), "  * recommended   + on the front"]


def _effects(effects: Sequence[LeverEffect]) -> list[str]:
    if not effects:
        return []
    shown = sorted(effects, key=lambda one: (one.matters != "yes", len(one.levers)))[:MAX_EFFECTS]
    rows = [["lever", "from -> to", "effect", "matters", ""]]
    for one in shown:
        steps = " and ".join(f"{ends[0]} -> {ends[1]}" for ends in one.from_to)
        rows.append(
            [" x ".join(one.levers), steps, f"x{bounds(one.effect, 3)}", one.matters, one.effect.verdict]
        )
    return ["", f"what levers do to {shown[0].figure}, around the recommended point:", *table(rows)]


def _recommendation(study: Study) -> list[str]:
    chosen = study.recommendation
    if chosen is None:
        return ["", "nothing is recommended: see the notes"]
    head = (
        f"recommended: trial {chosen.trial}"
        if chosen.meets
        else f"nothing meets the goal; closest: trial {chosen.trial}"
    )
    lines = ["", head, *(f"  {reason}" for reason in chosen.reasons)]
    lines += [f"  binding: {chosen.binding}"] if chosen.binding else []
    lines += [f"  uncertainty: {chosen.uncertainty}"] if chosen.uncertainty else []
    lines += [f"  runner-up: trial {chosen.runner_up}"] if chosen.runner_up is not None else []
    lines += [f"  would change the choice: {line}" for line in chosen.would_change]
    return [*lines, *(f"  not tried: {line}" for line in chosen.not_tried)]
