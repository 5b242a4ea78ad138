"""Latency of a run: its distribution with the tail, and how it went over time."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.experiment.figures import PERCENTILES
from trivet.experiment.measured import Measured
from trivet.report.look import LIGHT
from trivet.report.nines import distribution_points, nines, nines_axis
from trivet.report.numbers import bounds, number, percentile_word, value
from trivet.report.pictures.axes import log_scale
from trivet.report.pictures.plot import Cell, Missing, Plot, Shown, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NS_PER_MS, NS_PER_S = 1e6, 1e9
MIN_MS = 1e-3  # a logarithmic axis has no zero
_SLICE_REQUESTS = 100  # so that a slice of time has a p99 of its own
_MAX_SLICES = 60
_NUM_BINS = 30
_SHADES = (0.12, 0.25, 0.42, 0.62, 0.85)


def distribution(blocks: Sequence[Measured], figures: Mapping[str, Figure], slo_ms: float | None) -> Shown:
    """Share of results by latency, warm-up cut off as it was declared; percentiles as recorded, with their intervals."""
    latencies = _latencies_ms(blocks)
    if not len(latencies):
        return Missing("latency", "Latency", "no request got a result, so there is no latency to show.")
    known = {name: figures[name] for name in PERCENTILES if name in figures}
    rows: list[list[Cell]] = [
        [percentile_word(name), (value(figure), figure.estimate), bounds(figure), figure.verdict]
        for name, figure in known.items()
    ]

    def draw(canvas: "Canvas", narrow: bool) -> None:
        axes = canvas.subplots()
        axes.plot(
            *distribution_points(np.maximum(latencies, MIN_MS)), color=LIGHT["c1"], linewidth=1.8, zorder=2
        )
        _percentiles(axes, known)
        if slo_ms is not None:
            _slo_line(axes, slo_ms, float(np.sqrt(max(MIN_MS, latencies.min()) * latencies.max())))
        log_scale(axes, "x", (max(MIN_MS, float(latencies.min())), float(latencies.max())))
        nines_axis(axes, len(latencies))
        axes.set_xlabel("latency, ms")
        axes.set_ylabel("requests that took at most this long")

    slo_words = "" if slo_ms is None else f" The dashed line is the SLO, {number(slo_ms)} ms."
    return Plot(
        name="latency",
        title="Latency, to the last request",
        caption=f"{len(latencies):,} results. The vertical axis counts nines: each step up is a tail ten times as thin. "
        f"Bars are 95 % intervals of the percentiles.{slo_words}",
        alt="Cumulative distribution of latency on a logarithmic axis with the tail in nines: "
        + ", ".join(f"{percentile_word(name)} {value(figure)}" for name, figure in known.items()),
        draw=draw,
        table=Table(["percentile", "latency", "95 % interval", "remark"], rows),
    )


def over_time(blocks: Sequence[Measured]) -> Shown:
    """How many results had which latency when: darker is more; median and p99 of each slice as lines."""
    parts = [_timed(measured) for measured in blocks]
    begun = min((float(times[0]) for times, _ in parts if len(times)), default=0.0)
    times = np.concatenate([[], *(times for times, _ in parts)]) - begun
    latencies = np.concatenate([[], *(latencies for _, latencies in parts)])
    if len(times) < 2 * _SLICE_REQUESTS:
        return Missing(
            "over-time",
            "Latency over time",
            f"{len(times)} results are too few to see a course; measure longer (at least {2 * _SLICE_REQUESTS}).",
        )
    num = int(np.clip(len(times) // _SLICE_REQUESTS, 2, _MAX_SLICES))
    edges = np.linspace(0, float(times.max()) * (1 + 1e-9), num + 1)
    courses = _courses(times, latencies, edges)

    def draw(canvas: "Canvas", narrow: bool) -> None:
        axes = canvas.subplots()
        _shade(axes, times, latencies, edges)
        middles = (edges[1:] + edges[:-1]) / 2
        for colour, style, name, course in zip(
            (LIGHT["ink"], LIGHT["c2"]), ("-", "--"), ("p50", "p99"), courses, strict=True
        ):
            axes.plot(middles, course, color=colour, linestyle=style, linewidth=1.4, label=name)
        log_scale(axes, "y", (max(MIN_MS, float(latencies.min())), float(latencies.max())))
        axes.set_xlabel("seconds since the first measured request")
        axes.set_ylabel("latency, ms")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)

    rows: list[list[Cell]] = [
        [f"{begin:.1f} to {end:.1f} s", *(_ms_cell(course[i]) for course in courses)]
        for i, (begin, end) in enumerate(pairwise(edges))
    ]
    return Plot(
        name="over-time",
        title="Latency over time",
        caption="The stronger the colour, the more requests. A level course says that the run was steady; a stripe that "
        "climbs, that it was not.",
        alt=f"Latency of {len(times):,} results over {edges[-1]:.0f} seconds, with the course of p50 and p99",
        draw=draw,
        table=Table(["time", "p50", "p99"], rows),
    )


def _percentiles(axes: "Axes", known: Mapping[str, Figure]) -> None:
    for name, figure in known.items():
        height = float(nines(PERCENTILES[name]))
        if figure.low is not None or figure.high is not None:
            low = figure.estimate if figure.low is None else figure.low
            high = figure.estimate if figure.high is None else figure.high
            axes.hlines(height, max(low, MIN_MS), high, color=LIGHT["ink"], linewidth=3, alpha=0.45, zorder=3)
        axes.plot(figure.estimate, height, "o", color=LIGHT["c1"], markeredgecolor=LIGHT["paper"], zorder=4)
        axes.annotate(
            f"{percentile_word(name)} {value(figure)}",
            (figure.estimate, height),
            xytext=(8, -11),
            textcoords="offset points",
        )


def _slo_line(axes: "Axes", slo_ms: float, middle_ms: float) -> None:
    """With its words on the side where there is room."""
    is_left = slo_ms < middle_ms
    axes.axvline(slo_ms, color=LIGHT["bad"], linestyle="--", linewidth=1.2)
    axes.annotate(
        f" SLO {number(slo_ms)} ms ",
        (slo_ms, 0.02),
        xycoords=("data", "axes fraction"),
        ha="left" if is_left else "right",
        color=LIGHT["bad"],
    )


def _timed(measured: Measured) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds and latencies in ms of a block's results, in the order of intended times."""
    window = measured.window
    answered = window.words["outcome"].equal("ok", "late")
    order = np.argsort(window["intended_ns"][answered], kind="stable")
    return (
        window["intended_ns"][answered][order] / NS_PER_S,
        np.maximum(window.latency_ns()[answered][order] / NS_PER_MS, MIN_MS),
    )


def _courses(
    times: NDArray[np.float64], latencies: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """p50 and p99 of each slice; not a number where it has too few results for one."""
    slices = np.digitize(times, edges[1:-1])
    found = np.full((2, len(edges) - 1), np.nan)
    for i in range(len(edges) - 1):
        inside = latencies[slices == i]
        if len(inside) >= _SLICE_REQUESTS // 10:
            found[0, i] = np.quantile(inside, 0.5, method="inverted_cdf")
        if len(inside) >= _SLICE_REQUESTS // 2:
            found[1, i] = np.quantile(inside, 0.99, method="inverted_cdf")
    return found[0], found[1]


def _shade(
    axes: "Axes", times: NDArray[np.float64], latencies: NDArray[np.float64], edges: NDArray[np.float64]
) -> None:
    """A histogram in time and latency: cells of one shade are one path, which keeps the picture small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    bins = np.geomspace(latencies.min(), latencies.max() * (1 + 1e-9), _NUM_BINS + 1)
    counts = np.histogram2d(times, latencies, (edges, bins))[0]
    most = np.log1p(counts.max())
    shades = np.ceil(np.log1p(counts) / most * len(_SHADES)).astype(int)
    square = Path.unit_rectangle()
    corners = np.asarray(square.vertices, np.float64)
    for shade, alpha in enumerate(_SHADES, start=1):
        cells = [
            corners * [edges[i + 1] - edges[i], bins[j + 1] - bins[j]] + [edges[i], bins[j]]
            for i, j in np.argwhere(shades == shade)
        ]
        if cells:
            codes = np.tile(np.asarray(square.codes), len(cells))
            path = Path(np.concatenate(cells), codes)
            axes.add_patch(PathPatch(path, facecolor=LIGHT["c1"], alpha=alpha, linewidth=0))
    axes.set_xlim(0, float(edges[-1]))
    axes.set_ylim(float(bins[0]) * 0.9, float(bins[-1]) * 1.1)


def _latencies_ms(blocks: Sequence[Measured]) -> NDArray[np.float64]:
    return np.concatenate([np.array([]), *(measured.answered_ns() / NS_PER_MS for measured in blocks)])


def _ms_cell(latency_ms: float) -> Cell:
    return ("too few", None) if np.isnan(latency_ms) else (f"{number(latency_ms)} ms", float(latency_ms))
