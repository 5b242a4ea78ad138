"""What several pictures share: scales that fit, and intervals drawn as dots with whiskers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trivet.catalog.records import Figure
from trivet.report.look import LIGHT
from trivet.report.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_FROM = 8.0  # times: values further apart than this are shown on a logarithmic scale
WHISKER = 1.2  # points


def scale(axes: "Axes", direction: str, values: Sequence[float]) -> None:
    """Logarithmic where positive values are far apart, with numbers that people read."""
    from matplotlib.ticker import FuncFormatter

    known = [value for value in values if np.isfinite(value)]
    if known and min(known) > 0 and max(known) / min(known) >= LOG_FROM:
        log_scale(axes, direction, (min(known), max(known)))
    else:
        (axes.xaxis if direction == "x" else axes.yaxis).set_major_formatter(FuncFormatter(_plain))


def log_scale(axes: "Axes", direction: str, ends: tuple[float, float]) -> None:
    """1, 2, 5 of each decade as plain numbers; fewer where there are many decades, none between them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    (axes.set_xscale if direction == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if direction == "x" else axes.yaxis
    decades = np.log10(ends[1] / ends[0]) if ends[0] > 0 else 0.0
    axis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.2 else (1.0, 3.0) if decades < 4 else (1.0,))
    )
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_plain))


def percent_axis(axes: "Axes", direction: str) -> None:
    """Shares of one as percent."""
    from matplotlib.ticker import FuncFormatter

    axis = axes.xaxis if direction == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.4g} %"))


def whiskers(
    axes: "Axes", xs: Sequence[float], figures: Sequence[Figure], *, colour: str, horizontal: bool = False
) -> None:
    """The interval of each figure as a line through it; one without a bound on a side ends at the estimate there."""
    for x, figure in zip(xs, figures, strict=True):
        low = figure.estimate if figure.low is None else figure.low
        high = figure.estimate if figure.high is None else figure.high
        draw = axes.hlines if horizontal else axes.vlines
        draw(x, low, high, color=colour, linewidth=WHISKER, zorder=2)


def dots(
    axes: "Axes",
    names: Sequence[str],
    series: Sequence[tuple[str, str, str, Sequence[Figure | None]]],
) -> None:
    """Horizontal dots with intervals, a row for each name; series: label, colour, marker, a figure for each name."""
    num = len(series)
    for index, (label, colour, marker, figures) in enumerate(series):
        shift = 0.0 if num == 1 else 0.56 * (index / (num - 1) - 0.5)
        places = [row + shift for row, figure in enumerate(figures) if figure is not None]
        known = [figure for figure in figures if figure is not None]
        whiskers(axes, places, known, colour=colour, horizontal=True)
        axes.plot(
            [figure.estimate for figure in known],
            places,
            linestyle="none",
            marker=marker,
            markersize=6,
            color=colour,
            markeredgecolor=LIGHT["paper"],
            label=label,
            zorder=3,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"], length=0)
    axes.grid(axis="y", visible=False)


def shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _plain(value: float, position: object) -> str:
    return number(value)
