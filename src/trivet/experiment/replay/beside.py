"""Check (d) of a run that was measured in turn with the yardstick: how many times its times are, then and now.

What the machine did to both sides in their turns cancels within a start; what starts differ by does not, so starts are what
is counted. A service that was started once (it has a cache) is counted by blocks, with that error put to it.

Source: two-sample t-test with unequal variances, Welch (1947).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.replay.check_timing import Timed, judged, too_few
from trivet.experiment.replay.checks import Check
from trivet.experiment.replay.windows import P50, P99, Quantity, commonest_batch, window_values

MIN_PARTS = 4  # starts or blocks: of fewer the spread is a guess
START_ERROR = 0.015  # log scale: standard deviation of what starts of one service differ by (docs/benchmarks/measuring.md)

Pair = tuple[Timed, Timed]  # a run, and the yardstick's that was measured in turn with it
Logs = NDArray[np.float64]


def check_beside(quantity: Quantity, then: Pair, repeats: Sequence[Pair]) -> Check:
    """Equivalence of the recorded run and its repeats, each by its yardstick."""
    by_start = all(_num(timed.starts) >= MIN_PARTS for pair in (then, *repeats) for timed in pair)
    size = commonest_batch(then[0].rows)
    first, *others = (_ratios(quantity, pair, size, by_start=by_start) for pair in (then, *repeats))
    if min(map(len, (first, *others))) < MIN_PARTS:
        return too_few(
            quantity, f"fewer than {MIN_PARTS} parts in which both have enough requests with this time"
        )
    shifts = [float(other.mean() - first.mean()) for other in others]
    error, degrees = _error(first, others)
    if not by_start:
        error = math.hypot(error, START_ERROR * math.sqrt(1 + 1 / len(others)))
    parts = f"by the yardstick, {len(first)} and {sum(map(len, others))} {'starts' if by_start else 'blocks'}"
    return judged(quantity.name, quantity, shifts, error, degrees, parts)


def _num(of: NDArray[np.int64] | None) -> int:
    return 1 if of is None else len(np.unique(of))


def _ratios(quantity: Quantity, pair: Pair, size: int, *, by_start: bool) -> Logs:
    """log(run / yardstick) in each part that both have. Args: size: batches of this size are the run's.

    A tail is told by the yardstick's median: how fast the machine was is known by that, and what else is in a tail, a
    moment in which nobody ran, comes to one side or the other.
    """
    timed, stick = pair
    values = _values(quantity, timed, size, by_start=by_start)
    beside = _values(
        P50 if quantity is P99 else quantity, stick, commonest_batch(stick.rows), by_start=by_start
    )
    found = np.array([math.log(values[part] / beside[part]) for part in values.keys() & beside.keys()])
    return np.asarray(found[np.isfinite(found)], np.float64)


def _values(quantity: Quantity, timed: Timed, size: int, *, by_start: bool) -> dict[int, float]:
    """The quantity in each start, or block; nan where too little is known."""
    of = timed.starts if by_start else timed.blocks
    of = np.zeros(timed.rows.num_rows, np.int64) if of is None else of
    return {
        int(part): float(window_values(quantity, timed.rows.select(of == part), 1, size)[0])
        for part in np.unique(of)
    }


def _error(first: Logs, others: Sequence[Logs]) -> tuple[float, float]:
    """Standard error of the mean of the repeats less that of the recorded run, and its degrees of freedom."""
    parts = [float(first.var(ddof=1)) / len(first)]
    parts += [float(other.var(ddof=1)) / len(other) / len(others) ** 2 for other in others]
    degrees = [len(logs) - 1 for logs in (first, *others)]
    total = sum(parts)
    if total == 0:
        return 0.0, float(sum(degrees))
    return math.sqrt(total), total**2 / sum(part**2 / num for part, num in zip(parts, degrees, strict=True))
