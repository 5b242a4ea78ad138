"""Which stretches of a trace decide how much is needed: the busiest, and the most uneven of the busy ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trivet.load.arrivals import NS
from trivet.simulate.plan_records import Window
from trivet.simulate.windows import Demand

Floats = NDArray[np.float64]

WINDOW_NS = 60 * NS
STEPS = 4  # of a sliding window to its length
FINE_BINS, COARSE_BINS = (
    60,
    4,
)  # of a window, whose counts tell its dispersion; the fewer where a trace is long
LONG_NS = 86_400 * NS
NUM_BY_RATE = 2
UNEVEN = 2.0  # standard deviations above the rate that uneven windows are looked at


def bin_length_ns(duration_ns: int) -> int:
    """Of the bins that a window is made of: a window is a minute, of a short trace a quarter."""
    length_ns = min(WINDOW_NS, max(NS // 10, duration_ns // 4))
    return max(1, length_ns // _num_bins(duration_ns))


def _num_bins(duration_ns: int) -> int:
    return COARSE_BINS if duration_ns > LONG_NS else FINE_BINS


def deciding_windows(demand: Demand) -> list[Window]:
    """Up to two by their mean rate, and one by the rate two standard deviations above it; none overlap."""
    bin_ns = bin_length_ns(demand.duration_ns)
    counts = demand.counts(bin_ns)
    size = min(_num_bins(demand.duration_ns), len(counts))
    begins = np.arange(0, len(counts) - size + 1, max(1, size // STEPS))
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    squares = np.concatenate([[0.0], np.cumsum(counts**2)])
    mean = (sums[begins + size] - sums[begins]) / size
    variance = (
        np.maximum(0.0, (squares[begins + size] - squares[begins]) / size - mean**2) + demand.noise * mean
    )
    rates = mean / bin_ns * NS
    uneven = (mean + UNEVEN * np.sqrt(variance)) / bin_ns * NS
    chosen: list[tuple[int, bool]] = []
    for score, num, by_rate in ((rates, NUM_BY_RATE, True), (uneven, 1, False)):
        chosen += [(at, by_rate) for at in _best(score, begins, size, [at for at, _ in chosen], num)]
    return [
        Window(
            begin_s=float(begins[at] * bin_ns / NS),
            length_s=size * bin_ns / NS,
            rate_rps=float(rates[at]),
            dispersion=float(variance[at] / mean[at]) if mean[at] else 1.0,
            chosen_for="rate" if by_rate else "dispersion",
        )
        for at, by_rate in chosen
    ]


def _best(score: Floats, begins: NDArray[np.int64], size: int, taken: list[int], num: int) -> list[int]:
    """The places with the highest scores that overlap neither what is taken nor each other."""
    found: list[int] = []
    for at in np.argsort(-score, kind="stable").tolist():
        if len(found) == num:
            break
        if all(abs(int(begins[at] - begins[other])) >= size for other in (*taken, *found)):
            found.append(at)
    return found
