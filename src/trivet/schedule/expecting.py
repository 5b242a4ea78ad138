"""When a job that is not offered yet would be done: what admission weighs, for whoever has to choose between queues.

Reads the scheduler's state and changes nothing.
"""

from __future__ import annotations

from trivet.schedule.queue import Queue


def expected_end_ns(queue: Queue, rows: int, deadline_ns: int, now_ns: int) -> int:
    """By when a job that came now would be done, behind all on the same cores that is due no later.

    Its own time is the upper quantile, that of the others the time of their rows at their best rate: as in admission.
    """
    model = queue.model
    lane = model.lane
    free_ns = model.free_ns()
    start_ns = now_ns if free_ns < now_ns else free_ns
    if lane.waiting:
        own_ns = _ahead_ns(queue, deadline_ns)
        core_ns = own_ns * model.lane_cores
        for other in lane.waiting:
            if other is not queue and other.priority <= queue.priority:
                core_ns += _ahead_ns(other, deadline_ns) * other.model.lane_cores
        start_ns += max(own_ns // model.parallel, core_ns // lane.num_cores)
    return start_ns + queue.curve.upper[min(rows, model.max_batch_size)]


def _ahead_ns(queue: Queue, deadline_ns: int) -> int:
    deadlines = queue.deadlines
    rows = queue.rows if not deadlines or deadline_ns >= deadlines[-1] else queue.rows_until(deadline_ns)
    return rows * queue.curve.unit_ns
