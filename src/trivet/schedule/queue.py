"""Waiting jobs that may share a batch, in order of their deadlines."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trivet.schedule.foresight import Plan
    from trivet.schedule.job import Job
    from trivet.schedule.model import Class, Model
    from trivet.schedule.service_time import Curve

_MEMORY: Final = 64  # budgets over which the mean rate remembers
_RATE_ROWS: Final = 32  # an arrival rate is read from at least so many rows: its error is then below a fifth


class Queue:
    """Jobs of one model, priority and shape bucket; earliest deadline first, ties in order of arrival.

    Invariant: `deadlines[i] == jobs[i].deadline_ns`, ascending, and `rows` is the sum over the jobs. Two plain
    lists, because appending in order and cutting a slice off the head happen a million times; a heap cannot cut
    a window out of its middle.
    """

    __slots__ = (
        "_mark_ns",
        "_mark_offered",
        "bucket",
        "budget_ns",
        "curve",
        "deadlines",
        "deferred_ns",
        "guarded",
        "jobs",
        "long_budget_ns",
        "mean_rate",
        "model",
        "offered",
        "owner",
        "plan",
        "priority",
        "rate",
        "rows",
    )

    def __init__(self, model: Model, owner: Class, bucket: Hashable, curve: Curve) -> None:
        self.model = model
        self.owner = owner
        self.priority = owner.priority
        self.bucket = bucket
        self.curve = curve
        self.deadlines: list[int] = []
        self.jobs: list[Job] = []
        self.rows = 0
        self.plan: Plan | None = None  # of the next batch, while jobs have to be skipped
        self.guarded = (
            model.max_queue_ns is not None
        )  # or there is a plan: nobody enters without a look at it
        self.offered = 0  # rows offered so far, refused ones too; written by the scheduler
        self.rate = 0.0  # offered rows per ns, lately
        self.deferred_ns = 0  # until when its jobs wait on purpose
        self.mean_rate = 0.0  # the same over many budgets: bursts and pauses together
        self.budget_ns = 0  # the shortest time to a deadline that jobs bring, lately; 0 before the first
        self.long_budget_ns = 0  # the longest
        self._mark_ns = 0
        self._mark_offered = 0

    def __len__(self) -> int:
        return len(self.jobs)

    def open(self) -> None:
        """All can be served again: no plan."""
        self.plan = None
        self.guarded = self.model.max_queue_ns is not None

    def insert(self, job: Job) -> None:
        deadline_ns = job.deadline_ns
        deadlines = self.deadlines
        if not deadlines or deadline_ns >= deadlines[-1]:
            deadlines.append(deadline_ns)
            self.jobs.append(job)
        else:
            place = bisect_right(deadlines, deadline_ns)
            deadlines.insert(place, deadline_ns)
            self.jobs.insert(place, job)
        self.rows += job.rows

    def take(self, start: int, stop: int) -> list[Job]:
        """Cut jobs[start:stop] out of the queue."""
        jobs = self.jobs
        if start == 0 and stop == len(jobs):
            self.jobs, self.deadlines, self.rows = [], [], 0
            return jobs
        taken = jobs[start:stop]
        singles = self.rows == len(jobs)
        del jobs[start:stop]
        del self.deadlines[start:stop]
        self.rows -= len(taken) if singles else sum([job.rows for job in taken])
        return taken

    def remove(self, job: Job) -> bool:
        """Take one job out; False if it is not here."""
        place = bisect_left(self.deadlines, job.deadline_ns)
        jobs = self.jobs
        while place < len(jobs) and self.deadlines[place] == job.deadline_ns:
            if jobs[place] is job:
                del jobs[place]
                del self.deadlines[place]
                self.rows -= job.rows
                return True
            place += 1
        return False

    def fit(self, start: int, max_rows: int) -> tuple[int, int]:
        """(stop, rows) of the longest run of jobs from `start` whose rows are at most `max_rows`."""
        jobs = self.jobs
        if self.rows == len(jobs):
            stop = min(len(jobs), start + max_rows)
            return stop, stop - start
        rows = 0
        for stop in range(start, len(jobs)):
            if rows + jobs[stop].rows > max_rows:
                return stop, rows
            rows += jobs[stop].rows
        return len(jobs), rows

    def rows_until(self, deadline_ns: int) -> int:
        """Rows that are due no later than `deadline_ns`."""
        place = bisect_right(self.deadlines, deadline_ns)
        if self.rows == len(self.jobs):
            return place
        return sum([job.rows for job in self.jobs[:place]])

    def note(self, now_ns: int) -> None:
        """Bring rates and budgets up to date; called at a dispatch, so arrivals pay nothing for it."""
        head, tail = self.jobs[0], self.jobs[-1]
        self.budget_ns = _leaking_min(self.budget_ns, head.deadline_ns - head.arrival_ns)
        # The tail is due last: if budgets differ, it has a long one.
        self.long_budget_ns -= self.long_budget_ns // 100
        self.long_budget_ns = max(self.long_budget_ns, tail.deadline_ns - tail.arrival_ns)
        elapsed_ns = now_ns - self._mark_ns
        num = self.offered - self._mark_offered
        if num < _RATE_ROWS or elapsed_ns <= 0:
            return
        rate = num / elapsed_ns
        if elapsed_ns > self.budget_ns:
            self.rate = rate
            weight = min(1.0, elapsed_ns / (_MEMORY * self.budget_ns)) if self.mean_rate else 1.0
            self.mean_rate += weight * (rate - self.mean_rate)
            self._mark_ns, self._mark_offered = now_ns, self.offered
        elif rate > self.rate:
            self.rate = rate  # a burst shows before its window is over


def _leaking_min(lately: int, value: int) -> int:
    """Falls at once, rises by a hundredth a call."""
    leaking = lately + lately // 100 + 1
    return value if lately == 0 or value < leaking else leaking
