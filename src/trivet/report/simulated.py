"""A picture of a simulated run: what share of requests took longer than a time, and where the forecast's tail lies."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError, UserError
from trivet.stats.interval import Interval

SUFFIXES = (".svg", ".png")
_SIZE_INCHES = (8.0, 4.5)
_COLOUR = "#2c6fbb"
_MARKED = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.05, "latency_p99_ms": 0.01}


def draw_latencies(
    latencies_ms: NDArray[np.float64], figures: Mapping[str, Interval], slo_latency_ns: int | None, path: Path
) -> None:
    """Write the picture as SVG or PNG, by the suffix. Args: latencies_ms: of one run; figures: with their intervals.

    Raises: UserError: another suffix, or nothing to draw.  ExtraMissingError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--plot {path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if not len(latencies_ms):
        raise UserError("no request got a result: there are no latencies to draw")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise ExtraMissingError("a picture", "bench") from None
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    ordered = np.sort(latencies_ms)
    axes.plot(ordered, 1 - np.arange(len(ordered)) / len(ordered), color=_COLOUR, label="one simulated run")
    for name, share in _MARKED.items():
        if (one := figures.get(name)) is not None:
            axes.plot([one.low, one.high], [share, share], color=_COLOUR, linewidth=5, alpha=0.4)
            axes.annotate(
                f"{name.split('_')[1]} {one.estimate:.3g} ms",
                (one.high, share),
                (6, 4),
                textcoords="offset points",
            )
    if slo_latency_ns is not None:
        axes.axvline(slo_latency_ns / 1e6, color="grey", linestyle="--", label="SLO")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("share of requests that took longer")
    axes.legend()
    axes.grid(alpha=0.3)
    # Without a date and with ids that do not change, equal runs give equal bytes.
    with mpl.rc_context({"svg.hashsalt": "trivet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
