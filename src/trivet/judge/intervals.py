"""Intervals of figures of accuracy. Rows are taken as independent of each other."""

import numpy as np
from numpy.typing import NDArray

from trivet.stats import student_t
from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Interval

NUM_RESAMPLES = 1000
_AT_ONCE = 1 << 22  # drawn indices that are held in memory


def mean(
    values: NDArray[np.float64],
    confidence: float,
    rng: np.random.Generator,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """A mean of values a row: on each side the wider of Student's t and the studentized bootstrap.

    The bootstrap follows skewed values, as errors and their squares are, where Student's t falls short (85 % instead of
    95 % for ten squares); Student's t holds where there are too few rows to resample.
    Args: values: finite.  bounds: of any mean, which the interval keeps within.
    Raises: EmptySampleError: no row.  TooFewError: one.   Source: Efron & Tibshirani (1993), section 12.5.
    """
    num = len(values)
    if num == 0:
        raise EmptySampleError("no rows, so no figure")
    if num == 1:
        raise TooFewError("one row has no spread, so its figure has no interval; at least 2 are needed")
    centre, error = float(values.mean()), float(values.std(ddof=1)) / num**0.5
    t = student_t.quantile((1 + confidence) / 2, num - 1)
    low, high = -t, t
    draws = _resampled_t(values, centre, rng)
    if len(draws):
        low_draw, high_draw = percentiles(draws, confidence)
        low, high = min(low, low_draw), max(high, high_draw)
    # A resample above its centre stands for a sample above the truth: the sides change places.
    return Interval(centre, max(bounds[0], centre - high * error), min(bounds[1], centre - low * error))


def _resampled_t(values: NDArray[np.float64], centre: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(mean - centre) / standard error of each resample that has a spread."""
    num = len(values)
    size = max(1, _AT_ONCE // num)
    parts = []
    for done in range(0, NUM_RESAMPLES, size):
        sample = values[rng.integers(0, num, (min(size, NUM_RESAMPLES - done), num))]
        errors = sample.std(axis=1, ddof=1) / num**0.5
        spread = errors > 0
        parts.append((sample.mean(axis=1)[spread] - centre) / errors[spread])
    return np.concatenate(parts)


def percentiles(draws: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
