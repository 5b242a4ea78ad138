"""The interval of a measured percentile, with a simulator's answer on the same arrivals as control variate.

Part of what makes one run's p99 differ from the next run's is its arrivals, and a simulator that is given the same
arrivals shows that part. Let v be the simulator's own percentile over fresh arrivals, which can be known as well as one
likes, and y the share of the run's arrivals that take it longer than v. Where y is above its expectation s = 1 - p the run
was a busy one, and its latencies are to be read at the share q = s + b (y - s) instead of s. For every b that is right
on average, however wrong the simulator is: it only has to be given arrivals of the same process. The best b is the slope
of "slower than u" on "simulated slower than v" over stretches of the run, and the interval is that of order statistics
(`quantile_interval`), with the requests that the rest is worth: what the simulator did not see.

Where it sees too little (hiccups of the live machine, a service that varies by itself) the plain interval is given.
Source: Lavenberg & Welch (1981) for control variates; Hsu & Nelson (1990) for quantiles; Meketon & Schmeiser (1984) for
variances from overlapping stretches.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trivet.stats._dependence import LEVELS, MAX_SHARE, long_run_factor
from trivet.stats._scipy import special
from trivet.stats.errors import TooFewError
from trivet.stats.interval import Interval
from trivet.stats.percentile import percentile_ns
from trivet.stats.quantile_interval import (
    FEW_CLUSTERS,
    MOOD,
    SLOPE_REACH,
    SLOPE_SPAN,
    STEPS,
    quantile_interval,
)

Times = NDArray[np.int64]
Floats = NDArray[np.float64]

MIN_FRESH = 10  # runs: fewer do not tell how well the simulator's own percentile is known
MIN_SAVING = 1.5  # below it the plain interval is about as wide, and asks for less
MEMORY_SHARE = 0.25  # of requests: how long the queue remembers is asked where it is crossed often
STRETCH, MIN_STRETCHES, MAX_STRETCHES = 8.0, 8, 100  # of that memory; and so many stretches in a run
# Numbers below were set on simulated queues, seeds under 1,000; docs/benchmarks/control-variate.md judges on others.
MIN_CLUSTERS = 0.3  # of simulated requests above v; with less, the run holds nothing of what decides
CAUTION = (
    0.34  # as in `quantile_interval`, and more: slope and rest are known from the run itself, by few clusters
)
LEVEL_SPREAD = 0.3  # of ln(slope) and ln(rest) between levels a factor of e apart


@dataclass(frozen=True, slots=True)
class Controlled:
    """`is_used`: False where it is the plain interval, and `reason` says why.

    `saving`: how many times as many requests the run's own percentile would need to be as sure; 1 where not used.
    """

    interval: Interval
    is_used: bool
    saving: float
    reason: str = ""


class _Fit(NamedTuple):
    """How the run follows the simulator: slope; the rest's and the run's variance, per request, over s (1 - s)."""

    slope: float
    rest: float
    whole: float
    degrees: float


def controlled_interval(
    latencies_ns: Times, simulated_ns: Times, fresh_ns: Times, p: float, *, confidence: float = 0.95
) -> Controlled:
    """Percentile `p` of the service in the state that the run shows, nanoseconds.

    Args: latencies_ns: shape (n,), in the order of intended send.  simulated_ns: shape (m, n), m simulations of the same
    requests in the same order.  fresh_ns: shape (runs, length), simulations of fresh arrivals of the same process, each
    of its own, all steady.  p, confidence: in (0, 1).
    Raises: ValueError: shapes that do not belong together, or fewer than 10 fresh runs.  Others as `quantile_interval`,
    where the plain interval is needed.
    """
    _check(latencies_ns, simulated_ns, fresh_ns, p, confidence)
    found = _controlled(latencies_ns, simulated_ns, fresh_ns, 1 - p, (1 - confidence) / 2)
    if isinstance(found, Controlled):
        return found
    return Controlled(quantile_interval(latencies_ns, p, confidence=confidence), False, 1.0, found)


def _controlled(
    latencies_ns: Times, simulated_ns: Times, fresh_ns: Times, share: float, miss: float
) -> Controlled | str:
    """The interval, or why the simulator is of no help."""
    num = len(latencies_ns)
    level = percentile_ns(fresh_ns.ravel(), 1 - share)
    fresh_shares = (fresh_ns > level).mean(axis=1)
    seen = float((simulated_ns > level).mean())
    own_variance = float(fresh_shares.var(ddof=1))
    factor = max(1.0, own_variance * fresh_ns.shape[1] / (share * (1 - share)))
    clusters = num * min(seen, share) / factor
    if clusters < MIN_CLUSTERS:
        return (
            f"the simulator holds {clusters:.2g} stretches above its percentile on these arrivals, "
            f"at least {MIN_CLUSTERS:g} is needed"
        )
    try:
        stretch = _stretch(latencies_ns)
    except TooFewError as error:
        return str(error)
    fit = _fitted(latencies_ns, simulated_ns, seen, seen, stretch)
    wanted = share + fit.slope * (seen - share)
    if not 0 < wanted < 1:
        return "the run was so quiet that its latencies do not reach the percentile"
    fit = _fitted(latencies_ns, simulated_ns, wanted, seen, stretch)
    wanted = share + fit.slope * (seen - share)
    # The slope's own error counts by how unusual the run was; the fresh simulations' by the slope.
    unusual = (
        (seen - share) ** 2 / (own_variance * fresh_ns.shape[1] / num) / fit.degrees if own_variance else 0.0
    )
    variance = fit.rest * wanted * (1 - wanted) / num * (1 + unusual)
    variance += fit.slope**2 * own_variance / len(fresh_shares)
    saving = fit.whole * wanted * (1 - wanted) / num / variance
    if saving < MIN_SAVING:
        return f"the simulator explains too little of this run: it would save {max(saving, 1):.2g} times the requests"
    ends = _ends(np.sort(latencies_ns), wanted, variance, fit, miss)
    return Controlled(ends, True, saving)


def _stretch(latencies_ns: Times) -> int:
    """Requests to a stretch: long beside the memory of the queue, and enough of them for a variance."""
    num = len(latencies_ns)
    memory = long_run_factor(latencies_ns > np.quantile(latencies_ns, 1 - MEMORY_SHARE))
    if STRETCH * memory > num / MIN_STRETCHES:
        raise TooFewError(
            f"{num:,} latencies of a queue that remembers {memory:,.3g} hold fewer than {MIN_STRETCHES} stretches"
        )
    return max(math.ceil(STRETCH * memory), num // MAX_STRETCHES)


def _fitted(latencies_ns: Times, simulated_ns: Times, share: float, seen: float, stretch: int) -> _Fit:
    """Slope and rest at the level that `share` of the run exceeds, and from lower ones, which tell of it."""
    num = len(latencies_ns)
    degrees = 1.5 * (num / stretch - 1) - 1
    ordered, simulated_ordered = np.sort(latencies_ns), np.sort(simulated_ns, axis=None)
    steps = [times for times in LEVELS if times == 1 or max(share, seen) * times <= MAX_SHARE]
    found = []
    for times in steps:
        slower = latencies_ns > _exceeded_by(ordered, share * times)
        expected = (simulated_ns > _exceeded_by(simulated_ordered, seen * times)).mean(axis=0)
        binomial = share * times * (1 - share * times)
        found.append((*_covariances(slower.astype(np.float64), expected, stretch), binomial))
    whole, common, control, binomial = np.array(found).T
    ratio = np.array(steps, np.float64)
    known = 2 / degrees + 3 * np.maximum(1.0, whole / binomial) / (num * share * ratio)
    weights = 1 / (known + (LEVEL_SPREAD * np.log(ratio)) ** 2)
    weights /= weights.sum()
    slope = float(weights @ (common / control)) if (control > 0).all() else 0.0
    rest = np.maximum(whole - 2 * slope * common + slope**2 * control, 1e-9 * whole) / binomial
    rest *= degrees / (degrees - 1)
    return _Fit(
        slope,
        math.exp(float(weights @ np.log(rest))),
        math.exp(float(weights @ np.log(whole / binomial))),
        degrees,
    )


def _covariances(first: Floats, second: Floats, stretch: int) -> tuple[float, float, float]:
    """Long-run variance of the first, covariance, and variance of the second, per request, over overlapping stretches."""
    num = len(first)
    means = []
    for series in (first, second):
        sums = np.concatenate([[0.0], np.cumsum(series - series.mean())])
        means.append((sums[stretch:] - sums[:-stretch]) / stretch)
    scale = num * stretch / ((num - stretch + 1) * (num - stretch))
    a, b = means
    return scale * float(a @ a), scale * float(a @ b), scale * float(b @ b)


def _ends(ordered: Times, share: float, variance: float, fit: _Fit, miss: float) -> Interval:
    """Order statistics at the quantiles of the beta law of so many independent requests as the rest is worth.

    As in `quantile_interval`: were the percentile higher, the queue would be busier and the rest vary more; and where
    there are few clusters the upper end goes by the slope of the tail as well.
    """
    law = special("an interval with a control variate")
    estimate, base = _exceeded_by(ordered, share), float(ordered[0])
    student = float(law.stdtrit(fit.degrees, 1 - miss) / law.ndtri(1 - miss))
    student *= 1 + CAUTION * (1 - 1 / max(1.0, fit.whole))
    low = high = estimate
    for _ in range(STEPS):
        ends = []
        for end, probability in ((high, miss), (low, 1 - miss)):
            mood = ((end - base) / (estimate - base)) ** MOOD if estimate > base else 1.0
            mood = max(mood, 1 / max(1.0, fit.whole))  # the calmest queue there is has independent requests
            num = share * (1 - share) / (variance * mood * student**2)
            level = float(law.betaincinv(num * share, num * (1 - share), probability))
            ends.append(_exceeded_by(ordered, level))
        high, low = ends
    errors = student * float(law.ndtri(1 - miss)) * math.sqrt(variance) / share
    return Interval(
        estimate, min(low, estimate), max(high, _end_by_slope(ordered, share, fit, errors, estimate))
    )


def _end_by_slope(ordered: Times, share: float, fit: _Fit, errors: float, estimate: float) -> float:
    """So many errors of ln(share above) up on the exponential tail through the percentile; nothing where requests are
    independent or clusters many."""
    wider = min(SLOPE_SPAN * share, 0.5)
    if wider <= share:
        return estimate
    slope = (estimate - _exceeded_by(ordered, wider)) / math.log(wider / share)
    clusters = len(ordered) * share / max(1.0, fit.whole)
    reach = SLOPE_REACH * (1 - 1 / max(1.0, fit.whole)) / (1 + clusters / FEW_CLUSTERS)
    return estimate + reach * slope * errors


def _exceeded_by(ordered: Times, share: float) -> float:
    """The latency that a share of the run exceeds, on a line between neighbours."""
    at = min(max(0.0, len(ordered) * (1 - share) - 1), len(ordered) - 1.0)
    below = min(int(at), len(ordered) - 2)
    left, right = float(ordered[below]), float(ordered[below + 1])
    return left + (at - below) * (right - left)


def _check(latencies_ns: Times, simulated_ns: Times, fresh_ns: Times, p: float, confidence: float) -> None:
    if not 0 < confidence < 1 or not 0 < p < 1:
        raise ValueError(f"p and confidence must be in (0, 1), got {p} and {confidence}")
    if latencies_ns.ndim != 1 or simulated_ns.ndim != 2 or simulated_ns.shape[1] != len(latencies_ns):
        raise ValueError(
            f"each simulation holds every request once: got {latencies_ns.shape} and {simulated_ns.shape}"
        )
    if fresh_ns.ndim != 2 or len(fresh_ns) < MIN_FRESH:
        raise ValueError(
            f"at least {MIN_FRESH} runs of fresh arrivals are needed, got shape {fresh_ns.shape}"
        )
