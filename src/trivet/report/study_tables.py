"""The tables of a study: trials, variants, levers, runs."""

from dataclasses import dataclass

from trivet.catalog.records import Figure
from trivet.catalog.study import Study, Trial
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.report.numbers import lever_value, lever_word, number, ratio, short, whole
from trivet.report.pictures.plot import Cell, Table
from trivet.report.study_view import (
    ACCURACY,
    COST,
    HITS,
    MEMORY,
    PRICE,
    RATE,
    StudyView,
    figures_of,
    is_measured,
)

NUM_FIRST = 3  # figures that stand before what a trial is: the three legs
_ROLES = {"recommended": 0, "closest": 0, "runner-up": 1, "default": 2, "": 3}
_STAGES = {"default": 0, "verified": 1, "failed": 2, "screened": 3}
MIB = 2**20
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Trials:
    """chosen: numbers of the rows that stand out.  num_left_out: trials without any figure, and those over the limit."""

    content: Table
    chosen: tuple[int, ...]
    num_left_out: int


def trial_table(view: StudyView, limit: int) -> Trials:
    """The recommended first, then the front, then what was measured; at most `limit` rows."""
    front = set(view.study.front)
    # Screening gives up early on most configurations: nothing is known of them but that they are behind.
    known = [trial for trial in view.study.trials if figures_of(trial) or trial.stage != "screened"]
    ordered = sorted(
        known,
        key=lambda trial: (
            _ROLES[view.role(trial)],
            trial.id not in front,
            not is_measured(trial),
            _STAGES[trial.stage],
            trial.id,
        ),
    )[:limit]
    names = [
        name
        for name in (RATE, view.latency_name, ACCURACY, COST, PRICE, MEMORY, HITS)
        if any(name in figures_of(trial) for trial in ordered)
    ]
    rows: list[list[Cell]] = [
        [
            (str(trial.id), float(trial.id)),
            _standing(view, trial, on_front=trial.id in front),
            *(_figure_cell(trial, name) for name in names[:NUM_FIRST]),
            trial.variant,
            view.told(trial),
            *(_figure_cell(trial, name) for name in names[NUM_FIRST:]),
            trial.reason,
        ]
        for trial in ordered
    ]
    first, others = map(short, names[:NUM_FIRST]), map(short, names[NUM_FIRST:])
    head = ["trial", "standing", *first, "variant", "levers unlike the default", *others, "remark"]
    chosen = tuple(i for i, trial in enumerate(ordered) if view.role(trial) in ("recommended", "closest"))
    return Trials(Table(head, rows), chosen, len(view.study.trials) - len(rows))


def variant_table(view: StudyView) -> Table:
    """Every variant that was built and judged, with its verdict."""
    has_many = len({judged.variant.model for judged in view.variants}) > 1
    head = [
        "variant",
        "verdict",
        "why",
        "accuracy",
        "beside the original",
        "speed",
        "time of one",
        "calibration error",
        "size",
    ]
    rows: list[list[Cell]] = [
        [
            f"{judged.variant.model}: {judged.variant.name}" if has_many else judged.variant.name,
            judged.verdict if judged.in_search else f"{judged.verdict}, not searched",
            " ".join(filter(None, (judged.reason, *judged.variant.notes))),
            _cell(judged.accuracy),
            _difference(judged.difference),
            ("", None) if judged.speedup is None else (ratio(judged.speedup), judged.speedup.estimate),
            _one_row(judged),
            _cell(judged.calibration_error),
            (f"{judged.variant.size_bytes / MIB:,.2f} MiB", float(judged.variant.size_bytes)),
        ]
        for judged in view.variants
    ]
    return Table(head, rows)


def lever_table(view: StudyView) -> Table:
    """What was searched, with the value that was chosen."""
    chosen = view.chosen
    rows: list[list[Cell]] = []
    for lever in view.study.levers:
        has = chosen is not None and lever.name in chosen.levers
        rows.append(
            [
                lever_word(lever.name),
                ", ".join(lever_value(lever.name, one) for one in lever.values),
                lever_value(lever.name, lever.default),
                lever_value(lever.name, chosen.levers[lever.name]) if chosen is not None and has else "",
                "changes answers" if lever.kind == "answers" else "same answers",
                lever.why,
            ]
        )
    return Table(["lever", "values", "default", "chosen", "answers", "why these"], rows)


def left_out_table(study: Study) -> Table:
    return Table(["lever", "why"], [[lever_word(one.name), one.why] for one in study.left_out])


def run_table(view: StudyView) -> Table:
    """Every run with the command that replays it, in the order of the trials."""
    rows: list[list[Cell]] = []
    for trial in view.study.trials:
        for run_id in trial.runs:
            run = view.runs.get(run_id)
            state = "not in this catalog" if run is None else run.state
            begun = "" if run is None else run.begun[:19].replace("T", " ")
            rows.append([run_id, (str(trial.id), float(trial.id)), begun, state, f"trivet replay {run_id}"])
    return Table(["run", "trial", "begun (UTC)", "state", "measure it again with"], rows)


def _standing(view: StudyView, trial: Trial, *, on_front: bool) -> str:
    stage = {"screened": "predicted only"}.get(trial.stage, trial.stage)
    words = [view.role(trial), "front" if on_front else "", stage]
    if view.under_floor(figures_of(trial)):
        words.append("misses the floor")
    return ", ".join(dict.fromkeys(filter(None, words)))


def _figure_cell(trial: Trial, name: str) -> Cell:
    """Measured, with the prediction in brackets beside it; or the prediction alone, in brackets."""
    measured, predicted = trial.measured.get(name), trial.predicted.get(name)
    if measured is not None:
        beside = f" ({number(predicted.estimate)})" if predicted is not None and name != ACCURACY else ""
        return whole(measured) + beside, measured.estimate
    return ("", None) if predicted is None else (f"({whole(predicted)})", predicted.estimate)


def _cell(figure: Figure | None) -> Cell:
    return ("", None) if figure is None else (whole(figure), figure.estimate)


def _difference(figure: Figure | None) -> Cell:
    """In points where it is one of shares."""
    if figure is None:
        return "", None
    scale, unit = (100, " points") if figure.unit in ("accuracy", "share") else (1, "")
    ends = [None if end is None else f"{end * scale:+.2f}" for end in (figure.low, figure.high)]
    text = f"{figure.estimate * scale:+.2f}{unit}"
    return (f"{text} [{ends[0] or '−∞'}, {ends[1] or '∞'}]" if any(ends) else text), figure.estimate


def _one_row(judged: JudgedVariant) -> Cell:
    """Median time of the engine for one row, at the longest length."""
    if not judged.times_ns:
        return "", None
    samples = judged.times_ns[max(judged.times_ns)].get(1)
    if not samples:
        return "", None
    median = sorted(samples)[len(samples) // 2] / NS_PER_MS
    return f"{number(median)} ms", median
