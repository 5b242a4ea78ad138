"""An interval for a percentile of one run of dependent latencies, as a queue produces them.

Where requests are independent, the share of a distribution above the k-th largest of n values is beta distributed, and
the order statistics at that law's quantiles enclose the percentile. Here n is the number of independent requests
that the run is worth (`_dependence.py`); it is never known exactly, which widens the interval as Student's t does.
Three corrections stand on top of that, all of them nothing for independent requests:

- A run that happened to be quiet looks less dependent than the queue is. To ask whether the percentile could be
  twice as high is to ask about a queue that is busier, whose clusters are longer.
- Clusters differ in length, most are short and some very long, so each end lies a little farther out.
- Where clusters are few, the highest values of the run are one cluster's. There the upper end goes by the slope of
  the tail below the percentile as well, and the farther end is taken.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError
from trivet.stats._dependence import Dependence, dependence
from trivet.stats.errors import TooFewError
from trivet.stats.interval import Interval
from trivet.stats.percentile import percentile_ns

# All numbers below were set on simulated queues, seeds under 1,000; docs/benchmarks/statistics.md judges on others.
MIN_CLUSTERS = 0.3  # that a run is worth above its percentile: with less, D is misjudged too often
MIN_DEGREES = 2.5  # below it, how dependent the requests are is a guess
INDEPENDENT = Dependence(1.0, math.inf)
MOOD = 1.6  # D grows by this power of the percentile, from run to run of one queue
CAUTION = 0.2  # clusters differ in length more than the beta law allows for: ends are so much farther out
# The end by slope: the slope is that between the percentile and the level exceeded ten times as often; it reaches
# 1.8 times as far as standard errors do, half of that where clusters are ten, and counts for less the more there are.
SLOPE_SPAN, SLOPE_REACH, FEW_CLUSTERS = 10.0, 1.8, 10.0
STEPS = 4  # of the fixed point: each end and the D that belongs to it


def quantile_interval(
    latencies_ns: NDArray[np.int64],
    p: float,
    *,
    confidence: float = 0.95,
    intended_ns: NDArray[np.int64] | None = None,
) -> Interval:
    """Percentile `p` of the service in the state that the run shows, nanoseconds; the estimate is the run's own.

    Covers what it promises on queues up to a load of 0.9, of many kinds (docs/benchmarks/statistics.md). The run must
    be steady (see `mser5`): drift widens the interval, and where it is strong, is refused.

    Args: latencies_ns: shape (n,), in the order of intended send.  p: in (0, 1).  intended_ns: shape (n,), where the
    latencies are in another order: they are put in this one.
    Raises: EmptySampleError: n == 0.  TooFewError: coverage cannot be promised; says how many requests would do.
    ValueError: p or confidence not in (0, 1), or shapes that differ.  ExtraMissingError: no scipy.
    """
    if not 0 < confidence < 1 or not 0 < p < 1:
        raise ValueError(f"p and confidence must be in (0, 1), got {p} and {confidence}")
    series = _in_order(np.asarray(latencies_ns), intended_ns)
    estimate = float(percentile_ns(series, p))
    tail = _Tail(np.sort(series), estimate, 1 - p, (1 - confidence) / 2)
    _check_num(tail, INDEPENDENT)
    if tail.ordered[0] == tail.ordered[-1]:
        return Interval(estimate, estimate, estimate)
    known = dependence(series, tail.ordered, tail.share)
    _check_num(tail, known)
    low, high = _ends(tail, known)
    return Interval(estimate, min(low, estimate), max(high, estimate))


@dataclass(frozen=True, slots=True)
class _Tail:
    """What is asked: the level that `share` of the requests exceed, with probability `miss` of an error at each end."""

    ordered: NDArray[np.int64]
    estimate: float
    share: float
    miss: float

    def exceeded_by(self, share: float) -> float:
        """The latency that a share of the run exceeds, on a line between neighbours."""
        at = min(max(0.0, len(self.ordered) * (1 - share) - 1), len(self.ordered) - 1.0)
        below = min(int(at), len(self.ordered) - 2)
        left, right = float(self.ordered[below]), float(self.ordered[below + 1])
        return left + (at - below) * (right - left)


def _ends(tail: _Tail, known: Dependence) -> tuple[float, float]:
    """Both ends, each with the D of a queue whose percentile is there."""
    special = _special()
    student = float(special.stdtrit(known.degrees, 1 - tail.miss) / special.ndtri(1 - tail.miss))
    student *= 1 + CAUTION * (1 - 1 / known.factor)
    base = float(tail.ordered[0])

    def independent(end: float) -> float:
        """Requests that the run is worth, were `end` the percentile."""
        mood = ((end - base) / (tail.estimate - base)) ** MOOD if tail.estimate > base else 1.0
        return len(tail.ordered) / ((1 + (known.factor - 1) * mood) * student**2)

    low = high = tail.estimate
    for _ in range(STEPS):
        ends = []
        for end, probability in ((high, tail.miss), (low, 1 - tail.miss)):
            num = independent(end)
            share = float(special.betaincinv(num * tail.share, num * (1 - tail.share), probability))
            ends.append(tail.exceeded_by(share))
        high, low = ends
    return low, max(high, _end_by_slope(tail, known, student * float(special.ndtri(1 - tail.miss))))


def _end_by_slope(tail: _Tail, known: Dependence, errors: float) -> float:
    """So many standard errors of ln(share above) up, and some, on the exponential tail through the percentile."""
    wider = min(SLOPE_SPAN * tail.share, 0.5)
    if wider <= tail.share:
        return tail.estimate
    slope = (tail.estimate - tail.exceeded_by(wider)) / math.log(wider / tail.share)
    clusters = len(tail.ordered) * tail.share / known.factor
    reach = SLOPE_REACH * (1 - 1 / known.factor) / (1 + clusters / FEW_CLUSTERS)
    return tail.estimate + reach * slope * errors / math.sqrt(clusters)


def _check_num(tail: _Tail, known: Dependence) -> None:
    num, rarer = len(tail.ordered), min(tail.share, 1 - tail.share)
    needed = math.ceil(
        max(
            -math.log(tail.miss) / rarer,  # fewer, and a run may well hold none above the percentile
            MIN_CLUSTERS * known.factor / rarer,
            num * MIN_DEGREES / known.degrees,
        )
    )
    if num < needed:
        why = f" that depend on each other ({known.factor:,.3g} count as one)" if known.factor > 1 else ""
        what = "1 latency is" if num == 1 else f"{num:,} latencies{why} are"
        raise TooFewError(
            f"{what} too few for an interval of p{100 * (1 - tail.share):g}; "
            f"measure at least {needed:,}, {needed - num:,} more"
        )


def _in_order(latencies_ns: NDArray[np.int64], intended_ns: NDArray[np.int64] | None) -> NDArray[np.int64]:
    if latencies_ns.ndim != 1:
        raise ValueError(f"latencies are one row, got shape {latencies_ns.shape}")
    if intended_ns is None:
        return latencies_ns
    if latencies_ns.shape != intended_ns.shape:
        raise ValueError(
            f"{len(latencies_ns)} latencies and {len(intended_ns)} instants do not belong together"
        )
    in_order: NDArray[np.int64] = latencies_ns[np.argsort(intended_ns, kind="stable")]
    return in_order


def _special() -> Any:
    try:
        from scipy import special
    except ImportError:
        raise ExtraMissingError("an interval of a percentile", "bench") from None
    return special
