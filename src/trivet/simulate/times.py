"""How long batches take in a simulation: recorded times are drawn again, in blocks, so that what depends stays together.

Between profiled sizes and lengths medians are interpolated in straight lines, and relative residuals of the nearest
profiled sizes are drawn: whatever held up the engine while it was profiled is in them, at its own rate. With `resample`
both are those of a sample that is drawn again: that is how a forecast knows what its profile does not know.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.profile import NO_LENGTH, ModelTimes

Floats = NDArray[np.float64]

_POOL: Final = 512  # residuals drawn at once
_LONGEST_BLOCK: Final = 16
_ENOUGH: Final = 48  # residuals; a size that was run less often borrows those of the sizes beside it
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
    """Times of one length bucket. `medians[rows]`: ns; `residuals[rows]`: of the nearest profiled size."""

    __slots__ = ("medians", "residuals")

    def __init__(self, medians: list[float], residuals: list[Residuals]) -> None:
        self.medians = medians
        self.residuals = residuals

    def draw(self, rows: int) -> float:
        """The realised time of the next batch of `rows`, in ns."""
        residuals = self.residuals[rows]
        pool = residuals.pool or residuals.refill()
        return self.medians[rows] * pool.pop()


class StageTimes:
    """Times of one stage, by length bucket.

    Args: max_rows: of its batches.  resample: as if the profile had been made again.
    """

    def __init__(
        self,
        times: ModelTimes,
        max_rows: int,
        rng: np.random.Generator,
        *,
        resample: bool = False,
    ) -> None:
        self._max_rows = max_rows
        self._known: dict[int, BucketTimes] = {}
        for length, by_rows in sorted(times.samples.items()):
            cells = {
                rows: _cell(values, times.paces.get(length, {}).get(rows), rng if resample else None)
                for rows, values in sorted(by_rows.items())
            }
            medians = {rows: median for rows, (median, _) in cells.items()}
            ratios = {rows: found for rows, (_, found) in cells.items()}
            streams = {rows: Residuals(_borrowed(ratios, rows), rng) for rows in cells}
            self._known[length] = BucketTimes(
                [0.0, *(_between(medians, rows) for rows in range(1, max_rows + 1))],
                [streams[_nearest(streams, rows)] for rows in range(max_rows + 1)],
            )
        self._buckets = dict(self._known)

    @property
    def has_lengths(self) -> bool:
        """Whether its inputs have free sizes, and so its times differ by them."""
        return set(self._known) != {NO_LENGTH}

    def bucket(self, length: int) -> BucketTimes:
        """Of a length: as profiled, or between the profiled lengths beside it; not below the shortest."""
        found = self._buckets.get(length)
        if found is None:
            found = self._buckets[length] = self._interpolated(length)
        return found

    def _interpolated(self, length: int) -> BucketTimes:
        known = self._known
        at = max(length, min(known))
        medians = [
            _between({one: bucket.medians[rows] for one, bucket in known.items()}, at)
            for rows in range(self._max_rows + 1)
        ]
        return BucketTimes(medians, known[_nearest(known, length)].residuals)


def seeds(times: ModelTimes, max_rows: int) -> dict[int | None, dict[int, list[int]]]:
    """What a server's own profile at load would hold: 1, 2, 4, ... and `max_rows`, some runs of each."""
    found: dict[int | None, dict[int, list[int]]] = {}
    for length, by_rows in times.samples.items():
        cells = {rows: _cell(values, None, None) for rows, values in by_rows.items()}
        medians = {rows: median for rows, (median, _) in cells.items()}
        every = {rows: found for rows, (_, found) in cells.items()}
        ratios = {rows: _borrowed(every, rows)[:_PROFILE_RUNS] for rows in cells}
        found[length or None] = {
            rows: [
                max(1, round(_between(medians, rows) * ratio))
                for ratio in ratios[_nearest(ratios, rows)].tolist()
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
    """The mean time of a batch; of what was not profiled between those beside it."""
    return _of_all(times, rows, length, np.mean)


def median_ns(times: ModelTimes, rows: int, length: int = NO_LENGTH) -> float:
    """The median time of a batch, likewise."""
    return _of_all(times, rows, length, np.median)


def _of_all(times: ModelTimes, rows: int, length: int, statistic: Callable[[Sequence[int]], Any]) -> float:
    by_length = {
        known: _between({size: float(statistic(values)) for size, values in by_rows.items()}, rows)
        for known, by_rows in times.samples.items()
    }
    return _between(by_length, max(length, min(by_length)))


def blocks(num: int, wanted: int, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`wanted` places in 0..num-1: blocks of neighbours from random places on, around the end."""
    starts = rng.integers(num, size=-(-wanted // block))
    places: NDArray[np.int64] = (starts[:, np.newaxis] + np.arange(block)).ravel()[:wanted] % num
    return places


def _cell(
    values: Sequence[int], paces: Sequence[float] | None, rng: np.random.Generator | None
) -> tuple[float, Floats]:
    """The median of a size in ns, and its residuals over that and over the machine's pace. Args: rng: drawn again by it."""
    times = np.asarray(values, np.float64)
    usual = np.ones(len(times)) if paces is None else np.asarray(paces, np.float64)
    if rng is not None:
        places = blocks(len(times), len(times), min(_LONGEST_BLOCK, max(1, len(times) // 8)), rng)
        times, usual = times[places], usual[places]
    median = max(1.0, float(np.median(times)))
    return median, times / (median * usual)


def _borrowed(ratios: Mapping[int, Floats], rows: int) -> Floats:
    """Residuals of a size; with those of the nearest others where it was run too seldom."""
    found: list[Floats] = []
    for size in sorted(ratios, key=lambda one: abs(one - rows)):
        found.append(ratios[size])
        if sum(map(len, found)) >= _ENOUGH:
            break
    return np.concatenate(found)


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
