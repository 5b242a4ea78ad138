"""How long a batch will take: per model, batch size and shape bucket; mean and upper quantile; learned online.

A bucket's curve is piecewise linear between knots at the powers of two. An observation moves the two knots beside it,
and a common factor that follows a machine that has become slower or faster as a whole. Reading a prediction is
indexing a list; the lists are made anew only after the estimate has moved by more than `_STALE`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate
from typing import Final

_STALE: Final = 0.01  # the lists are made anew after the estimate moved by this share
_GAIN_SCALE: Final = 0.03  # step of the common factor
_GAIN_KNOT: Final = 0.02  # step of a single knot
_YOUNG: Final = 4  # a knot that was only guessed moves to the mean of its first observations
_MOST_WRONG: Final = 8.0  # a guess, or one batch
_DOUBT: Final = 0.9
# The speed has changed if so many batches in a row are off to one side by so many mean deviations. Of normal errors
# one pair in 1,000 and one triple in 250 is: a false alarm costs a few percent for a few batches.
_PAIR: Final = 2.5
_TRIPLE: Final = 1.25
_OUTLIER: Final = 4.0  # a hiccup must not widen the spread
_GAIN_SPREAD: Final = 0.02
_CLIP: Final = 1.6  # a hiccup counts as at most this ratio: one slow batch must not teach a slow model
_MIN_MARGIN: Final = 0.001  # resolution of the prediction itself
# A model of many batches a second teaches enough with every eighth of them: learning is on the request's way.
_FAST_NS: Final = 200_000
_ENOUGH: Final = 256
_MAX_FACTOR: Final = 8.0  # of the mean deviation: the upper quantile of any service time worth predicting


class Curve:
    """Predicted service time of one bucket. Lists are indexed by rows, 0..max_rows; index 0 is unused.

    `mean`, `upper`: ns, never decreasing.  `limit`: rows allowed in one batch now (an unprofiled bucket starts at
    1 and doubles).  `best[n]`: how many of n waiting rows to take: the largest size that no smaller one beats in rows
    a second.  `unit_ns`: time of one row at the best rate within `limit`.
    """

    __slots__ = (
        "_errors",
        "_factor",
        "_guess",
        "_knots",
        "_moved",
        "_scale",
        "_seen",
        "_spread",
        "_values",
        "best",
        "limit",
        "max_rows",
        "mean",
        "num_observed",
        "quantile",
        "unit_ns",
        "upper",
    )

    def __init__(self, max_rows: int, quantile: float) -> None:
        self.max_rows = max_rows
        self.quantile = quantile
        self.limit = 1
        self.num_observed = 0
        self._knots = knots_of(max_rows)
        self._values: list[float] = [0.0] * len(self._knots)
        # Observations of each knot while some are only guessed, and the guess; empty: all are known.
        self._seen: list[int] = []
        self._guess: list[float] = []
        self._scale = 1.0
        self._errors = (0.0, 0.0)  # of the last two batches
        self._spread = 0.1  # mean absolute error
        self._factor = 2.0  # upper quantile of the error, in units of the spread
        self._moved = 0.0
        # Nothing is known: nothing is refused for it, and the first batch teaches.
        self.mean = [0] * (max_rows + 1)
        self.upper = [0] * (max_rows + 1)
        self.best = list(range(max_rows + 1))
        self.unit_ns = 0

    def seed(self, samples: Mapping[int, Sequence[int]]) -> None:
        """Start from a profile. `samples`: rows -> service times in ns, at least one time of at least one size."""
        sizes = sorted(samples)
        means = [_trimmed_mean(samples[rows]) for rows in sizes]
        errors = sorted(
            ns / mean - 1 for rows, mean in zip(sizes, means, strict=True) for ns in samples[rows]
        )
        self._values = [_interpolate(sizes, means, knot) for knot in self._knots]
        self._scale, self._errors, self._seen = 1.0, (0.0, 0.0), []
        self._spread = sum([min(abs(error), _CLIP - 1) for error in errors]) / len(errors)
        # Small samples underestimate a quantile: take the next larger order statistic.
        upper = errors[min(len(errors) - 1, int(self.quantile * len(errors)) + 1)]
        self._factor = min(max(upper / self._spread, 1.0), _MAX_FACTOR) if self._spread > 0 else 2.0
        self.limit = self.max_rows
        self.num_observed = len(errors)
        self._rebuild()

    def expect(self, values: Sequence[float]) -> None:
        """Start from a guess: mean ns at each knot. Batches still begin at one row and double as they run."""
        self._values, self._guess = list(values), list(values)
        self._seen = [0] * len(self._knots)
        self.num_observed = 1
        self._rebuild()

    def values(self) -> list[float]:
        """Mean ns at each knot, 1, 2, 4, ... and `max_rows`."""
        return [value * self._scale for value in self._values]

    def observe(self, rows: int, ns: int) -> None:
        """A batch of `rows` took `ns`."""
        self.num_observed += 1
        if self.num_observed == 1:
            self._first(rows, ns)
            return
        if ns < _FAST_NS and self.num_observed & 7 and self.num_observed > _ENOUGH:
            return
        if self.limit < self.max_rows and rows == self.limit:
            self.limit = min(self.max_rows, 2 * self.limit)
            self._moved = 1.0  # the best rate may lie in the new range
        if self._seen and self._learn_young(rows, ns / self.mean[rows]):
            return
        error = min(ns / self.mean[rows], _CLIP) - 1
        spread = self._spread
        # Quantile by stochastic approximation: at rest where a share `quantile` of the errors lies below.
        step = self.quantile if error > self._factor * spread else self.quantile - 1
        self._factor = min(max(self._factor + 0.1 * step, 1.0), _MAX_FACTOR)
        before, last = self._errors
        self._errors = (last, error)
        change = _change(before, last, error, spread)
        if change:
            # The machine's speed has changed: follow at once instead of over many batches.
            self._scale *= 1 + change
            self._errors = (0.0, 0.0)
            self._moved = 1.0
        else:
            self._spread = spread + _GAIN_SPREAD * (min(abs(error), _OUTLIER * spread + _STALE) - spread)
            self._learn(rows, error)
        if abs(self._moved) > _STALE:
            self._rebuild()

    def _first(self, rows: int, ns: int) -> None:
        """Nothing was known: time grows with the rows until larger batches show otherwise."""
        self._values = [max(1.0, ns * knot / rows) for knot in self._knots]
        self._guess = list(self._values)
        self._seen = [0] * len(self._knots)
        self._seen[bisect_left(self._knots, rows)] = 1
        self.limit = min(self.max_rows, 2 * rows)
        self._rebuild()

    def doubt(self) -> None:
        """A job was refused because of the prediction alone, with nothing in its way.

        Where the prediction is a guess, or one unlucky batch, that must not go on for ever: from batches that never
        run nobody learns. What is known well is not doubted.
        """
        if self._seen:
            pairs = zip(self._values, self._seen, strict=True)
            self._values = [value * _DOUBT if num < _YOUNG else value for value, num in pairs]
            self._guess = [value * _DOUBT for value in self._guess]
            self._rebuild()

    def _learn_young(self, rows: int, ratio: float) -> bool:
        """Learn from one of the first batches near a guessed knot; False: the knots beside are known well enough.

        `ratio`: of its time to the prediction. A knot moves to the mean of what was seen there.
        """
        knots, seen = self._knots, self._seen
        right = bisect_left(knots, rows)
        young = [right] if knots[right] == rows else [right - 1, right]
        young = [place for place in young if seen[place] < _YOUNG]
        if not young:
            return False
        ratio = min(max(ratio, 1 / _MOST_WRONG), _MOST_WRONG)
        for place in young:
            # Less than half: what was seen before was the slow first run of a shape, not noise.
            num = 0 if ratio < 0.5 else seen[place]
            self._values[place] *= 1 + (ratio - 1) / (1 + num)
            seen[place] += 1
        self._guess_unseen()
        if min(seen) >= _YOUNG:
            self._seen = []
        self._rebuild()
        return True

    def _guess_unseen(self) -> None:
        """Sizes that never ran keep the guess's shape: as far from it as the next smaller size that ran.

        Each time anew: after one slow first run of a shape they would else look too slow to be ever tried.
        """
        values, guess = self._values, self._guess
        nearest = next(place for place, num in enumerate(self._seen) if num)
        for place, num in enumerate(self._seen):
            if num:
                nearest = place
            else:
                values[place] = guess[place] * values[nearest] / guess[nearest]

    def _learn(self, rows: int, error: float) -> None:
        self._scale *= 1 + _GAIN_SCALE * error
        knots = self._knots
        right = bisect_left(knots, rows)
        step = 1 + _GAIN_KNOT * error
        if knots[right] == rows:
            self._values[right] *= step
        else:
            share = (rows - knots[right - 1]) / (knots[right] - knots[right - 1])
            self._values[right - 1] *= 1 + (step - 1) * (1 - share)
            self._values[right] *= 1 + (step - 1) * share
        self._moved += (_GAIN_SCALE + _GAIN_KNOT) * error

    def _rebuild(self) -> None:
        knots, scale = self._knots, self._scale
        values = [value * scale for value in accumulate(self._values, max)]
        mean = [0, round(values[0]) or 1]
        for place in range(1, len(knots)):
            low, rows = values[place - 1], knots[place] - knots[place - 1]
            slope = (values[place] - low) / rows
            mean += [round(low + slope * step) or 1 for step in range(1, rows + 1)]
        margin = 1 + max(_MIN_MARGIN, self._factor * self._spread)
        self.mean = mean
        self.upper = [int(ns * margin) for ns in mean]
        self.best = _best_sizes(self._hoped(mean) if self._seen else mean)
        most = self.best[self.limit]
        self.unit_ns = max(1, mean[most] // most)
        self._moved = 0.0

    def _hoped(self, mean: list[int]) -> list[int]:
        """`mean`, but of sizes that are only guessed no worse a rate than the best that is known.

        A guess that calls a size bad would otherwise stand for ever: nobody runs what does not pay.
        """
        known = [knot for knot, num in zip(self._knots, self._seen, strict=True) if num >= _YOUNG] or [1]
        unit = min([mean[rows] / rows for rows in known])
        last = known[-1]
        return mean[: last + 1] + [min(mean[rows], int(rows * unit)) for rows in range(last + 1, len(mean))]


class ServiceTime:
    """Curves of one model, one for each shape bucket.

    Args: max_batch_size: rows.  quantile: which quantile of the service time `upper_ns` follows.
    """

    def __init__(self, max_batch_size: int, *, quantile: float = 0.98) -> None:
        if max_batch_size < 1:
            raise ValueError(f"max_batch_size {max_batch_size} is below 1")
        if not 0.5 <= quantile < 1:
            raise ValueError(f"quantile {quantile} is outside [0.5, 1)")
        self.max_batch_size = max_batch_size
        self.quantile = quantile
        self.curves: dict[Hashable, Curve] = {}
        self._profiled: dict[int, Curve] = {}  # by length

    def curve(self, bucket: Hashable = None) -> Curve:
        """The curve of a bucket, made on first use; the object stays the same for good.

        A bucket that is a length (an int) and was not profiled starts from what the profiled lengths beside it take.
        """
        curve = self.curves.get(bucket)
        if curve is None:
            curve = self.curves[bucket] = Curve(self.max_batch_size, self.quantile)
            if isinstance(bucket, int) and self._profiled:
                curve.expect(self._between_lengths(bucket))
        return curve

    def forget(self, bucket: Hashable) -> None:
        """Drop what was learned of a bucket; a profiled length stays: others start from it."""
        if bucket not in self._profiled and bucket is not None:
            self.curves.pop(bucket, None)

    def _between_lengths(self, length: int) -> list[float]:
        """Linear between profiled lengths, in proportion beyond the longest, not below the shortest."""
        known = sorted(self._profiled)
        right = bisect_left(known, length)
        if right == len(known):
            return [value * length / known[-1] for value in self._profiled[known[-1]].values()]
        if right == 0:
            return self._profiled[known[0]].values()
        short, long = known[right - 1], known[right]
        share = (length - short) / (long - short)
        pairs = zip(self._profiled[short].values(), self._profiled[long].values(), strict=True)
        return [low + share * (high - low) for low, high in pairs]

    def mean_ns(self, rows: int, bucket: Hashable = None) -> int:
        return self.curve(bucket).mean[rows]

    def upper_ns(self, rows: int, bucket: Hashable = None) -> int:
        return self.curve(bucket).upper[rows]

    def best_rows(self, waiting: int, bucket: Hashable = None) -> int:
        """How many of `waiting` rows one batch should take: as far as batching pays in this bucket."""
        curve = self.curve(bucket)
        return curve.best[min(waiting, curve.limit)]

    def limit(self, bucket: Hashable = None) -> int:
        """Rows that a batch of this bucket may have now."""
        return self.curve(bucket).limit

    def observe(self, rows: int, bucket: Hashable, ns: int) -> None:
        self.curve(bucket).observe(rows, ns)

    def seed(self, bucket: Hashable, samples: Mapping[int, Sequence[int]]) -> None:
        curve = self.curve(bucket)
        curve.seed(samples)
        if isinstance(bucket, int):
            self._profiled[bucket] = curve


def _change(before: float, last: float, error: float, spread: float) -> float:
    """Relative change of speed that the last three errors show; 0.0 for none."""
    if last * error <= 0:
        return 0.0
    pair = min(abs(last), abs(error))
    if pair > _PAIR * spread + _STALE:
        return (last + error) / 2
    if before * error > 0 and min(pair, abs(before)) > _TRIPLE * spread + _STALE:
        return (before + last + error) / 3
    return 0.0


def knots_of(max_rows: int) -> list[int]:
    """1, 2, 4, ... and `max_rows`."""
    knots = [1]
    while 2 * knots[-1] < max_rows:
        knots.append(2 * knots[-1])
    return [*knots, max_rows] if max_rows > 1 else knots


def _trimmed_mean(samples: Sequence[int]) -> float:
    """Mean without times of more than twice the median, so that a hiccup during the profile does not count."""
    median = sorted(samples)[len(samples) // 2]
    kept = [ns for ns in samples if ns <= 2 * median]
    return max(1.0, sum(kept) / len(kept))


def _interpolate(sizes: Sequence[int], means: Sequence[float], rows: int) -> float:
    """Linear between the profiled sizes, outside them along the nearest segment; through zero if there is one size."""
    if len(sizes) == 1:
        return means[0] * rows / sizes[0]
    right = min(max(bisect_left(sizes, rows), 1), len(sizes) - 1)
    left = right - 1
    slope = (means[right] - means[left]) / (sizes[right] - sizes[left])
    return max(1.0, means[left] + slope * (rows - sizes[left]))


def _best_sizes(mean: Sequence[int]) -> list[int]:
    best, size, at_ns = [0], 1, mean[1]
    for rows in range(1, len(mean)):
        ns = mean[rows]
        if rows * at_ns >= size * ns:
            size, at_ns = rows, ns
        best.append(size)
    return best
