"""A run cut into windows, and what is read off each: the pairs that a replay compares.

Windows hold equally many requests in the order of intended sends. Two runs of one schedule have the same requests in
the same window, whatever pauses lay between the blocks that they were measured in.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.spec.row import ABSENT, PHASES, RowColumns
from trivet.stats.percentile import percentile_ns

MAX_WINDOWS = 20
MIN_WINDOWS = 5  # below it the spread of the pairs is a guess
PAUSE = (
    50  # times the median gap between answers: longer ones are pauses between blocks, and no one's slowness
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something of a window that is compared. `margin`: the relative change that still counts as the same.

    5 % of a median: beyond what unchanged runs wander on a quiet machine, or beside a yardstick, below any
    change worth a search. 25 % of a p99: on a shared machine the tails of ten runs of a minute with one engine
    varied by 16 %, and by 7 % beside a yardstick (standard deviations; docs/benchmarks/measuring.md).
    """

    name: str
    margin: float
    min_rows: int  # of a window, for the quantity to mean anything
    is_time: bool = True  # grows when the machine is slower
    p: float = 0.5  # of times


ENGINE = Quantity("engine time", 0.05, 10)
P50 = Quantity("latency_p50_ms", 0.05, 10)
P99 = Quantity("latency_p99_ms", 0.25, 200, p=0.99)
THROUGHPUT = Quantity("throughput_rps", 0.05, 10, is_time=False)
QUANTITIES = (ENGINE, P50, P99, THROUGHPUT)


def num_windows(quantity: Quantity, runs: list[RowColumns]) -> int:
    """How many windows of enough rows each of the runs has, at most MAX_WINDOWS."""
    return min(MAX_WINDOWS, min(rows.num_rows for rows in runs) // quantity.min_rows)


def times_of(
    quantity: Quantity, rows: RowColumns, batch_size: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which rows have the time that the quantity is of, and all rows' values of it, ns: shape (rows,) each.

    Args: batch_size: engine times are those of batches of this size; None: of the commonest.
    """
    if quantity is ENGINE:
        size = commonest_batch(rows) if batch_size is None else batch_size
        times = rows["compute_ns"]
        return (rows["batch_size"] == size) & (times > 0), times
    return rows.words["outcome"].equal("ok", "late"), rows.latency_ns()


def window_values(
    quantity: Quantity,
    rows: RowColumns,
    num: int,
    batch_size: int,
    slowed: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """The quantity in each of `num` windows, shape (num,): ns or answers a second; nan where too little is known.

    Args: batch_size: engine times are those of batches of this size.
    slowed: log of how much each time was slowed by what is to be taken out, shape (rows,).
    """
    order = np.argsort(rows["intended_ns"], kind="stable")
    if quantity is THROUGHPUT:
        answered = rows.words["outcome"].equal("ok", "late")[order]
        return _rates(rows["done_ns"][order][answered], num)
    usable, times = times_of(quantity, rows, batch_size)
    if slowed is not None:
        times = np.round(times / np.exp(slowed)).astype(np.int64)
    usable, times = usable[order], times[order]
    found = np.full(num, np.nan)
    for window, chosen in enumerate(np.array_split(np.arange(rows.num_rows), num)):
        sample = times[chosen][usable[chosen]]
        if len(sample) >= max(2, quantity.min_rows // 2):
            found[window] = percentile_ns(sample, quantity.p)
    return found


def _rates(done_ns: NDArray[np.int64], num: int) -> NDArray[np.float64]:
    """Answers a second between consecutive answers, without the pauses between blocks."""
    if len(done_ns) < 2 * num:
        return np.full(num, np.nan)
    gaps = np.diff(np.sort(done_ns))
    kept = gaps[gaps <= max(1, PAUSE * int(np.median(gaps)))]
    return np.array([len(part) / max(1, int(part.sum())) * 1e9 for part in np.array_split(kept, num)])


def commonest_batch(rows: RowColumns) -> int:
    """The batch size that most requests ran in; ABSENT where the answers do not say."""
    sizes = rows["batch_size"]
    ran = sizes[(sizes > 0) & (rows["compute_ns"] > 0)]
    return int(np.bincount(ran).argmax()) if len(ran) else ABSENT


def phase_medians(rows: RowColumns) -> dict[str, float]:
    """Median time of each phase that the answers tell, and of what lies outside them; ns."""
    answered = rows.words["outcome"].equal("ok", "late")
    known = {phase: rows[f"{phase}_ns"] for phase in PHASES if (rows[f"{phase}_ns"][answered] >= 0).any()}
    if not known:
        return {}
    inside = sum(np.maximum(times, 0) for times in known.values())
    known["outside of the server"] = np.maximum(rows.latency_ns() - inside, 0)
    return {phase: float(np.median(times[answered & (times >= 0)])) for phase, times in known.items()}
