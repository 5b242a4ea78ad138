"""Schedulers to compare with: what servers do by default, in their simplest honest form. One queue, one core.

Each is given the same predictor and the same face as the scheduler. They neither refuse nor skip unless it says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from trivet.schedule import Batch, Drop, Job, Queue, Refusal


class Fifo:
    """First in, first out; a batch of what waits, at most `max_rows`; drops what has expired when it is reached."""

    def __init__(self, queue: Queue, max_rows: int) -> None:
        self.queue = queue
        self.max_rows = max_rows
        self.waiting: list[Job] = []
        self.busy = False

    def offer(self, job: Job, now_ns: int) -> Refusal | None:
        self.waiting.append(job)
        return None

    def poll(self, now_ns: int) -> Sequence[Batch | Drop]:
        if self.busy or not self.waiting:
            return []
        commands: list[Batch | Drop] = []
        jobs = self._next(now_ns, commands)
        if jobs:
            self.busy = True
            rows = len(jobs)
            commands.append(
                Batch(self.queue.model, self.queue, jobs, rows, now_ns, self.queue.curve.mean[rows])
            )
        return commands

    def finished(self, batch: Batch, now_ns: int, service_ns: int | None = None) -> None:
        self.busy = False
        if service_ns is not None:
            self.queue.curve.observe(batch.rows, service_ns)

    def wake_at_ns(self) -> int | None:
        return None

    def _next(self, now_ns: int, commands: list[Batch | Drop]) -> list[Job]:
        jobs: list[Job] = []
        place = 0
        for job in self.waiting:
            if len(jobs) == self.max_rows:
                break
            place += 1
            if job.deadline_ns <= now_ns:
                commands.append(Drop(job, "expired"))
            else:
                jobs.append(job)
        del self.waiting[:place]
        return jobs


class Aimd(Fifo):
    """Fifo whose batch limit follows the deadline: one more after a batch in time, a tenth less after a late one.

    After Crankshaw et al., Clipper (NSDI 2017).
    """

    def __init__(self, queue: Queue, max_rows: int) -> None:
        super().__init__(queue, 1)
        self.most_rows = max_rows
        self.limit = 1.0

    def finished(self, batch: Batch, now_ns: int, service_ns: int | None = None) -> None:
        super().finished(batch, now_ns, service_ns)
        if any(now_ns > job.deadline_ns for job in batch.jobs):
            self.limit = max(1.0, self.limit * 0.9)
        elif batch.rows >= self.max_rows:
            self.limit = min(float(self.most_rows), self.limit + 1)
        self.max_rows = int(self.limit)


class NexusWindow(Fifo):
    """Early drop: the first window of the target batch size that meets its head's deadline; older ones are dropped.

    After Shen et al., Nexus (SOSP 2019). Target: the largest batch that takes at most half the SLO.
    """

    def __init__(self, queue: Queue, max_rows: int, slo_ns: int) -> None:
        super().__init__(queue, max_rows)
        self.slo_ns = slo_ns

    def _next(self, now_ns: int, commands: list[Batch | Drop]) -> list[Job]:
        upper = self.queue.curve.upper
        target = max(
            [rows for rows in range(1, self.max_rows + 1) if 2 * upper[rows] <= self.slo_ns], default=1
        )
        self.waiting.sort(key=lambda job: job.deadline_ns)
        while self.waiting:
            rows = min(target, len(self.waiting))
            if now_ns + upper[rows] <= self.waiting[0].deadline_ns:
                jobs = self.waiting[:rows]
                del self.waiting[:rows]
                return jobs
            commands.append(Drop(self.waiting.pop(0), "early"))
        return []
