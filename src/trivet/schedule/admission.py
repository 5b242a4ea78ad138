"""Whether a job may enter its queue: not if its deadline cannot be met, and not into a queue that stands.

Two tests of the deadline. Alone: free core now or later, batch of its own; true of every job that could be answered.
Behind the backlog: after all that is due before it. The second one refuses at once what would be dropped later, and
costs nothing where the batch sizes that can go on for ever are about as fast as the best. Where they are not (a large
fixed cost a batch), the newest jobs make the best batches, and refusing them for the sake of older ones loses
throughput: there only the first test holds, and the older ones are dropped when they can no longer be met.
"""

from __future__ import annotations

from typing import Final

from trivet.schedule.batching import sustainable
from trivet.schedule.commands import Refusal
from trivet.schedule.job import Job
from trivet.schedule.queue import Queue
from trivet.schedule.shares import owed

HOPELESS: Final = Refusal("deadline", 0)  # not even alone on an idle machine: no time to try again is better

# The backlog test holds where the sustainable batch size reaches this share of the best rate (see the grid).
STRICT_FROM: Final = 0.95


def refusal(job: Job, now_ns: int, min_share: float) -> Refusal | None:
    queue = job.queue
    model = queue.model
    owner = queue.owner
    deadline_ns = job.deadline_ns
    upper_ns = queue.curve.upper[job.rows]
    free_ns = model.free_ns()
    start_ns = now_ns if free_ns < now_ns else free_ns
    if start_ns + upper_ns > deadline_ns:
        if start_ns > now_ns:
            return Refusal("deadline", start_ns - now_ns)
        queue.curve.doubt()
        return HOPELESS
    plan = queue.plan
    if plan is not None:
        excess_ns = plan.excess_ns(queue, deadline_ns)
        if excess_ns > 0:
            plan.num_turned += 1
            return Refusal("overload", excess_ns)
    if not model.lane.waiting:
        return None
    ahead_ns = _ahead_ns(queue, deadline_ns)
    wait_ns = own_ns = ahead_ns // model.parallel
    if len(model.lane.waiting) > 1 or model.lane.waiting[0] is not queue:
        core_ns = ahead_ns * model.lane_cores + _others_core_ns(job)
        wait_ns = max(own_ns, core_ns // model.lane.num_cores)
    if model.max_queue_ns is not None and start_ns - now_ns + wait_ns > model.max_queue_ns:
        return Refusal("queue", start_ns - now_ns + wait_ns - model.max_queue_ns)
    if owner.credits is not None and owner.num_waiting >= owner.credits.limit:
        return Refusal("credits", wait_ns)
    excess_ns = start_ns + wait_ns + upper_ns - deadline_ns
    if excess_ns <= 0 or not is_strict(queue):
        return None
    # A class below its minimum share is admitted on its own backlog: the dispatch will let it go first.
    if start_ns + own_ns + upper_ns <= deadline_ns and owed(model.lane, owner, min_share):
        return None
    return Refusal("deadline", excess_ns)


def is_strict(queue: Queue) -> bool:
    """Whether batches that can go on for ever are about as fast as the best."""
    if not queue.budget_ns:
        return True
    size = sustainable(queue)
    return size * queue.curve.unit_ns >= STRICT_FROM * queue.curve.mean[size]


def _ahead_ns(queue: Queue, deadline_ns: int) -> int:
    """Service time, one batch after the other, of what waits in a queue and is due no later."""
    deadlines = queue.deadlines
    rows = queue.rows if not deadlines or deadline_ns >= deadlines[-1] else queue.rows_until(deadline_ns)
    return rows * queue.curve.unit_ns


def _others_core_ns(job: Job) -> int:
    """Core time of the other queues on the same cores that is due no later, and not less important."""
    queue = job.queue
    total_ns = 0
    for other in queue.model.lane.waiting:
        if other is not queue and other.priority <= queue.priority:
            total_ns += _ahead_ns(other, job.deadline_ns) * other.model.lane_cores
    return total_ns
