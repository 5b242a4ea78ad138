"""A picture of a capacity plan: the load over time, and what the replicas bear."""

from pathlib import Path

import numpy as np

from trivet.errors import ExtraMissingError, UserError
from trivet.report.pictures.distributions import SUFFIXES
from trivet.simulate.plan_records import Plan

_SIZE_INCHES = (9.0, 4.0)
_LOAD, _CAPACITY = "#2c6fbb", "#d1603d"
_DAY_S, _HOUR_S, _MINUTE_S = 86_400.0, 3_600.0, 60.0


def draw_plan(plan: Plan, path: Path) -> None:
    """Write the picture as SVG or PNG, by the suffix.

    Raises: UserError: another suffix.  ExtraMissingError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--plot {path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise ExtraMissingError("a picture", "bench") from None
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    unit_s, unit = _unit(plan.line_s[-1] if plan.line_s else 0.0)
    axes.step(
        np.array(plan.line_s) / unit_s, plan.line_rps, where="post", color=_LOAD, linewidth=1, label="load"
    )
    replicas = plan.scenarios[0].replicas
    axes.axhline(
        plan.capacity_rps,
        color=_CAPACITY,
        label=f"{replicas:,} replica{'s' * (replicas != 1)} within the SLO",
    )
    for window in plan.windows:
        begin, end = window.begin_s / unit_s, (window.begin_s + window.length_s) / unit_s
        axes.axvspan(begin, end, color=_CAPACITY, alpha=0.3, linewidth=0.5)
    axes.set_ylim(0, 1.3 * max([plan.capacity_rps, *plan.line_rps]))  # room for the legend
    axes.set_xlabel(f"time, {unit}")
    axes.set_ylabel("requests a second")
    axes.set_title(plan.answer, fontsize="small", loc="left", wrap=True)
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)
    # Without a date and with ids that do not change, equal plans give equal bytes.
    with mpl.rc_context({"svg.hashsalt": "trivet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _unit(seconds: float) -> tuple[float, str]:
    if seconds > 2 * _DAY_S:
        return _DAY_S, "days"
    if seconds > 2 * _HOUR_S:
        return _HOUR_S, "hours"
    return (_MINUTE_S, "minutes") if seconds > 2 * _MINUTE_S else (1.0, "s")
