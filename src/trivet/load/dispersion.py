"""How uneven arrivals are: what a scaling of a trace keeps and what it changes, in figures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NS = 1_000_000_000
WINDOWS_NS = (NS // 10, NS, 10 * NS)


@dataclass(frozen=True, slots=True)
class AtScale:
    """Counts in consecutive windows of one length. None: fewer than two whole windows, or no arrival in them.

    peak_to_mean: the fullest window's count over the mean count.  index: the index of dispersion, variance
    over mean (n - 1 below the line): 1 for Poisson arrivals at any length, above it they clump.
    """

    window_ns: int
    num_windows: int
    peak_to_mean: float | None
    index: float | None

    def __str__(self) -> str:
        if self.peak_to_mean is None or self.index is None:
            return f"{self.window_ns / NS:g} s: too short to say"
        return f"{self.window_ns / NS:g} s: peak/mean {self.peak_to_mean:.3g}, dispersion {self.index:.3g}"


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Arrivals within `duration_ns`, looked at in windows of several lengths."""

    num_arrivals: int
    duration_ns: int
    scales: tuple[AtScale, ...]

    @property
    def mean_rps(self) -> float:
        return self.num_arrivals / max(1, self.duration_ns) * NS

    def __str__(self) -> str:
        head = f"{self.num_arrivals:,} requests over {self.duration_ns / NS:,.4g} s, {self.mean_rps:,.4g}/s"
        return "; ".join([head, *map(str, self.scales)])


def describe(instants_ns: NDArray[np.int64], duration_ns: int | None = None) -> Dispersion:
    """Peak-to-mean and index of dispersion at 0.1, 1 and 10 s.

    Args: instants_ns: shape (n,), ascending from 0.  duration_ns: the last instant and 1, if not given; a last
    window that it cuts is left out.
    """
    if duration_ns is None:
        duration_ns = int(instants_ns[-1]) + 1 if len(instants_ns) else 0
    scales = tuple(_at_scale(instants_ns, duration_ns, window_ns) for window_ns in WINDOWS_NS)
    return Dispersion(len(instants_ns), duration_ns, scales)


def _at_scale(instants_ns: NDArray[np.int64], duration_ns: int, window_ns: int) -> AtScale:
    num_windows = duration_ns // window_ns
    windows = instants_ns // window_ns
    # Only windows that hold something: a trace of months has millions of empty ones.
    counts = np.unique(windows[windows < num_windows], return_counts=True)[1].astype(np.float64)
    if num_windows < 2 or not len(counts):
        return AtScale(window_ns, num_windows, None, None)
    mean = counts.sum() / num_windows
    squares = ((counts - mean) ** 2).sum() + (num_windows - len(counts)) * mean**2
    return AtScale(
        window_ns, num_windows, float(counts.max() / mean), float(squares / (num_windows - 1) / mean)
    )
