"""Waiting on purpose for a larger batch: only where the prediction says that it pays within every deadline."""

from __future__ import annotations

from typing import Final

from trivet.schedule.queue import Queue

MIN_GAIN: Final = (
    1.3  # rows a second of the best batch over those of single rows, below which waiting never pays
)


def deferred_until_ns(queue: Queue, now_ns: int) -> int:
    """The instant until which the queue's jobs should wait for company; `now_ns` or earlier: start now."""
    curve = queue.curve
    rows = queue.rows
    most = min(curve.limit, queue.model.max_batch_size)
    if rows >= curve.best[most] or curve.mean[1] < MIN_GAIN * curve.unit_ns:
        return now_ns
    queue.note(now_ns)
    latest_ns = min(
        queue.deadlines[0] - curve.upper[rows + 1],
        min([job.arrival_ns for job in queue.jobs]) + queue.model.deferral_ns,
    )
    # From the instant on at which nobody more is expected in time, waiting only makes those late who are here.
    return latest_ns - int(1 / queue.rate) if queue.rate else now_ns
