"""Check (d) of a run that was measured in turn with the yardstick: its times by the yardstick's, then and now.

What the machine does to both sides in their turns meets them in measures of their own: a service may become 8 % slower where
the yardstick becomes 10. How much is learned from the starts of all runs, each run with a level of its own; what differs
between the levels is the service's. Starts are what is counted, as what starts differ by does not cancel. A service that was
started once (it has a cache) is counted by blocks, with that error put to it.

A tail of one start is few requests: most of what the yardstick's tails differ by is chance, and what follows them seems to
follow by less than it does. How much is chance is seen between the halves of each start, and taken into account.

Sources: analysis of covariance, Cochran (1957); with a prior for the slope, Bishop (2006), section 3.3; of a covariate with
errors, Fuller (1987), section 1.2.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.replay.check_timing import Timed, judged, too_few
from trivet.experiment.replay.checks import Check
from trivet.experiment.replay.windows import P99, Quantity, commonest_batch, window_values

MIN_PARTS = 4  # starts or blocks: of fewer the spread is a guess
START_ERROR = 0.015  # log scale: standard deviation of what starts of one service differ by (docs/benchmarks/measuring.md)
SLOPE, SLOPE_ERROR = 1.0, 0.3  # beforehand: both sides are slowed alike

STICK_TAIL = Quantity("latency_p98_ms", P99.margin, P99.min_rows, p=0.98)
# Requests in a row that go to the same half, so that what holds up a few meets one of them; of few requests, a part of all.
HALVED, PIECES = 100, 200

Pair = tuple[Timed, Timed]  # a run, and the yardstick's that was measured in turn with it
Logs = NDArray[np.float64]


def check_beside(quantity: Quantity, then: Pair, repeats: Sequence[Pair]) -> Check:
    """Equivalence of the recorded run and its repeats, each by its yardstick."""
    by_start = all(_num(timed.starts) >= MIN_PARTS for pair in (then, *repeats) for timed in pair)
    size = commonest_batch(then[0].rows)
    runs = [_parts(quantity, pair, size, by_start=by_start) for pair in (then, *repeats)]
    nums = [len(times) for times, _, _ in runs]
    if min(nums) < MIN_PARTS:
        return too_few(
            quantity,
            f"fewer than {MIN_PARTS} parts in which both have enough requests; measure longer, in more --blocks",
        )
    slope, slope_error, spread = _slope(runs)
    levels = [float(times.mean() - slope * stick.mean()) for times, stick, _ in runs]
    sticks = [float(stick.mean()) for _, stick, _ in runs]
    apart = float(np.mean(sticks[1:])) - sticks[0]
    num_repeats = len(repeats)
    error = math.sqrt(
        spread**2 * (1 / nums[0] + sum(1 / num for num in nums[1:]) / num_repeats**2)
        + (slope_error * apart) ** 2
    )
    if not by_start:
        error = math.hypot(error, START_ERROR * math.sqrt(1 + 1 / num_repeats))
    parts = f"by the yardstick, {nums[0]} and {sum(nums[1:])} {'starts' if by_start else 'blocks'}"
    shifts = [level - levels[0] for level in levels[1:]]
    return judged(quantity.name, quantity, shifts, error, sum(nums) - len(nums) - 1, parts)


def _num(of: NDArray[np.int64] | None) -> int:
    return 1 if of is None else len(np.unique(of))


def _parts(quantity: Quantity, pair: Pair, size: int, *, by_start: bool) -> tuple[Logs, Logs, Logs]:
    """Logs of the run's times and of the yardstick's, and of the yardstick's in one half over the other, in each part that
    both have: shapes (parts,).

    A p99 stands beside the yardstick's p98: what else is in a tail, a moment in which nobody ran, comes to one side or the
    other, and two p99 have the chance of both.

    Args: size: batches of this size are the run's.
    """
    timed, stick = pair
    beside = STICK_TAIL if quantity is P99 else quantity
    of_half = replace(beside, min_rows=1)
    stick_size = commonest_batch(stick.rows)
    sides = [
        _values(quantity, timed, size, by_start=by_start),
        _values(beside, stick, stick_size, by_start=by_start),
        *(_values(of_half, half, stick_size, by_start=by_start) for half in _halves(stick)),
    ]
    parts = sorted(set.intersection(*(set(side) for side in sides)))
    found = np.log(np.array([[side[part] for side in sides] for part in parts], np.float64).reshape(-1, 4))
    times, sticks, first, second = found[np.isfinite(found).all(axis=1)].T
    return times, sticks, first - second


def _halves(timed: Timed) -> tuple[Timed, Timed]:
    """Requests in turn to either, some neighbours at a time."""
    place = np.empty(timed.rows.num_rows, np.int64)
    place[np.argsort(timed.rows["intended_ns"], kind="stable")] = np.arange(len(place))
    first = place // max(1, min(HALVED, len(place) // PIECES)) % 2 == 0

    def half(chosen: NDArray[np.bool_]) -> Timed:
        return Timed(
            timed.rows.select(chosen),
            blocks=None if timed.blocks is None else timed.blocks[chosen],
            starts=None if timed.starts is None else timed.starts[chosen],
        )

    return half(first), half(~first)


def _values(quantity: Quantity, timed: Timed, size: int, *, by_start: bool) -> dict[int, float]:
    """The quantity in each start, or block; nan where too little is known."""
    of = timed.starts if by_start else timed.blocks
    of = np.zeros(timed.rows.num_rows, np.int64) if of is None else of
    return {
        int(part): float(window_values(quantity, timed.rows.select(of == part), 1, size)[0])
        for part in np.unique(of)
    }


def _slope(runs: Sequence[tuple[Logs, Logs, Logs]]) -> tuple[float, float, float]:
    """By how much times follow the yardstick's within the runs, its standard error, and the spread of what is left."""
    y = np.concatenate([times - times.mean() for times, _, _ in runs])
    x = np.concatenate([stick - stick.mean() for _, stick, _ in runs])
    degrees = len(y) - len(runs) - 1
    # The mean of two halves is off by half as much as they differ, in variance by a quarter.
    chance = float(np.mean(np.concatenate([apart for _, _, apart in runs]) ** 2)) / 4
    seen = float(x @ x)
    true = max(0.0, seen - chance * (len(x) - len(runs)))
    slope, variance, precision = SLOPE, 0.0, 1 / SLOPE_ERROR**2
    for _ in range(3):  # the noise is that of the fit, and the fit weighs the prior by the noise
        variance = float(np.sum((y - slope * x) ** 2)) / degrees + 1e-12
        told = true / max(seen, 1e-12) / variance  # of each unit of x @ y
        precision = told * true + 1 / SLOPE_ERROR**2
        slope = (told * float(x @ y) + SLOPE / SLOPE_ERROR**2) / precision
    return slope, math.sqrt(1 / precision), math.sqrt(variance)
