"""Check (d) of a run that was measured in turn with the yardstick: its times by the yardstick's, then and now.

What the machine does to both sides in their turns meets them in measures of their own: a service may become 8 % slower where
the yardstick becomes 10. How much is learned from the starts of all runs, each run with a level of its own; what differs
between the levels is the service's. Starts are what is counted, as what starts differ by does not cancel. A service that was
started once (it has a cache) is counted by blocks, with that error put to it.

Source: analysis of covariance, Cochran (1957); with a prior for the slope, Bishop (2006), section 3.3.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.replay.check_timing import Timed, judged, too_few
from trivet.experiment.replay.checks import Check
from trivet.experiment.replay.windows import P99, Quantity, commonest_batch, window_values

MIN_PARTS = 4  # starts or blocks: of fewer the spread is a guess
START_ERROR = 0.015  # log scale: standard deviation of what starts of one service differ by (docs/benchmarks/measuring.md)
SLOPE, SLOPE_ERROR = 1.0, 0.3  # beforehand: both sides are slowed alike

STICK_TAIL = Quantity("latency_p95_ms", P99.margin, P99.min_rows, p=0.95)

Pair = tuple[Timed, Timed]  # a run, and the yardstick's that was measured in turn with it
Logs = NDArray[np.float64]


def check_beside(quantity: Quantity, then: Pair, repeats: Sequence[Pair]) -> Check:
    """Equivalence of the recorded run and its repeats, each by its yardstick."""
    by_start = all(_num(timed.starts) >= MIN_PARTS for pair in (then, *repeats) for timed in pair)
    size = commonest_batch(then[0].rows)
    runs = [_parts(quantity, pair, size, by_start=by_start) for pair in (then, *repeats)]
    nums = [len(times) for times, _ in runs]
    if min(nums) < MIN_PARTS:
        return too_few(
            quantity,
            f"fewer than {MIN_PARTS} parts in which both have enough requests; measure longer, in more --blocks",
        )
    slope, slope_error, spread = _slope(runs)
    levels = [float(times.mean() - slope * stick.mean()) for times, stick in runs]
    sticks = [float(stick.mean()) for _, stick in runs]
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


def _parts(quantity: Quantity, pair: Pair, size: int, *, by_start: bool) -> tuple[Logs, Logs]:
    """Logs of the run's times and of the yardstick's, in each part that both have: shapes (parts,).

    A p99 stands beside the yardstick's p95: what else is in a tail, a moment in which nobody ran, comes to one side or the
    other, and two p99 have the chance of both.

    Args: size: batches of this size are the run's.
    """
    timed, stick = pair
    times = _values(quantity, timed, size, by_start=by_start)
    beside = _values(
        STICK_TAIL if quantity is P99 else quantity, stick, commonest_batch(stick.rows), by_start=by_start
    )
    both = [(times[part], beside[part]) for part in sorted(times.keys() & beside.keys())]
    found = np.log(np.array(both, np.float64).reshape(-1, 2))
    found = found[np.isfinite(found).all(axis=1)]
    return found[:, 0], found[:, 1]


def _values(quantity: Quantity, timed: Timed, size: int, *, by_start: bool) -> dict[int, float]:
    """The quantity in each start, or block; nan where too little is known."""
    of = timed.starts if by_start else timed.blocks
    of = np.zeros(timed.rows.num_rows, np.int64) if of is None else of
    return {
        int(part): float(window_values(quantity, timed.rows.select(of == part), 1, size)[0])
        for part in np.unique(of)
    }


def _slope(runs: Sequence[tuple[Logs, Logs]]) -> tuple[float, float, float]:
    """By how much times follow the yardstick's within the runs, its standard error, and the spread of what is left."""
    y = np.concatenate([times - times.mean() for times, _ in runs])
    x = np.concatenate([stick - stick.mean() for _, stick in runs])
    degrees = len(y) - len(runs) - 1
    slope, variance, precision = SLOPE, 0.0, 1 / SLOPE_ERROR**2
    for _ in range(3):  # the noise is that of the fit, and the fit weighs the prior by the noise
        variance = float(np.sum((y - slope * x) ** 2)) / degrees + 1e-12
        precision = float(x @ x) / variance + 1 / SLOPE_ERROR**2
        slope = (float(x @ y) / variance + SLOPE / SLOPE_ERROR**2) / precision
    return slope, math.sqrt(1 / precision), math.sqrt(variance)
