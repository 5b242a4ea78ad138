"""What the scheduler answers: start this batch, drop this job, refuse this offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivet.schedule.job import Job
    from trivet.schedule.model import Model
    from trivet.schedule.queue import Queue


class Batch:
    """Start these jobs together, now. `predicted_ns`: expected service time; `rows`: sum over the jobs."""

    __slots__ = ("jobs", "model", "predicted_ns", "queue", "rows", "started_ns")

    def __init__(
        self, model: Model, queue: Queue, jobs: list[Job], rows: int, started_ns: int, predicted_ns: int
    ) -> None:
        self.model = model
        self.queue = queue
        self.jobs = jobs
        self.rows = rows
        self.started_ns = started_ns
        self.predicted_ns = predicted_ns


# Not frozen: a frozen dataclass takes four times as long to make, and refusals come by the ten thousand a second.
@dataclass(slots=True)
class Drop:
    """Answer this job now: it was admitted, and cannot be answered within its deadline.

    `refusal`: it is told early, as if it had been refused at arrival; None: its time is over.
    """

    job: Job
    reason: str
    refusal: Refusal | None = None


@dataclass(slots=True)
class Refusal:
    """The job was not admitted. `retry_after_ns`: when a request like it could be, by today's backlog."""

    reason: str
    retry_after_ns: int
