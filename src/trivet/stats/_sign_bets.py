"""Evidence against symmetry about a centre: a bet on the sign of each difference, sized by its magnitude.

Both sides of a pair are alike and their order is drawn by a fair coin: then the sign of the pair's difference is a
fair coin too, whatever the noise is: skewed, with heavy tails, drifting, different in each pair. Capital that is bet
on the sign at fair odds stays at 1 in expectation, and passes 1 / alpha at any time with a probability of at most
alpha (Ville). Nothing here is an approximation for many pairs, and that is the point: at 10 pairs those are wrong.
The price is that one pair at most doubles the capital: what is to be wrong once in 200 needs at least 8 pairs.

Source: Ramdas, Ruf, Larsson & Koolen (2020), "Admissible anytime-valid sequential inference must rely on nonnegative
martingales", section on symmetric distributions; the bet tanh is the likelihood ratio of two normal distributions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Bettor(NamedTuple):
    """Bets tanh(slope * u) of its capital on a sign, with u the magnitude over the median of those so far."""

    capital: float
    slope: float
    # Beyond it nothing is bet: a pair so far out speaks of a hiccup of the machine, not of the two sides.
    farthest: float


# For effects far below, about, and well above the noise of a pair. The shares were set on simulated normal and
# Student t3 noise (docs/benchmarks/comparisons.md); whatever they are, the promise holds.
BETTORS = (Bettor(0.2, 0.4, 5.0), Bettor(0.4, 1.1, 4.0), Bettor(0.4, 2.5, 3.0))


def log_evidence(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log of the capital after each pair of who bets that deviations lie above 0.

    Args: deviations: shape (..., n), differences minus the centre that is doubted, in the order of the pairs.
    Returns: shape (..., n). For the bet on "below" negate the deviations.
    """
    magnitudes = np.abs(deviations)
    medians = np.empty_like(magnitudes)
    for i in range(magnitudes.shape[-1]):
        medians[..., i] = np.median(magnitudes[..., : i + 1], axis=-1)
    return total(np.cumsum(log_growth(deviations, medians), axis=-1))


def log_growth(deviations: NDArray[np.float64], medians: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log of how many times a pair multiplies each bettor's capital, shape (bettors, ...).

    Args: deviations: of pairs, shape (...).  medians: of the magnitudes up to and with each pair, the same shape.
    """
    # Where the median is 0, most differences were exactly the centre, and the others are no measure of anything.
    with np.errstate(over="ignore"):  # so far out, nobody bets
        scaled = np.divide(np.abs(deviations), medians, out=np.zeros_like(medians), where=medians > 0)
        bets = [np.where(scaled <= one.farthest, np.tanh(one.slope * scaled), 0) for one in BETTORS]
    growth: NDArray[np.float64] = np.log1p(np.sign(deviations) * np.stack(bets))
    return growth


def total(grown: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log of all capital, from how far (in logs) each bettor's has grown. Args: shape (bettors, ...)."""
    shares = np.log([one.capital for one in BETTORS]).reshape(-1, *([1] * (grown.ndim - 1)))
    capital: NDArray[np.float64] = np.logaddexp.reduce(shares + grown, axis=0)
    return capital
