"""Where does a warm-up end? MSER-5: cut as much as makes the mean of the rest surest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats.errors import EmptySampleError, TooFewError

BATCH = 5  # values to a batch mean: the 5 of MSER-5
MIN_BATCHES = 10
# What is left is at least a twentieth and five batches: the spread of fewer can be next to nothing by chance.
MIN_LEFT_SHARE, MIN_LEFT = 0.05, 5
ROUNDING = 1e-12  # of the first statistic: below it, cuts are equally good, and the earliest is taken


@dataclass(frozen=True, slots=True)
class SteadyState:
    """`start`: index of the first value to keep. `reached` is False where more than half would be cut."""

    start: int
    reached: bool


def mser5(values: ArrayLike) -> SteadyState:
    """The cut d that minimises sum over i >= d of (x_i - mean of those)^2 / (m - d)^2, x the m means of five values.

    On latencies, take their logarithms: one outlier is no warm-up. Values beyond the last whole batch have no say.

    Args: values: shape (n,), finite, in the order of time.
    Raises: EmptySampleError: n == 0.  TooFewError: n < 50.  ValueError: not finite, or not one row.
    Source: White (1997); White, Cobb & Spratt (2000).
    """
    series = np.asarray(values, np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise ValueError(f"a steady state is sought in one row of finite values, got shape {series.shape}")
    if not len(series):
        raise EmptySampleError("no values, so no steady state")
    if len(series) < BATCH * MIN_BATCHES:
        raise TooFewError(
            f"{len(series)} values are too few to see a warm-up end; at least {BATCH * MIN_BATCHES} are needed"
        )
    num_batches = len(series) // BATCH
    means = series[: num_batches * BATCH].reshape(num_batches, BATCH).mean(axis=1)
    statistics = _statistics(means)
    # A tail without any spread gives zero many times, up to rounding: all of it belongs to the steady state.
    cut = int(np.argmax(statistics <= statistics.min() + ROUNDING * statistics[0]))
    return SteadyState(start=cut * BATCH, reached=2 * cut <= num_batches)


def _statistics(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """One for each cut, from 0 on. Centred first, so that the sums of squares keep their digits."""
    num = len(means)
    most = num - max(MIN_LEFT, int(np.ceil(MIN_LEFT_SHARE * num)))
    centred = means - means.mean()
    left = num - np.arange(most + 1)
    sums = np.cumsum(centred[::-1])[::-1][: most + 1]
    squares = np.cumsum(centred[::-1] ** 2)[::-1][: most + 1]
    spreads: NDArray[np.float64] = np.maximum(0.0, squares - sums**2 / left) / left**2
    return spreads
