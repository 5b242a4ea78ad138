"""A gate's findings as Markdown: for a pull request's page."""

from trivet.experiment.gate.decision import Finding
from trivet.experiment.gate.gate import Gate

_SIGNS = {"pass": "✅", "regression": "❌", "not enough data": "❔"}


def markdown_text(result: Gate, service: str) -> str:
    """Outcome first, then a line for each figure, then what a reader must know."""
    lines = [
        f"## {_SIGNS[result.outcome]} trivet gate: {_cell(service)}: {result.outcome}",
        "",
        "| figure | baseline | candidate | change | outcome |",
        "|---|---:|---:|---:|---|",
        *map(_line, result.findings),
        "",
    ]
    lines += [f"- {_cell(f'{finding.figure}: {finding.detail}')}" for finding in result.findings]
    if result.suspects:
        lines += ["", "Suspects of the history:", ""]
        lines += [f"- {_cell(str(suspect))}" for suspect in result.suspects]
    if result.notes:
        lines += ["", *(f"- {_cell(note)}" for note in result.notes)]
    runs = ", ".join(f"`{run}`" for run in result.runs)
    lines += ["", f"{result.seconds:.0f} s, runs {runs or 'none'}"]
    return "\n".join(lines) + "\n"


def _line(finding: Finding) -> str:
    values = [_number(finding.baseline, finding.unit), _number(finding.candidate, finding.unit)]
    change = "" if finding.change is None else _percent(finding)
    outcome = f"{_SIGNS[finding.outcome]} {finding.outcome}"
    return f"| {_cell(finding.figure)} | {values[0]} | {values[1]} | {change} | {outcome} |"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}".rstrip()


def _percent(finding: Finding) -> str:
    ratio = finding.change
    assert ratio is not None  # the caller looked
    bounds = [f"{(bound - 1) * 100:+.1f}" if bound < 1e6 else "∞" for bound in (ratio.low, ratio.high)]
    return f"{(ratio.estimate - 1) * 100:+.1f} % [{bounds[0]}, {bounds[1]}]"


def _cell(text: str) -> str:
    """On one line, and nothing in it ends a cell or starts markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
