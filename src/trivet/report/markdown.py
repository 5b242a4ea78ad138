"""A study or a run on one screen of Markdown, for a pull request: goal, outcome, figures, reasoning, thresholds."""

from collections.abc import Sequence

from trivet.catalog.records import STATES, Figure
from trivet.report.answer import goal_words, limits, said
from trivet.report.numbers import counted, label, lever_value, lever_word, number, ratio, whole
from trivet.report.run_view import RunView, offered_words
from trivet.report.study_view import ACCURACY, COST, MEMORY, PRICE, RATE, StudyView, figures_of

MAX_REASONS = 5
MAX_CHANGES = 3
_SIGNS = {"complete": "✅", "invalid": "❌", "failed": "❌"}
_RUN_FIGURES = (
    "knee_rps",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "throughput_rps",
    "goodput_rps",
    "slo_attainment",
    "error_share",
    "hit_share",
    "accuracy",
    "cpu_ms_per_request",
    "memory_mib",
    "floor_p99_ms",
)


def study_markdown(view: StudyView) -> str:
    """Ends with a line break."""
    study, found = view.study, view.study.recommendation
    sign = "✅" if view.is_recommended else "❌" if found is not None and view.has_live else "❔"
    lines = [
        f"## {sign} trivet study: {_text(study.service)}",
        "",
        f"**{_text(said(view))}**",
        "",
        _text(goal_words(view)),
        "",
    ]
    if study.state != "complete":
        lines += [f"> {study.state}: {_text(study.reason or STATES[study.state])}", ""]
    lines += _figures(view)
    if found is not None:
        lines += [*(f"{i}. {_text(reason)}" for i, reason in enumerate(found.reasons[:MAX_REASONS], 1)), ""]
        lines += [f"Uncertainty: {_text(found.uncertainty)}", ""] if found.uncertainty else []
        if view.runner_up is not None:
            lines += [f"Runner-up: trial {view.runner_up.id}, {_text(view.told(view.runner_up))}.", ""]
        lines += _bullets("Would change the choice:", found.would_change[:MAX_CHANGES])
    lines += _levers(view)
    measured = sum(bool(trial.measured) for trial in study.trials)
    lines.append(
        f"{counted(study.num_screened, 'configuration')} screened, {measured} measured live; seed {study.seed}; "
        f"`trivet report {study.id}` draws it, `{_text(' '.join(study.command)) or 'trivet tune'}` finds it again."
    )
    return "\n".join(lines) + "\n"


def run_markdown(view: RunView) -> str:
    """Ends with a line break."""
    run = view.run
    lines = [f"## {_SIGNS.get(run.state, '❔')} trivet run: {_text(run.service)}: {run.state}", ""]
    if run.state != "complete":
        lines += [f"**{run.state.upper()}**: {_text(run.reason or STATES[run.state])}", ""]
    slo = f"; SLO p{view.percentile:g} within {number(view.slo_ms)} ms" if view.slo_ms is not None else ""
    lines += [f"{_text(offered_words(view.workload))}{slo}", ""]
    shown = {name: run.figures[name] for name in _RUN_FIGURES if name in run.figures}
    if shown:
        lines += ["| figure | estimate with 95 % interval | remark |", "|---|---:|---|"]
        lines += [
            f"| {_text(label(name))} | {_text(whole(figure))} | {_text(figure.verdict)} |"
            for name, figure in shown.items()
        ]
        lines.append("")
    else:
        lines += ["Nothing was measured.", ""]
    lines.append(
        f"run `{run.id}`, configuration `{run.configuration_hash[:12] or 'unknown'}`; "
        f"`trivet replay {run.id}` measures it again."
    )
    return "\n".join(lines) + "\n"


def _figures(view: StudyView) -> list[str]:
    """The chosen trial beside the default, with the change and what must hold."""
    chosen, default = view.chosen, view.default
    shown = [trial for trial in (chosen or default, default) if trial is not None]
    if not shown:
        return ["Nothing was tried.", ""]
    is_default = chosen is None or default is None or chosen.id == default.id
    names = [
        name
        for name in (RATE, view.latency_name, ACCURACY, COST, PRICE, MEMORY)
        if any(name in figures_of(trial) for trial in shown)
    ]
    head = [
        "figure",
        "default" if chosen is None else view.role(shown[0]),
        *([] if is_default else ["default", "change"]),
        "must be",
    ]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 2) + "---|"]
    for name in names:
        cells = [
            label(name),
            _figure(figures_of(shown[0]).get(name), is_predicted=name not in shown[0].measured),
        ]
        if not is_default and default is not None:
            gain = view.gain(name) if name != ACCURACY else None
            cells.append(_figure(figures_of(default).get(name), is_predicted=name not in default.measured))
            cells.append("" if gain is None else ratio(gain))
        cells.append(limits(view).get(name, ""))
        lines.append(f"| {' | '.join(map(_text, cells))} |")
    return [*lines, ""]


def _levers(view: StudyView) -> list[str]:
    if view.chosen is None:
        return []
    pairs = [f"{lever_word(name)} {lever_value(name, one)}" for name, one in view.chosen.levers.items()]
    return [f"Configuration `{view.chosen.configuration_hash[:12]}`: {_text(', '.join(pairs))}", ""]


def _figure(figure: Figure | None, *, is_predicted: bool) -> str:
    if figure is None:
        return ""
    return f"({whole(figure)})" if is_predicted else whole(figure)


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "", *(f"- {_text(line)}" for line in lines), ""] if lines else []


def _text(text: str) -> str:
    """On one line, and nothing in it ends a cell or starts markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
