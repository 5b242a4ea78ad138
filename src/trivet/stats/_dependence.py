"""How many requests count as one? The dependence of "slower than u" along a run, for u at and below a percentile.

A queue that is full now is full a moment later, so requests over a high latency come in clusters, and the share of
them varies as if there were fewer requests, by the factor D = (long-run variance of the indicator) / (s (1 - s)),
with s the share above u. Few clusters reach a high percentile, so D there is hardly known from what happens there
alone. But queues under load are alike: the work in them moves like a Brownian motion reflected at zero, and for that
D(s) = D(0) g(s) with g known. Lower levels are crossed much more often, and tell of the higher ones.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.stats.errors import TooFewError

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

LEVELS = (1, 2, 5, 10, 20, 50, 100, 200)  # times the share above the percentile itself ...
MAX_SHARE = 0.25  # ... up to here: lower down, idle queues differ more than full ones do
MAX_PIECES = 1 << 15  # a longer run is looked at in pieces of several requests
WINDOW = 5.0  # of autocorrelations, in units of D (Sokal, 1997): what lies beyond it is next to nothing
MAX_WINDOW_SHARE = 0.25  # of the run
# The variance of ln D: from n s / D clusters, and from levels a factor of e apart, as seen on queues.
CLUSTER_VARIANCE, LEVEL_SPREAD = 3.0, 0.2
# Where ten sections differ by more than D explains (99 % point of chi-squared with 9 degrees of freedom, over 9),
# something is slower than the window: a load that wanders, a machine that heats up. Then they are believed.
SECTIONS, SECTION_LIMIT = 10, 2.41


@dataclass(frozen=True, slots=True)
class Dependence:
    """`factor`: so many requests count as one independent request.  `degrees`: of freedom of that knowledge."""

    factor: float
    degrees: float


def dependence(series: NDArray[np.int64], ordered: NDArray[np.int64], share: float) -> Dependence:
    """At the level that a share of the run exceeds.

    Args: series: shape (n,), in the order of time; ordered: the same, ascending.  share: in (0, 1).
    Raises: TooFewError: requests a quarter of the run apart still depend on each other.
    """
    flags = _flags(series, ordered, share)
    if not flags:
        return Dependence(1.0, math.inf)  # all values are the same
    shares = np.array([float(above.mean()) for above in flags])
    factors = np.array([max(1.0, _slow_or(above, long_run_factor(above))) for above in flags])
    # Only what dependence adds to 1 follows g: independent requests have D = 1 at every level.
    peak = 1 + (factors - 1) / level_shape(shares)
    known = CLUSTER_VARIANCE * peak[-1] / (len(series) * shares)
    weights = 1 / (known + known**2 + (LEVEL_SPREAD * np.log(shares / share)) ** 2)
    pooled = math.exp(float(weights @ np.log(peak)) / float(weights.sum()))
    factor = 1 + (pooled - 1) * float(level_shape(np.array([share]))[0])
    return Dependence(factor, len(series) * float(shares[-1]) / (CLUSTER_VARIANCE * pooled))


def level_shape(shares: Floats) -> Floats:
    """g(s) = (1 - (1 - ln s) s) / (1 - s): D where reflected Brownian motion spends a share s above, over D at s = 0.

    From its long-run variance: 2 times the integral over y of exp(y) (integral over x > y of (1{x > u} - s) exp(-x))^2,
    for the stationary density exp(-x).
    """
    shape: Floats = (1 - (1 - np.log(shares)) * shares) / (1 - shares)
    return shape


def long_run_factor(above: Flags) -> float:
    """1 + 2 times the sum of the indicator's autocorrelations, up to the first lag of at least `WINDOW` such sums.

    Raises: TooFewError: that lag is over a quarter of the run.   Source: Sokal (1997), section 3.
    """
    num, share = len(above), float(above.mean())
    size = -(-num // MAX_PIECES)
    pieces = (above[: num // size * size].astype(np.float64) - share).reshape(-1, size).sum(axis=1)
    covariances = _autocovariances(pieces)
    sums = 2 * np.cumsum(covariances) - covariances[0]
    wide_enough = np.arange(len(sums)) * covariances[0] >= WINDOW * sums
    lag = int(wide_enough[1:].argmax()) + 1
    if not wide_enough[lag]:
        raise TooFewError(
            f"latencies a quarter of the run ({num:,} requests) apart still depend on each other; measure several times "
            "as long, or at a load that does not drift"
        )
    # Covariances about the run's own mean are too small by the variance of that mean.
    own_mean = 1 - (2 * lag + 1) / len(pieces)
    return float(sums[lag]) / (size * share * (1 - share) * own_mean)


def _flags(series: NDArray[np.int64], ordered: NDArray[np.int64], share: float) -> list[Flags]:
    """Who is above each level; the levels are values of the run, so with ties shares are what they can be."""
    num = len(ordered)
    found = []
    wanted = [share * times for times in LEVELS if times == 1 or share * times <= MAX_SHARE]
    for level in dict.fromkeys([ordered[max(0, num - 1 - round(one * num))].item() for one in wanted]):
        above = series > level if level < ordered[-1] else series >= level
        if not above.all():
            found.append(above)
    return found


def _autocovariances(values: Floats) -> Floats:
    """Sums of products at a distance, over the number of values, for distances below a quarter of the run."""
    num = len(values)
    lags = max(2, int(MAX_WINDOW_SHARE * num))
    padded = 1 << (num + lags - 1).bit_length()
    spectrum = np.fft.rfft(values, padded)
    products: Floats = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, padded)[:lags] / num
    return products


def _slow_or(above: Flags, factor: float) -> float:
    """The factor, or that of ten sections where they differ by more than it explains."""
    length = len(above) // SECTIONS
    share = float(above.mean())
    means = above[: SECTIONS * length].reshape(SECTIONS, length).mean(axis=1)
    between = float(means.var(ddof=1)) * length / (share * (1 - share))
    return between if between > SECTION_LIMIT * factor else factor
