"""The mean of values in [0, 1], row by row, for as long as it takes: may be looked at after every row."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats.errors import EmptySampleError
from trivet.stats.interval import Interval

_PRECISION = 1e-6  # of a bound, relative
_LARGEST_BET = 0.5  # of what can be lost at most: a bettor that is ruined learns nothing more


class BoundedMean:
    """An interval for a mean that holds at all looks together with at least `confidence`.

    Nothing is assumed but that each value's mean, given those before it, is the same: so it is for rows drawn
    independently, and not where the traffic changes. Each possible mean is bet against, upwards and downwards with
    half of the capital each; those whose bettor grew rich are left out. Bets follow the variance seen so far, so that
    an error rate of 1 % is bounded with far fewer rows than one of 50 %.

    Args: confidence: in (0, 1).   Raises: ValueError: another confidence.
    Source: Waudby-Smith & Ramdas (2023), "Estimating means of bounded random variables by betting".
    """

    def __init__(self, confidence: float = 0.95) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}, must be in (0, 1)")
        self._log_ruin = math.log(2 / (1 - confidence))
        self._pieces = [np.empty(0)]
        self._low, self._high = 0.0, 1.0

    @property
    def num_values(self) -> int:
        return sum(map(len, self._pieces))

    def add(self, values: ArrayLike) -> None:
        """More rows, in the order in which they came. Raises: ValueError: outside of [0, 1]."""
        more = np.array(values, np.float64, ndmin=1)
        outside = ~((more >= 0) & (more <= 1))
        if outside.any():
            raise ValueError(f"values must be in [0, 1], got {more[outside][0]}")
        self._pieces.append(more)

    def interval(self) -> Interval:
        """The mean with its interval, which only ever shrinks. Raises: EmptySampleError: no value yet."""
        values = np.concatenate(self._pieces)
        self._pieces = [values]
        if not len(values):
            raise EmptySampleError("no values, so no mean")
        bets, estimate = _bets(values, self._log_ruin), float(values.mean())
        self._low = max(self._low, _lowest(values, bets, self._log_ruin))
        self._high = min(self._high, 1 - _lowest(1 - values, bets, self._log_ruin))
        low, high = min(self._low, self._high), max(self._low, self._high)
        return Interval(min(max(estimate, low), high), low, high)


def log_capital(values: NDArray[np.float64], bets: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """The log of who bets `bets` after each row that values lie above `mean`, shape (n,). Fair where `mean` is the mean."""
    limited = np.minimum(bets, _LARGEST_BET / mean) if mean > 0 else bets
    capital: NDArray[np.float64] = np.cumsum(np.log1p(limited * (values - mean)))
    return capital


def _bets(values: NDArray[np.float64], log_ruin: float) -> NDArray[np.float64]:
    """What is bet on each row, from the rows before it alone: the larger the variance, the less."""
    counts = np.arange(1, len(values) + 1)
    means = (0.5 + np.cumsum(values)) / (counts + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (counts + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    bets: NDArray[np.float64] = np.sqrt(2 * log_ruin / (before * counts * np.log1p(counts)))
    return bets


def _lowest(values: NDArray[np.float64], bets: NDArray[np.float64], log_ruin: float) -> float:
    """The lower bound: all means below it were refuted by who bets upwards, each at some row."""
    # Capital falls as the mean doubted grows, limited bets or not: the bound is where it crosses, by bisection.
    refuted, held = 0.0, float(values.mean())
    if log_capital(values, bets, refuted).max() < log_ruin:
        return 0.0
    while held - refuted > _PRECISION * held:
        middle = (refuted + held) / 2
        if log_capital(values, bets, middle).max() >= log_ruin:
            refuted = middle
        else:
            held = middle
    return refuted
