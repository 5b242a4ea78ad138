"""Tables of a comparison, and its figures beside the goals with a verdict: met, missed, or cannot tell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks._records import Comparison
from trivet.stats.interval import Interval, Ratio

NO_PEER = "not measured: a side is missing"
NO_BLOCK = "No block is valid, so there is no figure."


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise: a figure with its interval, and the bound that it must keep.

    `figure` is None where it was not measured; `reason` says why. Exactly one of the bounds is given.
    """

    what: str
    figure: Interval | Ratio | None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    reason: str = NO_PEER

    def verdict(self) -> str:
        """Met or missed where the whole interval says so."""
        if self.figure is None:
            return self.reason
        low, high = self.figure.low, self.figure.high
        if self.at_least is not None:
            return "met" if low >= self.at_least else "missed" if high < self.at_least else "cannot tell"
        if self.at_most is None:
            raise ValueError(f"{self.what}: a goal needs a bound")
        return "met" if high <= self.at_most else "missed" if low > self.at_most else "cannot tell"

    def bound(self) -> str:
        value = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return f"{value} {self.unit}".rstrip()

    def shown(self) -> str:
        if self.figure is None:
            return "–"
        if self.figure.low == self.figure.high:
            return f"{self.figure.estimate:,.4g} {self.unit}".rstrip()
        low, high = self.figure.low, self.figure.high
        return f"{self.figure.estimate:,.4g} [{low:,.4g}, {high:,.4g}] {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison says: tables for a reader, goals for a verdict."""

    comparison: Comparison
    tables: Sequence[str]
    goals: Sequence[Goal]

    def __str__(self) -> str:
        parts = [self.comparison.preface(), *self.tables]
        if self.comparison.is_empty():
            parts = [self.comparison.preface(), NO_BLOCK]
        if self.goals:
            parts.append(goal_table(self.goals))
        return "\n\n".join(parts)


def count_goal(what: str, counts: Sequence[float]) -> Goal:
    """A promise that something never happens: a count has no interval."""
    total = sum(counts)
    return Goal(what, Interval(total, total, total), at_most=0)


def goal_table(goals: Iterable[Goal]) -> str:
    """Every goal with its figure [95 % interval] and its verdict."""
    rows = [[goal.what, goal.bound(), goal.shown(), f"**{goal.verdict()}**"] for goal in goals]
    return markdown_table(["goal", "bound", "figure [95 %]", "verdict"], rows)


def comparison_table(
    comparison: Comparison, metric: str, base: str, *, unit: str = "", scale: float = 1
) -> str:
    """Each side's spread over the blocks, and its ratio to `base` with the 95 % interval; largest median first.

    `scale` divides the values: 1e6 for ns shown as ms. Sides that lack the metric are left out; without `base` among
    the rest there is no ratio.
    """
    if comparison.is_empty():
        return NO_BLOCK
    medians, rows = {}, {}
    has_base = base in comparison.sides() and comparison.has(base, metric)
    for side in comparison.sides():
        if not comparison.has(side, metric):
            continue
        values = np.array(comparison.values(side, metric)) / scale
        medians[side] = float(np.median(values))
        spread = [f"{figure:,.4g}" for figure in (values.min(), medians[side], values.max())]
        rows[side] = [side, *spread]
        if has_base:
            rows[side].append("1" if side == base else shown_ratio(comparison, side, base, metric))
    header = [metric + (f", {unit}" if unit else ""), "least", "median", "most"]
    header += [f"ratio to {base} [95 %]"] if has_base else []
    return markdown_table(header, [rows[side] for side in sorted(rows, key=lambda side: -medians[side])])


def shown_ratio(comparison: Comparison, side: str, base: str, metric: str) -> str:
    """The ratio, or a dash where a value of 0 has none."""
    if min(*comparison.values(side, metric), *comparison.values(base, metric)) <= 0:
        return "–"
    return str(comparison.ratio(side, base, metric))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column is text and whose others are figures, to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
