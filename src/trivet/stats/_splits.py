"""Where would one cut a series in two? The statistics behind `change_points`, without any judgement of the whole."""

import math

import numpy as np
from numpy.typing import NDArray

from trivet.stats import student_t


def energy_split(values: NDArray[np.float64], min_size: int) -> int:
    """The cut (index of the first value behind it) with the largest energy distance between both parts.

    n m / (n + m) * (2 mean|x - y| - mean|x - x'| - mean|y - y'|), means over pairs of different values.
    Args: values: shape (n,), n >= 2 * min_size, min_size >= 2.   Source: Matteson & James (2014), E-divisive.
    """
    num = len(values)
    distances = np.abs(np.subtract.outer(values, values))
    # Sums over the upper left square of each size; the others follow from it and the sums of whole rows.
    squares = np.diagonal(distances.cumsum(axis=0).cumsum(axis=1))
    rows = distances.sum(axis=1).cumsum()
    cuts = np.arange(min_size, num - min_size + 1)
    left, across = squares[cuts - 1], rows[cuts - 1] - squares[cuts - 1]
    right = distances.sum() - left - 2 * across
    sizes, others = cuts.astype(np.float64), (num - cuts).astype(np.float64)
    distance = 2 * across / (sizes * others) - left / (sizes * (sizes - 1)) - right / (others * (others - 1))
    return int(cuts[np.argmax(sizes * others / num * distance)])


def pettitt_split(values: NDArray[np.float64], min_size: int) -> tuple[int, float]:
    """The cut with the largest rank statistic |U|, and about the probability of one as large without a change.

    U(t) = 2 * (sum of the first t ranks) - t (n + 1);  p = 2 exp(-6 U^2 / (n^3 + n^2)).   Source: Pettitt (1979).
    """
    num = len(values)
    sums = np.cumsum(ranks(values))
    cuts = np.arange(min_size, num - min_size + 1)
    statistic = np.abs(2 * sums[cuts - 1] - cuts * (num + 1))
    best = int(np.argmax(statistic))
    return int(cuts[best]), min(1.0, 2 * math.exp(-6 * float(statistic[best]) ** 2 / (num**3 + num**2)))


def rank_sum_p_value(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """How probable a rank sum so far out is where both come from one distribution (normal approximation, two-sided).

    Source: Mann & Whitney (1947).
    """
    n, m = len(left), len(right)
    rank_sum = float(ranks(np.concatenate([left, right]))[:n].sum())
    deviation = abs(rank_sum - n * (n + m + 1) / 2) - 0.5
    return min(1.0, math.erfc(max(0.0, deviation) / math.sqrt(n * m * (n + m + 1) / 12) / math.sqrt(2)))


def welch_p_value(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """How probable means so far apart are where they are the same (Welch's t, two-sided). Sizes >= 2."""
    errors = np.array([left.var(ddof=1) / len(left), right.var(ddof=1) / len(right)])
    difference = abs(float(left.mean() - right.mean()))
    if errors.sum() == 0:
        return 1.0 if difference == 0 else 0.0
    degrees = float(errors.sum() ** 2 / (errors**2 / [len(left) - 1, len(right) - 1]).sum())
    return 2 * student_t.cdf(-difference / math.sqrt(float(errors.sum())), degrees)


def least_squares_cuts(values: NDArray[np.float64], penalty: float, min_size: int) -> list[int]:
    """The cuts that minimise the squared deviations from the parts' means plus `penalty` for each cut. Exact.

    The optimum is found over all segmentations; the pruning of PELT, which saves time on long series, is left out.
    Source: Killick, Fearnhead & Eckley (2012); the recursion: Jackson et al. (2005).
    """
    num = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    squares = np.concatenate([[0.0], np.cumsum((values - values.mean()) ** 2)])
    best = np.full(num + 1, math.inf)
    best[0] = -penalty
    previous = np.zeros(num + 1, np.int64)
    for end in range(min_size, num + 1):
        begins = np.arange(end - min_size + 1)
        costs = squares[end] - squares[begins] - (sums[end] - sums[begins]) ** 2 / (end - begins)
        totals = best[begins] + costs + penalty
        previous[end] = begins[np.argmin(totals)]
        best[end] = totals.min()
    cuts: list[int] = []
    end = num
    while (end := int(previous[end])) > 0:
        cuts.append(end)
    return cuts[::-1]


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for the smallest; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shared: NDArray[np.float64] = ends - (counts - 1) / 2
    return shared[inverse]
