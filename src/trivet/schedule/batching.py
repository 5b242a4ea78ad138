"""Which of a queue's jobs form the next batch. Two answers, and the test that chooses between them.

Head: from the earliest deadline on, as many as that deadline allows. Right while everything that waits can be done;
beyond that it is metastable: an old head allows small batches only, small batches are slow, the heads grow older.
Window: the run of neighbours that gives the most rows a second, skipping heads that would not allow it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import erf, sqrt
from typing import Final, NamedTuple

from trivet.schedule.queue import Queue

# While an overload passes, a smaller batch is worth this share of rows a second (grid: 2 % to 4 % gain most).
PATIENCE: Final = 0.03
PASSING_LOAD: Final = 1.1

# Margins that a window weighs, in units of the distance from mean to upper quantile (2.05 sigma of normal errors).
_MARGINS: Final = (0.75, 0.55)
_WEIGHED_FROM: Final = 0.01
LATE_COST: Final = 1.0  # of a late answer, in answers in time
_SAMPLE: Final = 8
_STEPS: Final = 16
# Chance to be in time by the slack over the mean, in steps of a sixteenth of that distance: normal errors.
_IN_TIME: Final = [0.5 + 0.5 * erf(2.054 * (step + 0.5) / _STEPS / sqrt(2)) for step in range(2 * _STEPS)]


class Cut(NamedTuple):
    """jobs[start:stop] of a queue as a batch of `rows`. `efficiency`: rows a second over the best there is."""

    start: int
    stop: int
    rows: int
    efficiency: float
    margin: float = 1.0  # of the distance from mean to upper quantile: how surely its first job is in time


def head_cut(queue: Queue, now_ns: int) -> Cut:
    """The batch that starts with the earliest deadline; larger than that deadline allows only if the job itself is."""
    curve = queue.curve
    most = min(queue.rows, curve.limit)
    slack_ns = queue.deadlines[0] - now_ns
    if curve.upper[most] > slack_ns:
        most = bisect_right(curve.upper, slack_ns, 1, most + 1) - 1
    return _cut(queue, 0, max(curve.best[most], queue.jobs[0].rows))


def window_cut(queue: Queue, now_ns: int) -> Cut | None:
    """The densest run of neighbours that keep their deadlines; None if not even one job does.

    How surely they keep them is weighed: with a smaller margin a batch is larger, and its first jobs may be late.
    """
    after = _rows_after(queue)
    curve = queue.curve
    most = _most_rows(queue, after, now_ns, 1.0)
    if most == 0:
        return None
    cut = _window(queue, now_ns, most, 1.0)
    # Where times hardly vary, or all rows there are fit already, there is nothing to weigh.
    if (
        cut is None
        or most >= curve.limit
        or curve.upper[most] - curve.mean[most] < _WEIGHED_FROM * curve.mean[most]
    ):
        return cut
    best, most_gained = cut, _gained(queue, cut, now_ns)
    for margin in _MARGINS:
        larger = _window(queue, now_ns, _most_rows(queue, after, now_ns, margin), margin)
        if larger is not None and (gained := _gained(queue, larger, now_ns)) > most_gained:
            best, most_gained = larger, gained
    return best


def _most_rows(queue: Queue, after: _After, now_ns: int, margin: float) -> int:
    """The largest batch for which there are enough jobs that keep their deadlines; 0: not even one."""
    mean, upper, deadlines = queue.curve.mean, queue.curve.upper, queue.deadlines
    # If `size` rows can be found that outlast it, so can fewer: bisect for the most.
    low, high = 0, min(queue.rows, queue.curve.limit)
    while low < high:
        size = (low + high + 1) // 2
        if after(bisect_left(deadlines, now_ns + _planned_ns(mean[size], upper[size], margin))) >= size:
            low = size
        else:
            high = size - 1
    return low


def _window(queue: Queue, now_ns: int, most: int, margin: float) -> Cut | None:
    curve = queue.curve
    size = curve.best[most]
    if is_passing(queue):
        size = _smallest_within(curve.mean, size, PATIENCE)
    start = bisect_left(queue.deadlines, now_ns + _planned_ns(curve.mean[size], curve.upper[size], margin))
    if queue.rows > len(queue.deadlines) and queue.jobs[start].rows > size:
        return _first_alone(queue, now_ns)
    return _cut(queue, start, size)._replace(margin=margin)


def _planned_ns(mean_ns: int, upper_ns: int, margin: float) -> int:
    return upper_ns if margin == 1.0 else mean_ns + int(margin * (upper_ns - mean_ns))


def _gained(queue: Queue, cut: Cut, now_ns: int) -> float:
    """Rows a ns expected in time, less those expected late, over a sample of the batch."""
    mean_ns = queue.curve.mean[cut.rows]
    spread_ns = max(1, queue.curve.upper[cut.rows] - mean_ns)
    end_ns = now_ns + mean_ns
    num = cut.stop - cut.start
    total = 0.0
    for place in range(_SAMPLE):
        slack = (queue.deadlines[cut.start + (2 * place + 1) * num // (2 * _SAMPLE)] - end_ns) / spread_ns
        total += _IN_TIME[min(int(slack * _STEPS), len(_IN_TIME) - 1)]
    return (total / _SAMPLE * (1 + LATE_COST) - LATE_COST) * cut.rows / mean_ns


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
    """Whether earliest deadline first would keep every deadline of the backlog, as far as is known now.

    Asked at every start while jobs wait, so it must not cost more because more of them do. It looks at few deadlines:
    the slack at one says how many batches further nobody can be late (several queues: from the last deadline back,
    Zhang and Burns, Schedulability Analysis for Real-Time Systems with EDF Scheduling, IEEE Trans. Computers 2009).
    """
    if len(queues) == 1:
        return _is_feasible_alone(queues[0], now_ns)
    backlogs = [_Backlog(queue, num_cores) for queue in queues]
    first_ns = min([queue.deadlines[0] for queue in queues])
    at_ns = max([backlog.last_ns for backlog in backlogs])
    while True:
        end_ns = now_ns + sum([backlog.due_ns(at_ns) for backlog in backlogs])
        if end_ns > at_ns:
            return False
        if end_ns < first_ns:
            return True
        # Who is due between that end and here is due after work that is no more than this.
        if end_ns == at_ns:
            earlier = [due for backlog in backlogs if (due := backlog.before_ns(at_ns)) is not None]
            if not earlier:
                return True
            end_ns = max(earlier)
        at_ns = end_ns


class _Backlog:
    """A queue cut into batches of the best size, each due with its first job."""

    __slots__ = ("cost_ns", "deadlines", "last_cost_ns", "last_ns", "step")

    def __init__(self, queue: Queue, num_cores: int) -> None:
        curve, num = queue.curve, len(queue.jobs)
        self.deadlines = queue.deadlines
        self.step = step = curve.best[min(queue.rows, curve.limit)]
        self.cost_ns = curve.mean[step] * queue.model.lane_cores // num_cores  # core time of a batch
        last = (num - 1) // step * step
        self.last_ns = queue.deadlines[last]
        self.last_cost_ns = self.cost_ns * (num - last) // step

    def due_ns(self, deadline_ns: int) -> int:
        """Work that is due no later."""
        num = -(-bisect_right(self.deadlines, deadline_ns) // self.step)
        if num and deadline_ns >= self.last_ns:
            return (num - 1) * self.cost_ns + self.last_cost_ns
        return num * self.cost_ns

    def before_ns(self, deadline_ns: int) -> int | None:
        """When the last batch is due that is due earlier."""
        num = -(-bisect_left(self.deadlines, deadline_ns) // self.step)
        return self.deadlines[(num - 1) * self.step] if num else None


def _is_feasible_alone(queue: Queue, now_ns: int) -> bool:
    curve, deadlines = queue.curve, queue.deadlines
    num = len(deadlines)
    step = curve.best[min(num, curve.limit)]
    parallel = queue.model.parallel
    upper_ns, batch_ns = curve.upper[step], curve.mean[step] // parallel
    place = 0
    while place < num:
        slack_ns = deadlines[place] - now_ns
        if upper_ns <= slack_ns:
            # Nobody behind is due earlier, so as many batches on as the slack holds nobody is late, either.
            batches = 1 + (slack_ns - upper_ns) // (batch_ns or 1)
            now_ns += batches * batch_ns
            place += batches * step
            continue
        size = min(step, num - place)
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
