"""One scheduler for all models of a worker: admits or refuses, orders, forms batches, drops. Decisions only.

Rules for maintainers: nothing here reads a clock, draws a random number or keeps a reference to a job after it has
left. Given the same calls it gives the same answers. `offer`, `poll` and `finished` are on every request's way; what
they do when nothing is congested is written out flat, and everything else stands in functions of its own.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from trivet.schedule import admission, foresight, shares
from trivet.schedule.batching import Cut, demand, fits_whole, head_cut, is_feasible, is_passing, window_cut
from trivet.schedule.commands import Batch, Drop, Refusal
from trivet.schedule.credits import Credits
from trivet.schedule.deferral import deferred_until_ns
from trivet.schedule.job import CANCELLED, DONE, DROPPED, REFUSED, RUNNING, WAITING, Job
from trivet.schedule.model import Class, Lane, Model
from trivet.schedule.queue import Queue
from trivet.schedule.service_time import ServiceTime

NOTHING: Final[list[Batch | Drop]] = []  # what `poll` gives when there is nothing to do; never changed


class Scheduler:
    """A plain state machine: it is given `now_ns` and events, and returns commands.

    Args: num_cores: cores that engine threads may use.  min_share: of the cores, for each class that has work, when
    there is not enough for all.  fairness: the head of the line goes first when that costs less than this share of
    throughput.
    """

    def __init__(self, num_cores: int, *, min_share: float = 0.05, fairness: float = 0.03) -> None:
        if num_cores < 1:
            raise ValueError(f"num_cores {num_cores} is below 1: a scheduler needs a core to give away")
        if not 0 <= min_share <= 0.5:
            raise ValueError(f"min_share {min_share} is outside [0, 0.5]")
        if not 0 <= fairness < 1:
            raise ValueError(f"fairness {fairness} is outside [0, 1)")
        self.num_cores = num_cores
        self.min_share = min_share
        self.fairness = fairness
        self.models: list[Model] = []
        self.num_waiting = 0
        self._shared = Lane(num_cores)
        self._inline = Lane(1)
        self._lanes: tuple[Lane, ...] = (self._inline, self._shared)

    def add_model(
        self,
        name: str,
        *,
        max_batch_size: int,
        service_time: ServiceTime,
        cores: int = 1,
        instances: int = 1,
        deferral_ns: int = 0,
        max_queue_ns: int | None = None,
        min_share: float | None = None,
        elsewhere: bool = False,
    ) -> Model:
        """Args: max_batch_size: rows.  cores: that one batch occupies; 0 runs inline in the event loop.
        instances: batches at once.  deferral_ns: longest wait on purpose.  max_queue_ns: longest queueing time:
        nobody is admitted to wait longer, and credits keep the standing queue below half of it.
        min_share: of each of its classes; None: the scheduler's.  elsewhere: it runs on another machine: `instances`
        batches at once, which take no core from anybody here.
        """
        if max_batch_size != service_time.max_batch_size:
            raise ValueError(
                f"model {name!r}: max_batch_size {max_batch_size}, but its service times know "
                f"{service_time.max_batch_size}; "
                "give both the same"
            )
        if not 0 <= cores <= self.num_cores:
            raise ValueError(f"model {name!r}: {cores} cores a batch, but the scheduler has {self.num_cores}")
        lane = self._shared if cores else self._inline
        if elsewhere:
            lane, cores = Lane(instances), 1
            self._lanes = (*self._lanes, lane)
        model = Model(
            name,
            lane,
            max_batch_size=max_batch_size,
            service_time=service_time,
            cores=cores,
            instances=instances,
            deferral_ns=deferral_ns,
            max_queue_ns=max_queue_ns,
            min_share=min_share,
        )
        self.models.append(model)
        return model

    def remove_model(self, model: Model) -> None:
        """Raises: ValueError: the model still holds jobs."""
        waiting = sum(len(queue) for queue in model.queues.values())
        if waiting or model.num_running:
            raise ValueError(
                f"model {model.name!r} holds {waiting} waiting jobs and {model.num_running} running batches; "
                "drain it first"
            )
        self.models.remove(model)
        if model.lane not in (self._inline, self._shared):
            self._lanes = tuple(lane for lane in self._lanes if lane is not model.lane)
        for owner in model.classes.values():
            model.lane.classes.remove(owner)

    def queue(self, model: Model, bucket: Hashable = None, priority: int = 0) -> Queue:
        """The queue of a shape bucket at a priority (0 is the most important), made on first use."""
        key = (bucket, priority)
        queue = model.queues.get(key)
        if queue is None:
            owner = model.classes.get(priority)
            if owner is None:
                target_ns = model.max_queue_ns
                credits_ = Credits(target_ns // 2, target_ns) if target_ns else None
                owner = model.classes[priority] = Class(model, priority, credits_)
                model.lane.classes.append(owner)
            queue = model.queues[key] = Queue(model, owner, bucket, model.service_time.curve(bucket))
        return queue

    def forget(self, queue: Queue) -> None:
        """Drop an empty queue and what was learned of its bucket; a batch of it that still runs ends as usual.

        Raises: ValueError: jobs wait in it.
        """
        if len(queue):
            raise ValueError(f"{len(queue)} jobs wait in the queue of bucket {queue.bucket!r}")
        model = queue.model
        model.queues.pop((queue.bucket, queue.priority), None)
        model.service_time.forget(queue.bucket)

    def offer(self, job: Job, now_ns: int) -> Refusal | None:
        """Admit a job to its queue, or refuse it at once."""
        queue = job.queue
        rows = job.rows
        queue.offered += rows
        model = queue.model
        if rows > model.max_batch_size:
            raise ValueError(
                f"job of {rows} rows: {model.name!r} takes at most {model.max_batch_size}; split it"
            )
        lane = model.lane
        waiting = lane.waiting
        curve = queue.curve
        start_ns = lane.busy_until_ns
        if start_ns < now_ns:  # noqa: PLR1730  # a call of max() costs a tenth of this function
            start_ns = now_ns
        # In time even after all that runs and waits, and no other queue to be counted: admitted without more ado.
        if (
            start_ns + queue.rows * curve.unit_ns + curve.upper[rows] > job.deadline_ns
            or (waiting and (len(waiting) > 1 or waiting[0] is not queue))
            or queue.guarded
        ):
            refusal = admission.refusal(job, now_ns, self.min_share)
            if refusal is not None:
                job.state = REFUSED
                refused = queue.owner.refused
                refused[refusal.reason] = refused.get(refusal.reason, 0) + 1
                return refusal
        job.state = WAITING
        if not queue.rows:
            waiting.append(queue)
        queue.insert(job)
        owner = queue.owner
        owner.admitted += 1
        owner.num_waiting += 1
        self.num_waiting += 1
        return None

    def recall(self, queue: Queue, reason: str, *, dropped: bool = False) -> None:
        """A job that a queue has refused, or dropped, is in another one now: nobody was told, and nobody counts it."""
        owner = queue.owner
        if dropped:
            owner.dropped[reason] -= 1
            owner.num_cancelled += 1
        else:
            owner.refused[reason] -= 1

    def poll(self, now_ns: int) -> list[Batch | Drop]:
        """Everything that is to be done now: drops first, then starts, in order. The list is the scheduler's."""
        if not self.num_waiting:
            return NOTHING
        commands: list[Batch | Drop] = []
        for lane in self._lanes:
            if lane.waiting:
                self._poll_lane(lane, now_ns, commands)
        return commands

    def finished(self, batch: Batch, now_ns: int, service_ns: int | None = None) -> None:
        """A batch is over; its cores are free. `service_ns`: learn from it (None: the engine failed, do not)."""
        queue = batch.queue
        model = batch.model
        model.lane.finish(batch)
        model.num_running -= 1
        jobs = batch.jobs
        for job in jobs:
            job.state = DONE
        num = len(jobs)
        owner = queue.owner
        owner.num_running -= num
        owner.num_finished += num
        if service_ns is not None:
            queue.curve.observe(batch.rows, service_ns)

    def is_lone(self, queue: Queue, rows: int, deadline_ns: int, now_ns: int) -> bool:
        """Whether a job that came now would start now, alone: nothing runs or waits, and nothing is to be decided.

        What simulates millions of such jobs then need not offer them: it says `served_alone` when one is over, and
        all is as if it had been offered, started and finished (tests/schedule/test_lone_jobs.py).
        """
        model = queue.model
        lane, curve = model.lane, queue.curve
        return not (
            lane.running
            or lane.waiting
            or queue.guarded
            or model.deferral_ns
            or queue.owner.credits is not None
            or len(lane.classes) > 1
            or rows > curve.limit
            or curve.best[rows] != rows
            or now_ns + curve.upper[rows] > deadline_ns
        )

    def served_alone(self, queue: Queue, rows: int, service_ns: int) -> None:
        """A lone job is over; its batch took `service_ns`."""
        queue.offered += rows
        owner = queue.owner
        owner.admitted += 1
        owner.num_finished += 1
        lane = queue.model.lane
        lane.free_ns = lane.busy_until_ns = 0
        queue.curve.observe(rows, service_ns)

    def cancel(self, job: Job, now_ns: int) -> bool:
        """The client left. True: the job was waiting and is gone; False: it is running, or over."""
        queue = job.queue
        if job.state != WAITING or not queue.remove(job):
            return False
        job.state = CANCELLED
        queue.owner.num_cancelled += 1
        self._left(queue, 1)
        return True

    def wake_at_ns(self) -> int | None:
        """The next instant at which `poll` could do something although nothing has happened; None if there is none."""
        if not self.num_waiting:
            return None
        wakes = []
        for lane in self._lanes:
            for queue in lane.waiting:
                wakes.append(queue.deadlines[0] - queue.curve.upper[queue.jobs[0].rows] + 1)
                if queue.model.deferral_ns and queue.model.may_start():
                    wakes.append(queue.deferred_ns)
        return min(wakes)

    def _left(self, queue: Queue, num: int) -> None:
        """`num` waiting jobs have left their queue."""
        self.num_waiting -= num
        queue.owner.num_waiting -= num
        if not queue.jobs:
            queue.model.lane.waiting.remove(queue)

    def _poll_lane(self, lane: Lane, now_ns: int, commands: list[Batch | Drop]) -> None:
        waiting = lane.waiting
        if len(waiting) == 1:
            queue = waiting[0]
            model = queue.model
            # Nothing is congested: all that waits goes together, now or when its model is free.
            if (
                model.num_running < model.instances
                and lane.free >= model.lane_cores
                and not model.deferral_ns
                and fits_whole(queue, now_ns)
            ):
                if queue.guarded:
                    queue.open()
                commands.append(self._start(queue, 0, len(queue.jobs), queue.rows, now_ns))
                return
        for queue in waiting[:]:
            self._drop(queue, now_ns, commands)
        while lane.free > 0 and waiting:
            choice = self._choose(lane, now_ns)
            if choice is None:
                return
            queue, cut, overloaded = choice
            commands.append(self._start(queue, cut.start, cut.stop, cut.rows, now_ns))
            turned = cut.start or (queue.plan is not None and queue.plan.num_turned)
            # While an overload passes, those who are skipped may have their turn yet.
            if overloaded and turned and not is_passing(queue):
                queue.plan = foresight.plan_after(queue, cut, now_ns)
                queue.guarded = True
                if queue.jobs:
                    self._drop(queue, now_ns, commands)
            else:
                queue.open()

    def _choose(self, lane: Lane, now_ns: int) -> tuple[Queue, Cut, bool] | None:
        """The next batch of a lane in which jobs have to stand back for others, and whether not all can be served;
        None: nothing may start now.
        """
        load = 0.0
        for queue in lane.waiting:
            queue.note(now_ns)
            load += demand(queue) * queue.model.lane_cores
        ready = [
            queue for queue in lane.waiting if queue.model.may_start() and not self._defers(queue, now_ns)
        ]
        if not ready:
            return None
        urgent = min(ready, key=_first_deadline)
        if self._is_held(lane, urgent):
            return None
        # Offered more than can go on for ever: skipping has to begin before the backlog shows it.
        if load <= lane.num_cores and is_feasible(lane.waiting, now_ns, lane.num_cores):
            return urgent, head_cut(urgent, now_ns), False
        return self._densest(lane, ready, now_ns)

    def _is_held(self, lane: Lane, urgent: Queue) -> bool:
        """Whether cores are held free for a batch that needs several: else single-core batches starve it."""
        for queue in lane.waiting:
            model = queue.model
            if model.num_running < model.instances and lane.free < model.lane_cores:
                if queue.deadlines[0] < urgent.deadlines[0]:
                    return True
                if shares.owed(lane, queue.owner, self.min_share) and not shares.owed(
                    lane, urgent.owner, self.min_share
                ):
                    return True
        return False

    def _densest(self, lane: Lane, ready: list[Queue], now_ns: int) -> tuple[Queue, Cut, bool] | None:
        """Not everything can be done: classes below their share first, then by priority, then rows a second."""
        owed = [queue for queue in ready if shares.owed(lane, queue.owner, self.min_share)]
        if not owed:
            top = min([queue.priority for queue in ready])
            owed = [queue for queue in ready if queue.priority == top]
        cuts = [(queue, cut) for queue in owed if (cut := window_cut(queue, now_ns)) is not None]
        if not cuts:
            return None
        enough = (1 - self.fairness) * max([cut.efficiency for _, cut in cuts])
        near = [choice for choice in cuts if choice[1].efficiency >= enough]
        queue, cut = min(near, key=_least_served) if len(near) > 1 else near[0]
        if queue.plan is None:
            head = head_cut(queue, now_ns)
            if head.efficiency >= enough:
                return queue, head, True
        # With a plan the others have been told already; a head's smaller batch would make the next plan smaller, too.
        return queue, cut, True

    def _defers(self, queue: Queue, now_ns: int) -> bool:
        if not queue.model.deferral_ns:
            return False
        queue.deferred_ns = deferred_until_ns(queue, now_ns)
        return queue.deferred_ns > now_ns

    def _drop(self, queue: Queue, now_ns: int, commands: list[Batch | Drop]) -> None:
        """Drop heads that would be late even if they were next, and those that will not be."""
        plan = queue.plan
        if plan is not None and (num := foresight.num_lost(queue, plan, now_ns)):
            plan.num_turned += num
            refusal = Refusal("overload", max(0, plan.least_ns - queue.deadlines[0]))
            self._drop_first(queue, num, "overload", refusal, commands)
            if not queue.jobs:
                return
        upper = queue.curve.upper
        start_ns = queue.model.free_ns()
        start_ns = now_ns if start_ns < now_ns else start_ns
        if start_ns + upper[queue.jobs[0].rows] <= queue.deadlines[0]:
            return
        num = 0
        for job in queue.jobs:
            if start_ns + upper[job.rows] <= job.deadline_ns:
                break
            num += 1
        self._drop_first(queue, num, "deadline", None, commands)

    def _drop_first(
        self, queue: Queue, num: int, reason: str, refusal: Refusal | None, commands: list[Batch | Drop]
    ) -> None:
        for job in queue.take(0, num):
            job.state = DROPPED
            commands.append(Drop(job, reason, refusal))
        dropped = queue.owner.dropped
        dropped[reason] = dropped.get(reason, 0) + num
        self._left(queue, num)

    def _start(self, queue: Queue, start: int, stop: int, rows: int, now_ns: int) -> Batch:
        owner = queue.owner
        model = queue.model
        lane = model.lane
        jobs = queue.take(start, stop)
        if owner.credits is not None:
            owner.credits.observe(now_ns - jobs[0].arrival_ns, owner.num_waiting, now_ns)
        for job in jobs:
            job.state = RUNNING
        num = stop - start
        owner.num_running += num
        owner.num_waiting -= num
        self.num_waiting -= num
        if not queue.rows:
            lane.waiting.remove(queue)
        batch = Batch(model, queue, jobs, rows, now_ns, queue.curve.mean[rows])
        model.num_running += 1
        lane.start(batch)
        if len(lane.classes) > 1:
            shares.charge(lane, owner, batch.predicted_ns * model.lane_cores)
        return batch


def _first_deadline(queue: Queue) -> int:
    return queue.deadlines[0]


def _least_served(choice: tuple[Queue, Cut]) -> tuple[int, int]:
    return choice[0].owner.served_ns, choice[0].deadlines[0]
