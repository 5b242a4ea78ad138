"""Which of a queue's jobs form the next batch. Two answers, and the test that chooses between them.

Head: from the earliest deadline on, as many as that deadline allows. Right while everything that waits can be done;
beyond that it is metastable: an old head allows small batches only, small batches are slow, the heads grow older.
Window: the run of neighbours that gives the most rows a second, skipping heads that would not allow it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from trivet.schedule.queue import Queue

# While an overload passes, a smaller batch is worth this share of rows a second (grid: 2 % to 4 % gain most).
PATIENCE: Final = 0.03
PASSING_LOAD: Final = 1.1


class Cut(NamedTuple):
    """jobs[start:stop] of a queue as a batch of `rows`. `efficiency`: rows a second over the best there is."""

    start: int
    stop: int
    rows: int
    efficiency: float


def head_cut(queue: Queue, now_ns: int) -> Cut:
    """The batch that starts with the earliest deadline; larger than that deadline allows only if the job itself is."""
    curve = queue.curve
    most = min(queue.rows, curve.limit)
    slack_ns = queue.deadlines[0] - now_ns
    if curve.upper[most] > slack_ns:
        most = bisect_right(curve.upper, slack_ns, 1, most + 1) - 1
    return _cut(queue, 0, max(curve.best[most], queue.jobs[0].rows))


def window_cut(queue: Queue, now_ns: int) -> Cut | None:
    """The densest run of neighbours that all keep their deadlines; None if not even one job does."""
    upper, deadlines = queue.curve.upper, queue.deadlines
    after = _rows_after(queue)
    # If `size` rows can be found that outlast upper[size], so can fewer: bisect for the most.
    low, high = 0, min(queue.rows, queue.curve.limit)
    while low < high:
        size = (low + high + 1) // 2
        if after(bisect_left(deadlines, now_ns + upper[size])) >= size:
            low = size
        else:
            high = size - 1
    if low == 0:
        return None
    size = queue.curve.best[low]
    if is_passing(queue):
        size = _smallest_within(queue.curve.mean, size, PATIENCE)
    start = bisect_left(deadlines, now_ns + upper[size])
    if queue.rows > len(deadlines) and queue.jobs[start].rows > size:
        return _first_alone(queue, now_ns)
    return _cut(queue, start, size)


def _first_alone(queue: Queue, now_ns: int) -> Cut | None:
    """The first job that keeps its deadline as a batch of its own: it has more rows than the window."""
    for place, job in enumerate(queue.jobs):
        if now_ns + queue.curve.upper[job.rows] <= job.deadline_ns:
            return _cut(queue, place, job.rows)
    return None


def is_passing(queue: Queue) -> bool:
    """Whether the overload will pass, and some jobs can wait for that: arrivals are fewer in the long run, and
    budgets differ. Then a large batch of patient jobs, good for rows a second, only kills the urgent ones.
    """
    if 2 * queue.long_budget_ns <= 3 * queue.budget_ns:
        return False
    return queue.mean_rate * queue.curve.unit_ns <= PASSING_LOAD * queue.model.parallel


def _smallest_within(mean: Sequence[int], size: int, share: float) -> int:
    """The smallest batch whose rows a second are at most `share` below those of `size`."""
    low, high = 1, size
    while low < high:
        middle = (low + high) // 2
        if middle * mean[size] >= (1 - share) * size * mean[middle]:
            high = middle
        else:
            low = middle + 1
    return low


def _rows_after(queue: Queue) -> _After:
    if queue.rows == len(queue.jobs):
        return _After(queue.rows, None)
    before = [0]
    for job in queue.jobs:
        before.append(before[-1] + job.rows)
    return _After(queue.rows, before)


class _After:
    """Rows of the jobs from a place on."""

    __slots__ = ("before", "total")

    def __init__(self, total: int, before: Sequence[int] | None) -> None:
        self.total = total
        self.before = before

    def __call__(self, place: int) -> int:
        return self.total - (place if self.before is None else self.before[place])


def _cut(queue: Queue, start: int, max_rows: int) -> Cut:
    stop, rows = queue.fit(start, max_rows)
    curve = queue.curve
    return Cut(start, stop, rows, rows * curve.unit_ns / (curve.mean[rows] or 1))


def fits_whole(queue: Queue, now_ns: int) -> bool:
    """Whether all that waits is one good batch within every deadline: then there is nothing to decide."""
    rows, curve = queue.rows, queue.curve
    return (
        rows <= curve.limit and curve.best[rows] == rows and now_ns + curve.upper[rows] <= queue.deadlines[0]
    )


def is_feasible(queues: Sequence[Queue], now_ns: int, num_cores: int) -> bool:
    """Whether earliest deadline first would keep every deadline of the backlog, as far as is known now."""
    if len(queues) == 1:
        return _is_feasible_alone(queues[0], now_ns)
    chunks: list[tuple[int, int]] = []
    for queue in queues:
        curve, step = queue.curve, queue.curve.best[min(queue.rows, queue.curve.limit)]
        cost_ns = curve.mean[step] * queue.model.lane_cores // num_cores
        for place in range(0, len(queue.jobs), step):
            rows = min(step, len(queue.jobs) - place)
            chunks.append((queue.deadlines[place], cost_ns if rows == step else cost_ns * rows // step))
    chunks.sort()
    for deadline_ns, cost_ns in chunks:
        now_ns += cost_ns
        if now_ns > deadline_ns:
            return False
    return True


def _is_feasible_alone(queue: Queue, now_ns: int) -> bool:
    curve, deadlines = queue.curve, queue.deadlines
    num = len(deadlines)
    step = curve.best[min(num, curve.limit)]
    parallel = queue.model.parallel
    place = 0
    while place < num:
        slack_ns = deadlines[place] - now_ns
        size = min(step, num - place)
        if curve.upper[size] > slack_ns:
            # An old head allows only a smaller batch: this is where head-anchored batching begins to lose.
            size = bisect_right(curve.upper, slack_ns, 1, size + 1) - 1
            if size == 0:
                return False
        now_ns += curve.mean[size] // parallel
        place += size
    return True


def sustainable(queue: Queue) -> int:
    """The batch size that can go on for ever: who just missed one still makes the next (twice s(b) within budget)."""
    curve = queue.curve
    size = bisect_right(curve.mean, queue.budget_ns // 2, 1, curve.limit + 1) - 1
    return curve.best[max(1, size)]


def demand(queue: Queue) -> float:
    """Share of a core's time that the queue's arrivals need at its sustainable batch size."""
    size = sustainable(queue)
    return queue.rate * queue.curve.mean[size] / size
