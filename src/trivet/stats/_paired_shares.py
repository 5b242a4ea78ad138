"""The exact test behind `proportion.paired_difference`.

Of n rows, `gained` are right only in b and `lost` only in a: a draw from a trinomial distribution. What is asked is
d = P(gained) - P(lost); the share q = P(gained) + P(lost) of rows that differ is not known and does not matter. A
difference is refuted where outcomes as far above it as the one seen are improbable for every q that may be.
"""

import math

import numpy as np
from numpy.typing import NDArray

from trivet.stats._scipy import special

# Of the error allowed, this share goes to leaving out values of q: those far from what was seen would only blur.
_SHARE_FOR_Q = 0.04
_NUM_Q = 33
_PRECISION = 1e-3  # of a bound, in units of the standard deviation of the difference
_NEGLIGIBLE = 1e-13


def lowest_difference(gained: int, lost: int, n: int, tail: float) -> float:
    """The one-sided lower bound at level `tail`: with a smaller difference, what was seen is too improbable."""
    differing, estimate = gained + lost, (gained - lost) / n
    q_low, q_high = _bounds_of_q(differing, n, tail * _SHARE_FOR_Q)
    level = tail * (1 - _SHARE_FOR_Q)
    refuted, held = -1.0, estimate
    if not _is_refuted(refuted, gained, differing, n, level, q_low, q_high):
        return -1.0
    tolerance = _PRECISION * math.sqrt(differing + 1) / n
    while held - refuted > tolerance:
        middle = (refuted + held) / 2
        if _is_refuted(middle, gained, differing, n, level, q_low, q_high):
            refuted = middle
        else:
            held = middle
    return refuted


def _bounds_of_q(differing: int, n: int, error: float) -> tuple[float, float]:
    inverse = special("the interval of a difference of shares").betaincinv
    low = float(inverse(differing, n - differing + 1, error / 2)) if differing else 0.0
    high = float(inverse(differing + 1, n - differing, 1 - error / 2)) if differing < n else 1.0
    return low, high


def _is_refuted(d: float, gained: int, differing: int, n: int, level: float, low: float, high: float) -> bool:
    low = max(low, abs(d))
    if low > high:  # no q that may be allows such a difference
        return True
    seen = _statistic(np.array([gained]), np.array([differing]), n, d)[0]
    return bool((_tails(d, np.linspace(low, high, _NUM_Q), n, seen) <= level).all())


def _statistic(
    gained: NDArray[np.int64], differing: NDArray[np.int64], n: int, d: float
) -> NDArray[np.float64]:
    return np.asarray((2 * gained - differing - n * d) / _scale(differing, n, d), np.float64)


def _scale(differing: NDArray[np.int64], n: int, d: float) -> NDArray[np.float64]:
    """About the standard deviation of gained - lost at the difference d. Any choice is valid; this one is sharp."""
    scale: NDArray[np.float64] = np.sqrt(np.maximum(differing, n * abs(d)) - n * d * d + 1)
    return scale


def _tails(d: float, q: NDArray[np.float64], n: int, seen: float) -> NDArray[np.float64]:
    """P(statistic >= seen) where the true difference is d, for each share q of rows that differ."""
    scipy = special("the interval of a difference of shares")
    spread = 8 * np.sqrt(n * q * (1 - q)) + 40
    fewest, most = max(0, int((n * q - spread).min())), min(n, math.ceil((n * q + spread).max()))
    differing = np.arange(fewest, most + 1)
    log_binomial = (
        scipy.gammaln(n + 1)
        - scipy.gammaln(differing + 1)
        - scipy.gammaln(n - differing + 1)
        + scipy.xlogy(differing, q[:, np.newaxis])
        + scipy.xlog1py(n - differing, -q[:, np.newaxis])
    )
    # For each number of differing rows, the least number gained that lies as far out as what was seen.
    least = np.ceil((differing + n * d + seen * _scale(differing, n, d)) / 2 - 1e-9)
    gain_share = np.divide(q + d, 2 * q, out=np.full_like(q, 0.5), where=q > 0).clip(0, 1)
    beyond = scipy.bdtrc(np.clip(least - 1, 0, differing), differing, gain_share[:, np.newaxis])
    beyond = np.where(least <= 0, 1.0, np.where(least > differing, 0.0, beyond))
    tails: NDArray[np.float64] = (np.exp(log_binomial) * beyond).sum(axis=1) + _NEGLIGIBLE
    return tails
