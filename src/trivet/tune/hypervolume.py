"""How much of the balance a front covers: the volume between it and a reference point, with its interval.

Axes: log p99, -log of the largest rate, -accuracy; less is better on each. The reference is the default configuration,
half as bad again on each leg: 1.5 times its p99, its rate and its accuracy divided by 1.5. A trial beyond it on any leg
covers nothing.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, Trial
from trivet.tune.legs import ACCURACY, LATENCY, RATE, Source, comparable, figures_of, more_accurate_is_larger

REFERENCE_FACTOR = 1.5
NUM_RESAMPLES = 200
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


def hypervolume(
    trials: Sequence[Trial], goal: Goal, default: Trial, *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Figure | None:
    """What the trials together cover; None where the default has no latency or rate to start from.

    The interval is the basic bootstrap's over figures drawn from their own intervals: the best of noisy figures looks
    better than it is, and the basic interval takes that off again. Trials that give the same answers share their draw.
    Without an interval where a figure has none; `verdict` says which.
    Source: Davison & Hinkley (1997), section 2.4.
    """
    compared, source = comparable(trials)
    start = figures_of(default, source)
    if LATENCY not in start or RATE not in start:
        return None
    axes = [LATENCY, RATE, *([ACCURACY] if ACCURACY in start else [])]
    usable = [trial for trial in compared if all(name in figures_of(trial, source) for name in axes)]
    larger = more_accurate_is_larger(goal)
    reference = _reference(default, axes, source, larger)
    estimates = np.array([[figures_of(trial, source)[name].estimate for name in axes] for trial in usable])
    estimate = dominated_volume(_turned(estimates, larger), reference)
    if lacking := _without_interval(usable, axes, source):
        return Figure(estimate=estimate, unit="", verdict=f"no interval: {lacking} has none")
    rng = np.random.default_rng(seed)
    draws = _draws(usable, axes, source, rng, num_resamples)
    volumes = [dominated_volume(_turned(drawn, larger), reference) for drawn in draws]
    least, most = np.quantile(volumes, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = max(0.0, 2 * estimate - float(most)), 2 * estimate - float(least)
    return Figure(estimate=estimate, low=min(low, estimate), high=max(high, estimate), unit="")


def _area(points: Floats, reference: Floats) -> float:
    """Of two axes: steps down from left to right."""
    if not len(points):
        return 0.0
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    heights = reference[1] - np.minimum.accumulate(ordered[:, 1])
    return float((np.diff(ordered[:, 0], append=reference[0]) * heights).sum())


def _turned(values: Floats, larger_is_better: bool) -> Floats:
    """Figures (n, 2 or 3) as points whose axes are better the less they are."""
    sign = -1.0 if larger_is_better else 1.0
    columns = [np.log(values[:, 0]), -np.log(values[:, 1]), *(sign * values[:, 2:3].T)]
    return np.stack(columns, axis=1)


def _reference(default: Trial, axes: Sequence[str], source: Source, larger_is_better: bool) -> Floats:
    figures = figures_of(default, source)
    worse = {LATENCY: REFERENCE_FACTOR, RATE: 1 / REFERENCE_FACTOR}
    worse[ACCURACY] = 1 / REFERENCE_FACTOR if larger_is_better else REFERENCE_FACTOR
    values = np.array([[figures[name].estimate * worse[name] for name in axes]])
    return _turned(values, larger_is_better)[0]


def _without_interval(trials: Sequence[Trial], axes: Sequence[str], source: Source) -> str:
    for trial in trials:
        for name in axes:
            figure = figures_of(trial, source)[name]
            if figure.low is None and figure.high is None:
                return f"{name} of trial {trial.id}"
    return ""


def _draws(
    trials: Sequence[Trial], axes: Sequence[str], source: Source, rng: np.random.Generator, num: int
) -> Floats:
    """Shape (num, trials, axes): each figure anew within its interval."""
    shared: dict[Figure, Floats] = {}
    columns = []
    for trial in trials:
        figures = figures_of(trial, source)
        drawn = [_drawn(figures[name], rng, num, is_ratio=name != ACCURACY) for name in axes[:2]]
        for name in axes[2:]:
            figure = figures[name]
            if figure not in shared:
                shared[figure] = _drawn(figure, rng, num, is_ratio=False)
            drawn.append(shared[figure])
        columns.append(np.stack(drawn, axis=1))
    return np.stack(columns, axis=1)


def _drawn(figure: Figure, rng: np.random.Generator, num: int, *, is_ratio: bool) -> Floats:
    """A normal whose halves reach as far as the interval does on each side; on the scale of logarithms for ratios."""
    centre, low, high = figure.estimate, figure.low, figure.high
    if is_ratio:
        centre = math.log(centre)
        low = math.log(low) if low is not None and low > 0 else None
        high = math.log(high) if high is not None else None
    down = (centre - low) / _Z if low is not None else (high - centre) / _Z if high is not None else 0.0
    up = (high - centre) / _Z if high is not None else down
    z = rng.standard_normal(num)
    values = centre + z * np.where(z < 0, down, up)
    return np.exp(values) if is_ratio else values
