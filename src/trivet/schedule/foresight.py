"""Who will not be served although nothing is lost yet: told at once, not when the last hope is gone.

While more is offered than can be done, one batch looks like the one before. A window that had to skip jobs shows how
large it will be next time; it takes only jobs that are still in time after a batch of that size, and whoever is due
before the end of that batch is due before the end of every later one. So a plan is made when such a batch starts, and
holds until the next: jobs due earlier are refused at arrival, those that wait are told now, and newcomers behind
enough jobs for the next batch are measured against the batch after it.

A plan errs towards keeping: the engine may be free earlier than predicted, fewer may arrive than lately.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trivet.schedule.batching import Cut
    from trivet.schedule.queue import Queue

# Jobs are kept for a batch smaller than the last one, and for an engine that is free earlier than predicted by this
# share of the distance from mean to upper quantile (grid: less loses goodput under noise, more tells fewer in time).
_SIZE_SHARE: Final = 0.85
_EARLY_SHARE: Final = 0.8
_RESERVE: Final = 1.1  # rows kept for one batch, over its size: some may be lost if the running one overruns
_GROWTH: Final = 2  # and the next one may be larger by this factor, where the model can take it


@dataclass(slots=True)
class Plan:
    """The next batch as far as it is known. Instants and times in ns."""

    rows: int  # of the last batch
    free_ns: int  # earliest likely start
    batch_ns: int  # from one start to the next
    least_ns: int  # due before: not in that batch, nor in any later one
    full_ns: int  # due before: not in a batch as large as the last one that starts when it is expected to
    most_rows: int  # wanted for one batch
    num_turned: int = 0  # jobs that were told so

    def excess_ns(self, queue: Queue, deadline_ns: int) -> int:
        """By how much a newcomer is due too early; 0 or less: it may come in."""
        excess_ns = self.least_ns - deadline_ns
        if excess_ns > 0 or queue.rows <= self.rows:
            return excess_ns
        # Only those count as ahead that do not make the batch smaller: newcomers are preferred to the others.
        ahead = queue.rows_until(deadline_ns) - queue.rows_until(self.full_ns)
        return excess_ns + max(0, ahead) // self.most_rows * self.batch_ns


def plan_after(queue: Queue, cut: Cut, now_ns: int) -> Plan:
    """What a window that could not take everybody, and starts now, tells about the next one."""
    mean, upper = queue.curve.mean, queue.curve.upper
    before = queue.plan
    rows = cut.rows if before is None else min(cut.rows, before.rows)
    fewer = max(1, int(_SIZE_SHARE * rows))
    free_ns = max(now_ns, queue.model.free_ns())
    early_ns = max(now_ns, free_ns - int(_EARLY_SHARE * (upper[cut.rows] - mean[cut.rows])))
    batch_ns = mean[rows] + int(cut.margin * (upper[rows] - mean[rows]))
    fewer_ns = mean[fewer] + int(cut.margin * (upper[fewer] - mean[fewer]))
    return Plan(
        rows=cut.rows,
        free_ns=early_ns,
        batch_ns=batch_ns // queue.model.parallel,
        least_ns=min(early_ns + batch_ns, free_ns + fewer_ns),
        full_ns=free_ns + upper[cut.rows],
        most_rows=1 + int(_RESERVE * min(_GROWTH * cut.rows, queue.curve.best[queue.curve.limit])),
    )


def num_lost(queue: Queue, plan: Plan, now_ns: int) -> int:
    """How many of the queue's first jobs are not in the next batch, whenever it starts from now on.

    While the engine is late, newcomers take the place of the oldest; without newcomers the oldest are still wanted.
    """
    place = bisect_left(queue.deadlines, plan.least_ns)
    late_ns = now_ns - plan.free_ns
    if late_ns > 0:
        later = bisect_left(queue.deadlines, plan.least_ns + late_ns)
        if len(queue.deadlines) - later >= plan.rows:
            return later
    return place
