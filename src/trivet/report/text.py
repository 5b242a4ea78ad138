"""Figures and comparisons as text for a terminal."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure, Run
from trivet.experiment.compare import Compared, Comparison
from trivet.stats.sequential import FIRST_VERDICT

_BARS = " ▁▂▃▄▅▆▇█"
_TAIL = 0.001  # of the latencies on each side that the picture leaves out
MAX_DIFFERENCES = 20


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Columns of equal width, the first to the left and all others too; the last is as wide as it likes."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    return [
        indent
        + "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in rows
    ]


def figures_text(figures: Mapping[str, Figure]) -> list[str]:
    """One line for each figure: name, estimate, 95 % interval, unit, and what is to be said about it."""
    rows = [
        [name, number(figure.estimate), interval(figure.low, figure.high), figure.unit, figure.verdict]
        for name, figure in figures.items()
    ]
    return table(rows)


def comparison_text(comparison: Comparison) -> list[str]:
    """Effects with intervals and verdicts, then what else differs, then both distributions."""
    a, b = comparison.a, comparison.b
    lines = [f"B beside A:  A = {a.id} ({_what(a)})   B = {b.id} ({_what(b)})"]
    if comparison.paired:
        several = comparison.num_starts > 1
        starts = f"{comparison.num_starts} starts of each side, " if several else ""
        lines.append(
            f"{starts}{comparison.num_pairs} pairs of interleaved blocks; any wrong better or worse: in one comparison of a "
            "hundred"
        )
        what, option = ("starts", "--starts") if several else ("pairs", "--blocks")
        if (comparison.num_starts if several else comparison.num_pairs) < FIRST_VERDICT:
            lines.append(
                f"note: fewer than {FIRST_VERDICT} {what} cannot tell better from worse: measure again with more {option}"
            )
    lines += [f"note: {note}" for note in comparison.notes]
    rows = [["", "A", "B", "B / A", "95 %" if not comparison.paired else "interval", "verdict"]]
    rows += [_compared_row(figure) for figure in comparison.figures]
    lines += ["", *table(rows)]
    if comparison.differences:
        shown = comparison.differences[:MAX_DIFFERENCES]
        lines += ["", "environments differ in:", *(f"  {difference}" for difference in shown)]
        more = len(comparison.differences) - len(shown)
        lines += [f"  and {more} more: see --json"] if more else []
    return [*lines, "", *density_lines(comparison.latencies_ms)]


def density_lines(
    latencies_ms: tuple[NDArray[np.float64], NDArray[np.float64]], width: int = 60
) -> list[str]:
    """Both distributions on one logarithmic axis: how many latencies lie where, each line to its own highest bar."""
    if not all(len(sample) for sample in latencies_ms):
        return []
    samples = [np.maximum(sample, 1e-6) for sample in latencies_ms]
    low = min(float(np.quantile(sample, _TAIL)) for sample in samples)
    high = max(float(np.quantile(sample, 1 - _TAIL)) for sample in samples)
    edges = np.geomspace(low, max(high, low * 1.01), width + 1)
    lines = []
    for name, sample in zip("AB", samples, strict=True):
        counts = np.histogram(sample, edges)[0]
        levels = np.ceil(counts / max(1, counts.max()) * (len(_BARS) - 1)).astype(int)
        lines.append(f"  {name} {''.join(_BARS[level] for level in levels)}")
    left, right = f"{number(low)} ms", f"{number(high)} ms"
    return ["latency", *lines, f"    {left}{right.rjust(max(1, width - len(left)))}"]


def number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f"[{'-∞' if low is None else number(low)}, {'∞' if high is None else number(high)}]"


def _compared_row(figure: Compared) -> list[str]:
    a, b = f"{number(figure.a.estimate)} {figure.a.unit}", f"{number(figure.b.estimate)} {figure.b.unit}"
    if figure.effect is None:
        return [figure.name, a, b, "", "", f"cannot tell ({figure.note})" if figure.note else "cannot tell"]
    ratio = figure.effect.ratio
    bounds = f"[{ratio.low:.3f}, {'∞' if np.isinf(ratio.high) else f'{ratio.high:.3f}'}]"
    return [figure.name, a, b, f"{ratio.estimate:.3f}", bounds, figure.effect.verdict]


def _what(run: Run) -> str:
    return f"{run.service} {run.configuration_hash[:12]}".rstrip()
