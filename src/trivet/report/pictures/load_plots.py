"""Latency and goodput against offered load: the knee, from runs that offered several rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trivet.catalog.records import Figure
from trivet.experiment.measured import Measured
from trivet.load.figures import Window, window
from trivet.report.look import LIGHT
from trivet.report.numbers import number, whole
from trivet.report.pictures.axes import log_scale
from trivet.report.pictures.plot import Cell, Missing, Plot, Shown, Table
from trivet.spec.levers import Slo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NS_PER_MS = 1e6
_SAME_RATE = 1.05  # rates closer than this are one rate
_NO_SLO_NS = 1 << 62  # every result is within it


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one offered rate gave. latency_ms: at the SLO's percentile; None: what stands there got no result."""

    rate_rps: float
    latency_ms: float | None
    attainment: float
    goodput_rps: float
    holds: bool


def against_load(
    blocks: Sequence[Measured], slo_ms: float | None, percentile: float, knee: Figure | None
) -> Shown:
    """Each block is a rate that was tried. Args: percentile: in percent."""
    found = _loads(blocks, slo_ms, percentile)
    rates = [load.rate_rps for load in found]
    if len(rates) < 2 or max(rates) < _SAME_RATE * min(rates):
        return Missing(
            "load",
            "Latency against offered load",
            "one rate was offered. `trivet bench SERVICE --scenario ramp --slo p99:50ms` finds the knee.",
        )
    named = f"p{percentile:g} latency"
    rows: list[list[Cell]] = [
        [
            (number(load.rate_rps), load.rate_rps),
            ("none in time", None)
            if load.latency_ms is None
            else (f"{number(load.latency_ms)} ms", load.latency_ms),
            (f"{load.attainment:.2%}", load.attainment),
            (number(load.goodput_rps), load.goodput_rps),
            "holds" if load.holds else "broken",
        ]
        for load in found
    ]

    def draw(canvas: "Canvas", narrow: bool) -> None:
        upper, lower = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _latency(upper, found, slo_ms)
        upper.set_ylabel(f"{named}, ms")
        everything = np.geomspace(min(rates), max(rates), 60)
        lower.plot(everything, everything, color=LIGHT["muted"], linewidth=1)
        lower.plot(rates, [load.goodput_rps for load in found], "o", color=LIGHT["c3"], markersize=4.5)
        log_scale(lower, "x", (min(rates), max(rates)))
        lower.set_ylabel("goodput /s")
        lower.set_xlabel("offered load, requests/s")
        for axes in (upper, lower):
            _knee_band(axes, knee)
        if knee is not None:
            upper.annotate(
                f" knee {whole(knee)}", (knee.estimate, 1.02), xycoords=("data", "axes fraction"), ha="center"
            )

    knee_words = "" if knee is None else f" The knee is {whole(knee)}: the shaded band is its interval."
    return Plot(
        name="load",
        title="Latency against offered load",
        caption=f"Each dot is a rate that was offered; hollow where the SLO did not hold.{knee_words} "
        "Below, goodput follows the line as long as everything offered is answered in time.",
        alt=f"{named} and goodput at {len(rates)} offered rates from {number(min(rates))} to {number(max(rates))} a second",
        draw=draw,
        table=Table(["offered /s", named, "within the SLO", "goodput /s", "SLO"], rows),
        heights=(5.0, 4.6),
    )


def _loads(blocks: Sequence[Measured], slo_ms: float | None, percentile: float) -> list[Loaded]:
    slo_ns = _NO_SLO_NS if slo_ms is None else round(slo_ms * NS_PER_MS)
    slo = Slo(percentile=percentile, latency_ns=slo_ns)
    found = []
    for measured in blocks:
        rows = measured.window
        if rows.num_rows < 2:
            continue
        begin = measured.record.measured_from_ns
        seen = window(rows, begin, int(rows["intended_ns"].max()) + 1 - begin, slo)
        found.append(_loaded(seen, percentile))
    return sorted(found, key=lambda load: load.rate_rps)


def _loaded(seen: Window, percentile: float) -> Loaded:
    return Loaded(
        rate_rps=seen.offered_rps,
        latency_ms=None if seen.latency_ns < 0 else seen.latency_ns / NS_PER_MS,
        attainment=seen.attainment,
        goodput_rps=seen.goodput_rps,
        holds=seen.attainment >= percentile / 100,
    )


def _latency(axes: "Axes", found: Sequence[Loaded], slo_ms: float | None) -> None:
    answered = [load for load in found if load.latency_ms is not None]
    for holds in (True, False):
        part = [load for load in answered if load.holds == holds]
        axes.plot(
            [load.rate_rps for load in part],
            [load.latency_ms or 0 for load in part],
            "o",
            markerfacecolor=LIGHT["c1"] if holds else LIGHT["paper"],
            markeredgecolor=LIGHT["c1"],
            markersize=5.5,
        )
    heights = [load.latency_ms for load in answered if load.latency_ms is not None]
    if slo_ms is not None:
        axes.axhline(slo_ms, color=LIGHT["bad"], linestyle="--", linewidth=1.2)
        axes.annotate(
            f"SLO {number(slo_ms)} ms",
            (0.01, slo_ms),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            color=LIGHT["bad"],
        )
        heights.append(slo_ms)
    # What stands at the percentile got no result: above every latency that was seen.
    top = max(heights, default=1.0) * 1.6
    lost = [load.rate_rps for load in found if load.latency_ms is None]
    axes.plot(lost, np.full(len(lost), top), "^", color=LIGHT["bad"], markersize=6, label="no result in time")
    if lost:
        axes.legend(loc="upper left")
    log_scale(axes, "y", (min(heights, default=0.5), top))


def _knee_band(axes: "Axes", knee: Figure | None) -> None:
    if knee is None:
        return
    if knee.low is not None and knee.high is not None:
        axes.axvspan(knee.low, knee.high, color=LIGHT["c2"], alpha=0.22, linewidth=0)
    axes.axvline(knee.estimate, color=LIGHT["c2"], linewidth=1.2)
