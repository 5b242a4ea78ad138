"""How long batches take in a simulation: recorded times are drawn again, in blocks, so that what depends stays together.

Between profiled sizes and lengths means are interpolated in straight lines, and the relative residuals of the nearest
profiled size are drawn. With `resample` the means, too, are those of a sample that is drawn again: that is how a
forecast knows what its profile does not know.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.profile import NO_LENGTH, ModelTimes

Floats = NDArray[np.float64]

_POOL: Final = 512  # residuals drawn at once
_LONGEST_BLOCK: Final = 16
_HICCUP: Final = 2.0  # of the median; hiccups come from the host's own record, and must not count twice
_MOST_HICCUPS: Final = 0.05  # a larger share of long times is how the engine is, not what happened to it
_PROFILE_RUNS: Final = 30  # as many as the server's own profile at load keeps of one size


class Residuals:
    """Relative residuals of one profiled size: an endless stream. `pool` is taken from its end; `refill` when empty."""

    __slots__ = ("_block", "_ratios", "_rng", "pool")

    def __init__(self, ratios: Floats, rng: np.random.Generator) -> None:
        self._ratios = ratios
        self._rng = rng
        self._block = min(_LONGEST_BLOCK, max(1, len(ratios) // 8))
        self.pool: list[float] = []

    def refill(self) -> list[float]:
        """Blocks of neighbours, from random places on, around the end."""
        places = blocks(len(self._ratios), _POOL, self._block, self._rng)
        self.pool = self._ratios[places].tolist()
        return self.pool


class BucketTimes:
    """Times of one length bucket. `means[rows]`: ns; `residuals[rows]`: of the nearest profiled size."""

    __slots__ = ("means", "residuals")

    def __init__(self, means: list[float], residuals: list[Residuals]) -> None:
        self.means = means
        self.residuals = residuals

    def draw(self, rows: int) -> float:
        """The realised time of the next batch of `rows`, in ns."""
        residuals = self.residuals[rows]
        pool = residuals.pool or residuals.refill()
        return self.means[rows] * pool.pop()


class StageTimes:
    """Times of one stage, by length bucket.

    Args: max_rows: of its batches.  speed: factor of all times.  resample: means of a sample drawn again.
    """

    def __init__(
        self,
        times: ModelTimes,
        max_rows: int,
        rng: np.random.Generator,
        *,
        speed: float = 1.0,
        resample: bool = False,
    ) -> None:
        self._max_rows = max_rows
        self._known: dict[int, BucketTimes] = {}
        for length, by_rows in sorted(times.samples.items()):
            cells = {rows: _cell(values, rng, resample=resample) for rows, values in sorted(by_rows.items())}
            means = {rows: mean * speed for rows, (mean, _) in cells.items()}
            streams = {rows: Residuals(ratios, rng) for rows, (_, ratios) in cells.items()}
            self._known[length] = BucketTimes(
                [0.0, *(_between(means, rows) for rows in range(1, max_rows + 1))],
                [streams[_nearest(streams, rows)] for rows in range(max_rows + 1)],
            )
        self._buckets = dict(self._known)

    def bucket(self, length: int) -> BucketTimes:
        """Of a length: as profiled, or between the profiled lengths beside it; not below the shortest."""
        found = self._buckets.get(length)
        if found is None:
            found = self._buckets[length] = self._interpolated(length)
        return found

    def _interpolated(self, length: int) -> BucketTimes:
        known = self._known
        lengths = list(known)
        means = [
            _between({one: bucket.means[rows] for one, bucket in known.items()}, max(length, lengths[0]))
            for rows in range(self._max_rows + 1)
        ]
        return BucketTimes(means, known[_nearest(known, length)].residuals)


def seeds(times: ModelTimes, max_rows: int) -> dict[int | None, dict[int, list[int]]]:
    """What a server's own profile at load would hold: 1, 2, 4, ... and `max_rows`, some runs of each."""
    found: dict[int | None, dict[int, list[int]]] = {}
    for length, by_rows in times.samples.items():
        cells = {rows: _cell(values, None, resample=False) for rows, values in sorted(by_rows.items())}
        means = {rows: mean for rows, (mean, _) in cells.items()}
        found[length or None] = {
            rows: [
                max(1, int(_between(means, rows) * ratio))
                for ratio in cells[_nearest(cells, rows)][1][:_PROFILE_RUNS]
            ]
            for rows in sizes_up_to(max_rows)
        }
    return found


def sizes_up_to(max_rows: int) -> list[int]:
    """1, 2, 4, ... and `max_rows`."""
    sizes = [1]
    while sizes[-1] < max_rows:
        sizes.append(min(2 * sizes[-1], max_rows))
    return sizes


def mean_ns(times: ModelTimes, rows: int, length: int = NO_LENGTH) -> float:
    """The mean time of a batch, hiccups left out; of a length that was not profiled between those beside it."""
    by_length = {
        known: _between(
            {size: _cell(values, None, resample=False)[0] for size, values in by_rows.items()}, rows
        )
        for known, by_rows in times.samples.items()
    }
    return _between(by_length, max(length, min(by_length)))


def blocks(num: int, wanted: int, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`wanted` places in 0..num-1: blocks of neighbours from random places on, around the end."""
    starts = rng.integers(num, size=-(-wanted // block))
    places: NDArray[np.int64] = (starts[:, np.newaxis] + np.arange(block)).ravel()[:wanted] % num
    return places


def _cell(values: Sequence[int], rng: np.random.Generator | None, *, resample: bool) -> tuple[float, Floats]:
    """Mean in ns and relative residuals of one profiled size."""
    times = np.maximum(np.asarray(values, np.float64), 1.0)
    usual = times <= _HICCUP * np.median(times)
    if 1 - usual.mean() <= _MOST_HICCUPS:
        times = times[usual]
    mean = float(times.mean())
    ratios = times / mean
    if resample and rng is not None and len(times) > 1:
        drawn = blocks(len(times), len(times), min(_LONGEST_BLOCK, max(1, len(times) // 8)), rng)
        mean = float(times[drawn].mean())
    return mean, ratios


def _between(known: Mapping[int, float], at: int) -> float:
    """In straight lines between what is known; beyond it in proportion to the place, or to the only one there is."""
    places = sorted(known)
    right = bisect_left(places, at)
    if right < len(places) and places[right] == at:
        return known[at]
    if right in (0, len(places)):
        place = places[min(right, len(places) - 1)]
        return known[place] * at / place if place else known[place]
    low, high = places[right - 1], places[right]
    return known[low] + (known[high] - known[low]) * (at - low) / (high - low)


def _nearest(known: Mapping[int, object], at: int) -> int:
    return min(known, key=lambda place: abs(place - at))
