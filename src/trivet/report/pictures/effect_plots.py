"""What each lever does: the ratio that a figure changes by, with its interval."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trivet.catalog.records import Figure
from trivet.catalog.study import LeverEffect
from trivet.report.look import LIGHT
from trivet.report.numbers import label, lever_value, lever_word, percent_change, ratio, short
from trivet.report.pictures.axes import shortened
from trivet.report.pictures.plot import Cell, Missing, Plot, Shown, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MAX_EFFECTS = 24  # of one figure: the largest
_LOWEST = 0.02  # ratios beyond these are drawn at the edge
_HIGHEST = 50.0
# Changes that read well, the ones to keep first where there is little room.
_TICKS = (
    *(0.1, 10.0, 0.5, 2.0, 5.0, 0.2, 1.5, 0.8, 1.2, 0.9, 1.1, 3.0, 20.0, 0.05),
    *(1.3, 1.7, 0.7, 1.05, 0.95, 1.02, 0.98, 1.01, 0.99),
)
_MARKS = {"yes": "c1", "no": "muted", "cannot tell": "muted"}


def effects(found: Sequence[LeverEffect]) -> list[Shown]:
    """One picture for each figure that effects are known of."""
    if not found:
        why = "the study ended before any lever's effect was known, or nothing was there to vary."
        return [Missing("effects", "What each lever does", why)]
    names = list(dict.fromkeys(effect.figure for effect in found))
    return [_one(name, [effect for effect in found if effect.figure == name]) for name in names]


def told(effect: LeverEffect, limit: int = 200) -> str:
    """`threads: 1 → 2`; two levers that act together are joined by ×."""
    is_nested = bool(effect.from_to) and isinstance(effect.from_to[0], list | tuple)
    pairs = effect.from_to if is_nested else [effect.from_to]
    parts = []
    for name, pair in zip(effect.levers, pairs, strict=False):
        ends = [lever_value(name, end) for end in pair]
        parts.append(f"{lever_word(name)}: {' → '.join(ends)}")
    return shortened(" × ".join(parts), limit)


def _one(name: str, found: Sequence[LeverEffect]) -> Plot:
    ordered = sorted(found, key=lambda effect: (len(effect.levers), -abs(_log(effect.effect.estimate))))
    shown = ordered[:MAX_EFFECTS]
    rows: list[list[Cell]] = [
        [told(effect), (ratio(effect.effect), effect.effect.estimate), effect.matters, effect.effect.verdict]
        for effect in ordered
    ]
    heights = [1.0 + each * len(shown) for each in (0.3, 0.42)]
    matters = [told(effect) for effect in ordered if effect.matters == "yes"]
    return Plot(
        name=f"effect-{name.replace('_', '-')}",
        title=f"What each lever does: {label(name)}",
        caption="A dot is a change of one lever, all others as recommended; a square (×) is what two levers do only "
        "together, beyond what each does alone. Lines are 95 % intervals. Filled: it matters; hollow: it does not, or "
        "nobody can tell (the table says which).",
        alt=f"Effects of levers on {label(name)}: "
        + (", ".join(matters) + " matter" if matters else "none matters for certain"),
        draw=lambda canvas, narrow: _draw(canvas, shown, name, narrow=narrow),
        table=Table(["change", f"effect on {label(name)}", "does it matter?", "remark"], rows),
        heights=(heights[0], heights[1]),
    )


def _draw(canvas: "Canvas", shown: Sequence[LeverEffect], name: str, *, narrow: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes = canvas.subplots()
    axes.axvline(1, color=LIGHT["muted"], linewidth=1)
    for row, effect in enumerate(shown):
        _mark(axes, row, effect)
    ends = [end for effect in shown for end in map(_clipped, _ends(effect.effect))]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks(min(ends), max(ends), 5 if narrow else 9)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda times, _: _tick(times)))
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"], length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"change of {short(name)}")
    if narrow:  # words above each mark: beside it there is no room for them
        axes.set_yticks([])
        for row, effect in enumerate(shown):
            ground = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 0.5}
            where = axes.get_yaxis_transform()
            axes.text(0, row - 0.42, told(effect, 48), transform=where, va="center", bbox=ground)
        axes.set_ylim(len(shown) - 0.6, -0.8)
    else:
        axes.set_yticks(range(len(shown)), [told(effect, 70) for effect in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)


def _mark(axes: "Axes", row: int, effect: LeverEffect) -> None:
    colour = LIGHT[_MARKS[effect.matters]]
    low, high = map(_clipped, _ends(effect.effect))
    axes.hlines(row, low, high, color=colour, linewidth=1.6)
    axes.plot(
        _clipped(effect.effect.estimate),
        row,
        "o" if len(effect.levers) == 1 else "s",
        markersize=7,
        markerfacecolor=colour if effect.matters == "yes" else LIGHT["paper"],
        markeredgecolor=colour,
    )


def ticks(low: float, high: float, most: int) -> list[float]:
    """No change, and round changes around it, at most so many and evenly far apart in what they multiply by."""
    span = math.log(max(high, 1.0) / min(low, 1.0))
    kept = [1.0]
    for tick in _TICKS:
        is_inside = min(low, 1.0) <= tick <= max(high, 1.0)
        if is_inside and all(abs(math.log(tick / other)) >= span / most for other in kept):
            kept.append(tick)
    return sorted(kept)


def _ends(figure: Figure) -> tuple[float, float]:
    return (
        _LOWEST if figure.low is None else figure.low,
        _HIGHEST if figure.high is None else figure.high,
    )


def _clipped(times: float) -> float:
    return min(max(times, _LOWEST), _HIGHEST)


def _log(times: float) -> float:
    return math.log(_clipped(times))


def _tick(times: float) -> str:
    if times >= 3 or times <= 1 / 3:
        return f"× {times:.2g}"
    return "none" if abs(times - 1) < 1e-9 else f"{percent_change(times).removesuffix('.0')} %"
