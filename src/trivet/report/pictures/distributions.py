"""A picture of two runs: both distributions of latency, and the shift function between them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trivet.errors import ExtraMissingError, UserError
from trivet.experiment.compare import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".svg", ".png")
_TAIL = 0.0005  # of the latencies on each side that the picture leaves out
_NUM_POINTS = 400
_SIZE_INCHES = (8.0, 7.0)
_COLOURS = ("#2c6fbb", "#d1603d")


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture as SVG or PNG, by the suffix.

    Raises: UserError: another suffix, or nothing to draw.  ExtraMissingError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--plot {path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if not all(len(sample) for sample in comparison.latencies_ms):
        raise UserError("a run without rows has no distribution to draw")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise ExtraMissingError("a picture", "bench") from None
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    upper, lower = figure.subplots(2, 1)
    _distributions(upper, comparison)
    _shift(lower, comparison)
    # Without a date and with ids that do not change, equal runs give equal bytes.
    with mpl.rc_context({"svg.hashsalt": "trivet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _distributions(axes: "Axes", comparison: Comparison) -> None:
    """What share of requests took longer than a time: on logarithmic scales, where tails can be seen."""
    for name, run, sample, colour in zip(
        "AB", (comparison.a, comparison.b), comparison.latencies_ms, _COLOURS, strict=True
    ):
        shares = np.concatenate(
            [np.linspace(0, 0.99, _NUM_POINTS), 1 - np.geomspace(0.01, _TAIL, _NUM_POINTS)]
        )
        axes.plot(
            np.quantile(sample, shares), 1 - shares, color=colour, label=f"{name}: {run.service} {run.id}"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("share of requests that took longer")
    axes.legend()
    axes.grid(alpha=0.3)


def _shift(axes: "Axes", comparison: Comparison) -> None:
    """How much later (above 0) each quantile of B is than A's, with its interval."""
    axes.axhline(0, color="grey", linewidth=1)
    axes.set_xlabel("quantile")
    if not comparison.shifts:
        axes.set_ylabel("B - A, ms")
        axes.text(
            0.5,
            0.5,
            "no shift function: the runs were not interleaved",
            ha="center",
            transform=axes.transAxes,
        )
        return
    places = [shift.p for shift in comparison.shifts]
    middles = [shift.difference.estimate / 1e6 for shift in comparison.shifts]
    below = [(shift.difference.estimate - shift.difference.low) / 1e6 for shift in comparison.shifts]
    above = [(shift.difference.high - shift.difference.estimate) / 1e6 for shift in comparison.shifts]
    axes.errorbar(places, middles, yerr=[below, above], fmt="o-", color=_COLOURS[1], capsize=3)
    axes.set_ylabel("B - A, ms")
    axes.grid(alpha=0.3)
