"""A model as the scheduler knows it: its limits, its classes, its queues, and the cores it shares with others."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivet.schedule.commands import Batch
    from trivet.schedule.credits import Credits
    from trivet.schedule.queue import Queue
    from trivet.schedule.service_time import ServiceTime


class Class:
    """One model at one priority (0 is the most important): the unit that minimum shares and credits protect.

    Invariant, after every call of the scheduler:
    admitted == num_waiting + num_running + num_finished + sum(dropped.values()) + num_cancelled.
    """

    __slots__ = (
        "admitted",
        "credits",
        "dropped",
        "model",
        "num_cancelled",
        "num_finished",
        "num_running",
        "num_waiting",
        "priority",
        "refused",
        "served_ns",
    )

    def __init__(self, model: Model, priority: int, credits_: Credits | None) -> None:
        self.model = model
        self.priority = priority
        self.credits = credits_
        self.admitted = 0
        self.num_waiting = 0
        self.num_running = 0
        self.num_finished = 0
        self.num_cancelled = 0
        self.dropped: dict[str, int] = {}  # reason -> jobs
        self.refused: dict[str, int] = {}
        self.served_ns = 0  # core time given lately (see shares.py)


class Lane:
    """Cores that models share. Models that run inline in the event loop share a lane of one core: the loop."""

    __slots__ = (
        "busy_until_ns",
        "classes",
        "free",
        "free_ns",
        "num_cores",
        "running",
        "served_ns",
        "waiting",
    )

    def __init__(self, num_cores: int) -> None:
        self.num_cores = num_cores
        self.free = num_cores
        self.free_ns = 0  # predicted instant at which a core gets free; 0 while one is
        self.busy_until_ns = 0  # predicted instant at which all batches of now are over
        self.running: list[Batch] = []
        self.waiting: list[Queue] = []  # queues that hold jobs, in the order in which they began to
        self.classes: list[Class] = []
        self.served_ns = 0

    def start(self, batch: Batch) -> None:
        self.running.append(batch)
        self.free -= batch.model.lane_cores
        end_ns = batch.started_ns + batch.predicted_ns
        if end_ns > self.busy_until_ns:  # noqa: PLR1730  # a call of max() costs as much as all the rest here
            self.busy_until_ns = end_ns
        if self.free <= 0:
            self.free_ns = end_ns if len(self.running) == 1 else min(map(end_ns_of, self.running))

    def finish(self, batch: Batch) -> None:
        running = self.running
        running.remove(batch)
        self.free += batch.model.lane_cores
        self.free_ns = 0
        self.busy_until_ns = max(map(end_ns_of, running)) if running else 0


class Model:
    """Handle given out by `Scheduler.add_model`. Metrics read its fields; only the scheduler writes them."""

    __slots__ = (
        "classes",
        "cores",
        "deferral_ns",
        "instances",
        "lane",
        "lane_cores",
        "max_batch_size",
        "max_queue_ns",
        "min_share",
        "name",
        "num_running",
        "parallel",
        "queues",
        "service_time",
    )

    def __init__(
        self,
        name: str,
        lane: Lane,
        *,
        max_batch_size: int,
        service_time: ServiceTime,
        cores: int,
        instances: int,
        deferral_ns: int,
        max_queue_ns: int | None,
        min_share: float | None,
    ) -> None:
        self.name = name
        self.lane = lane
        self.max_batch_size = max_batch_size
        self.service_time = service_time
        self.cores = cores
        self.lane_cores = max(1, cores)
        self.instances = instances if cores else 1
        self.parallel = max(1, min(self.instances, lane.num_cores // self.lane_cores))  # batches at once
        self.deferral_ns = deferral_ns
        self.max_queue_ns = max_queue_ns
        self.min_share = min_share  # of each of its classes; None: as the scheduler has it for all
        self.num_running = 0
        self.classes: dict[int, Class] = {}
        self.queues: dict[tuple[Hashable, int], Queue] = {}

    def free_ns(self) -> int:
        """Predicted instant at which one more batch of this model may start; 0 if it may now."""
        lane = self.lane
        if self.num_running < self.instances:
            return 0 if lane.free >= self.lane_cores else lane.free_ns or min(map(end_ns_of, lane.running))
        if len(lane.running) == 1:
            batch = lane.running[0]
            return batch.started_ns + batch.predicted_ns
        return min([end_ns_of(batch) for batch in lane.running if batch.model is self])

    def may_start(self) -> bool:
        return self.num_running < self.instances and self.lane.free >= self.lane_cores


def end_ns_of(batch: Batch) -> int:
    return batch.started_ns + batch.predicted_ns
