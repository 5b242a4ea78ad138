"""How much of the balance a front covers: the volume between it and a reference point, with its interval.

Axes: log p99, -log of the largest rate, -accuracy; less is better on each. The reference is the default configuration,
half as bad again on each leg: 1.5 times its p99, its rate and its accuracy divided by 1.5. A trial beyond it on any leg
covers nothing.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, Trial
from trivet.tune.legs import ACCURACY, LATENCY, RATE, comparable, figures_of, more_accurate_is_larger

REFERENCE_FACTOR = 1.5
CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
Floats = NDArray[np.float64]


def dominated_volume(points: ArrayLike, reference: ArrayLike) -> float:
    """The volume of all that is worse than some point and better than the reference; less is better on each axis. Exact.

    Args: points: shape (n, d), d of 2 or 3.  reference: shape (d,).
    Raises: ValueError: other shapes.   Source: Fonseca, Paquete & López-Ibáñez (2006), slices along one axis.
    """
    corner = np.asarray(reference, np.float64)
    given = np.asarray(points, np.float64).reshape(-1, len(corner))
    if len(corner) not in (2, 3):
        raise ValueError(f"a volume of {len(corner)} legs; 2 or 3 are meant")
    inside = given[(given < corner).all(axis=1)]
    if len(corner) == 2:
        return _area(inside, corner)
    ordered = inside[np.argsort(inside[:, 2], kind="stable")]
    depths = np.diff(ordered[:, 2], append=corner[2])
    return float(sum(_area(ordered[: i + 1, :2], corner[:2]) * depths[i] for i in np.flatnonzero(depths > 0)))


def hypervolume(trials: Sequence[Trial], goal: Goal, default: Trial) -> Figure | None:
    """What the trials together cover; None where the default has no latency or rate to start from.

    The best of many noisy figures looks better than it is, and no resampling of them finds out by how much where several
    are about as good. So all figures are moved to the worse, and to the better, ends of intervals that hold for all of
    them together: the volume only grows when a figure gets better, so the truth lies between the two volumes.
    Without an interval where a figure has none; `verdict` says which.
    Source: Šidák (1967), whose bound holds however normal figures depend on each other.
    """
    compared, source = comparable(trials)
    start = figures_of(default, source)
    if LATENCY not in start or RATE not in start:
        return None
    axes = [LATENCY, RATE, *([ACCURACY] if ACCURACY in start else [])]
    usable = [figures_of(trial, source) for trial in compared]
    usable = [figures for figures in usable if all(name in figures for name in axes)]
    larger = more_accurate_is_larger(goal)
    reference = _reference(start, axes, larger)

    def volume(reach: float) -> float:
        return dominated_volume([_point(figures, axes, larger, reach) for figures in usable], reference)

    if lacking := _without_interval(usable, axes):
        return Figure(estimate=volume(0.0), unit="", verdict=f"no interval: {lacking} has none")
    distinct = {(name, figures[name]) for figures in usable for name in axes}
    together = NormalDist().inv_cdf((1 + CONFIDENCE ** (1 / len(distinct))) / 2) / _Z
    return Figure(estimate=volume(0.0), low=volume(-together), high=volume(together), unit="")


def _area(points: Floats, reference: Floats) -> float:
    """Of two axes: steps down from left to right."""
    if not len(points):
        return 0.0
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    heights = reference[1] - np.minimum.accumulate(ordered[:, 1])
    return float((np.diff(ordered[:, 0], append=reference[0]) * heights).sum())


def _point(
    figures: Mapping[str, Figure], axes: Sequence[str], larger_is_better: bool, reach: float
) -> list[float]:
    """A trial as a point, each figure moved by so many times its interval's half: up is better, 0 the estimate."""
    return [_coordinate(name, figures[name], larger_is_better, reach) for name in axes]


def _coordinate(name: str, figure: Figure, larger_is_better: bool, reach: float) -> float:
    up_is_better = name == RATE or (name == ACCURACY and larger_is_better)
    goes_up = (reach > 0) == up_is_better
    if name == ACCURACY:
        moved = figure.estimate + abs(reach) * _half(figure, goes_up, is_ratio=False)
        return -moved if larger_is_better else moved
    moved = math.log(figure.estimate) + abs(reach) * _half(figure, goes_up, is_ratio=True)
    return -moved if name == RATE else moved


def _half(figure: Figure, goes_up: bool, *, is_ratio: bool) -> float:
    """From the estimate to one end, with its sign; as far as the other end where that one is not known."""

    def distance(bound: float | None) -> float | None:
        if bound is None or (is_ratio and bound <= 0):
            return None
        return math.log(bound / figure.estimate) if is_ratio else bound - figure.estimate

    up, down = distance(figure.high), distance(figure.low)
    if goes_up:
        return up if up is not None else -(down or 0.0)
    return down if down is not None else -(up or 0.0)


def _reference(start: Mapping[str, Figure], axes: Sequence[str], larger_is_better: bool) -> Floats:
    """The default, worse by the factor on each leg."""
    worse = {LATENCY: REFERENCE_FACTOR, RATE: 1 / REFERENCE_FACTOR}
    worse[ACCURACY] = 1 / REFERENCE_FACTOR if larger_is_better else REFERENCE_FACTOR
    moved = {name: Figure(estimate=start[name].estimate * worse[name], unit="") for name in axes}
    return np.array(_point(moved, axes, larger_is_better, 0.0))


def _without_interval(trials: Sequence[Mapping[str, Figure]], axes: Sequence[str]) -> str:
    for figures in trials:
        for name in axes:
            if figures[name].low is None and figures[name].high is None:
                return f"a {name} of {figures[name].estimate:.4g}"
    return ""
