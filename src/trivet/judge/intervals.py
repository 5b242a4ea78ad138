"""Intervals of figures of accuracy. Rows are taken as independent of each other."""

from collections.abc import Callable
from statistics import NormalDist
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError
from trivet.stats import student_t
from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Interval

NUM_RESAMPLES = 1000
_AT_ONCE = 1 << 22  # drawn indices that are held in memory


def special(feature: str) -> ModuleType:
    """`scipy.special`, which holds the distributions. Raises: ExtraMissingError: scipy is not installed."""
    try:
        import scipy.special
    except ImportError:
        raise ExtraMissingError(feature, "bench") from None
    return scipy.special


def share(num_right: int, num: int, confidence: float) -> Interval:
    """A share of rows: Clopper-Pearson, which covers at least what it promises for every n.

    Raises: EmptySampleError: num == 0.   Source: Clopper & Pearson (1934).
    """
    if num == 0:
        raise EmptySampleError("no rows, so no share of them")
    inverse, tail = special("the interval of a share").betaincinv, (1 - confidence) / 2
    low = float(inverse(num_right, num - num_right + 1, tail)) if num_right else 0.0
    high = float(inverse(num_right + 1, num - num_right, 1 - tail)) if num_right < num else 1.0
    return Interval(num_right / num, low, high)


def mean(values: NDArray[np.float64], confidence: float) -> Interval:
    """A mean of values a row, of any size: Student's t.

    Raises: EmptySampleError: no row.  TooFewError: one.
    """
    _check(len(values))
    centre = float(values.mean())
    margin = student_t.quantile((1 + confidence) / 2, len(values) - 1) * float(values.std(ddof=1))
    return Interval(centre, centre - margin / len(values) ** 0.5, centre + margin / len(values) ** 0.5)


def root_mean_square(squares: NDArray[np.float64], confidence: float, rng: np.random.Generator) -> Interval:
    """The root of a mean of squares: BCa bootstrap of the mean, which is skewed as squares are.

    Raises: EmptySampleError, TooFewError: fewer than two rows.   Source: Efron (1987).
    """
    _check(len(squares))
    estimate = float(squares.mean())
    draws = resampled(lambda rows: squares[rows].mean(axis=1), len(squares), rng)
    gaps = squares - estimate
    spread = float((gaps**2).sum())
    acceleration = float((gaps**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    low, high = _bias_corrected(draws, estimate, acceleration, confidence)
    return Interval(estimate**0.5, low**0.5, high**0.5)


def resampled(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]], num: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The statistic of NUM_RESAMPLES samples drawn with replacement. It is given row indices, shape (some, num)."""
    size = max(1, _AT_ONCE // num)
    parts = [
        statistic(rng.integers(0, num, (min(size, NUM_RESAMPLES - done), num)))
        for done in range(0, NUM_RESAMPLES, size)
    ]
    return np.concatenate(parts)


def percentiles(draws: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _bias_corrected(
    draws: NDArray[np.float64], estimate: float, acceleration: float, confidence: float
) -> tuple[float, float]:
    below = (np.count_nonzero(draws < estimate) + np.count_nonzero(draws <= estimate)) / (2 * len(draws))
    normal = NormalDist()
    bias = normal.inv_cdf(float(np.clip(below, 1 / len(draws), 1 - 1 / len(draws))))  # of 0 there is none
    shifted = [bias + normal.inv_cdf(p) for p in ((1 - confidence) / 2, (1 + confidence) / 2)]
    low, high = np.quantile(draws, [normal.cdf(bias + z / (1 - acceleration * z)) for z in shifted])
    return float(low), float(high)


def _check(num: int) -> None:
    if num == 0:
        raise EmptySampleError("no rows, so no figure")
    if num == 1:
        raise TooFewError("one row has no spread, so its figure has no interval; at least 2 are needed")
