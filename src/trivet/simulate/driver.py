"""Drives a scheduler in virtual time: the same decisions as in the server, with nobody waiting for them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.schedule import Batch, Drop, Job, Queue, Refusal
from trivet.simulate.workload import Machine, Shape, Workload

IN_TIME: Final = 0  # answered within the deadline
LATE: Final = 1  # executed, and answered after the deadline
DROPPED: Final = 2  # admitted, and dropped before execution: its time was over
REFUSED: Final = 3  # refused, at arrival or while it waited
UNKNOWN: Final = 4  # no outcome: a scheduler that loses a request


class Policy(Protocol):
    """What the driver asks of a scheduler; baselines have the same face."""

    def offer(self, job: Job, now_ns: int) -> Refusal | None: ...
    def poll(self, now_ns: int) -> Sequence[Batch | Drop]: ...
    def finished(self, batch: Batch, now_ns: int, service_ns: int | None = None) -> None: ...
    def wake_at_ns(self) -> int | None: ...


class SimulatedJob(Job):
    __slots__ = ("index",)

    def __init__(self, index: int, queue: Queue, rows: int, arrival_ns: int, deadline_ns: int) -> None:
        super().__init__(queue, rows, arrival_ns, deadline_ns)
        self.index = index


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What happened. One entry a request (shape (n,), in order of arrival), and one a batch (shape (k,))."""

    outcome: NDArray[np.int8]
    done_ns: NDArray[np.int64]  # when the answer, the drop or the refusal was known
    start_ns: NDArray[np.int64]  # when its batch started; -1 if it never ran
    batch: NDArray[np.int64]  # which batch that was; -1 likewise
    batch_start_ns: NDArray[np.int64]
    batch_end_ns: NDArray[np.int64]
    batch_rows: NDArray[np.int64]
    batch_factor: NDArray[np.float64]  # realised over nominal service time
    batch_stream: NDArray[np.int64]
    batch_predicted_ns: NDArray[np.int64]

    def share_late(self) -> float:
        """Share of executed requests that were answered after their deadline; 0 if none was executed."""
        executed = int(np.count_nonzero(self.outcome <= LATE))
        return int(np.count_nonzero(self.outcome == LATE)) / executed if executed else 0.0


def simulate(
    scheduler: Policy, queues: Sequence[Queue], shapes: Sequence[Shape], work: Workload, machine: Machine
) -> Trajectory:
    """Offer `work` until each request has its outcome. `queues[stream]` has nominal times `shapes[stream]`.

    At one instant batches finish first, then requests arrive, then the scheduler is polled.
    """
    num = len(work)
    outcome = [UNKNOWN] * num
    done = [-1] * num
    start = [-1] * num
    batch_of = [-1] * num
    stream_of = {id(queue): stream for stream, queue in enumerate(queues)}
    batches: list[tuple[int, int, int, float, int, int]] = []
    running: list[tuple[int, int, Batch]] = []
    arrivals = work.arrival_ns.tolist()
    deadlines = work.deadline_ns.tolist()
    streams = work.stream.tolist()
    rows = work.rows.tolist()
    arrivals.append(_NEVER)
    index = 0
    now = -1
    while index < num or running or scheduler.wake_at_ns() is not None:
        wake = scheduler.wake_at_ns()
        # A wake-up in the past means "poll again"; time itself never goes back or stands still without an event.
        now = min(
            arrivals[index],
            running[0][0] if running else _NEVER,
            _NEVER if wake is None else max(wake, now + 1),
        )
        while running and running[0][0] == now:
            batch = heapq.heappop(running)[2]
            for job in batch.jobs:
                outcome[job.index] = IN_TIME if now <= job.deadline_ns else LATE  # type: ignore[attr-defined]
                done[job.index] = now  # type: ignore[attr-defined]
            scheduler.finished(batch, now, now - batch.started_ns)
        while arrivals[index] == now:
            job = SimulatedJob(index, queues[streams[index]], rows[index], now, deadlines[index])
            if scheduler.offer(job, now) is not None:
                outcome[index] = REFUSED
                done[index] = now
            index += 1
        for command in scheduler.poll(now):
            if isinstance(command, Drop):
                outcome[command.job.index] = DROPPED if command.refusal is None else REFUSED  # type: ignore[attr-defined]
                done[command.job.index] = now  # type: ignore[attr-defined]
                continue
            stream = stream_of[id(command.queue)]
            factor = machine.factor(now)
            end = now + max(1, round(shapes[stream].ns(command.rows) * factor))
            for job in command.jobs:
                start[job.index] = now  # type: ignore[attr-defined]
                batch_of[job.index] = len(batches)  # type: ignore[attr-defined]
            heapq.heappush(running, (end, len(batches), command))
            batches.append((now, end, command.rows, factor, stream, command.predicted_ns))
    return _trajectory(outcome, done, start, batch_of, batches)


def _trajectory(
    outcome: list[int],
    done: list[int],
    start: list[int],
    batch_of: list[int],
    batches: list[tuple[int, int, int, float, int, int]],
) -> Trajectory:
    begins, ends, rows, factors, streams, predicted = zip(*batches, strict=True) if batches else [()] * 6
    return Trajectory(
        np.array(outcome, np.int8),
        np.array(done, np.int64),
        np.array(start, np.int64),
        np.array(batch_of, np.int64),
        np.array(begins, np.int64),
        np.array(ends, np.int64),
        np.array(rows, np.int64),
        np.array(factors, np.float64),
        np.array(streams, np.int64),
        np.array(predicted, np.int64),
    )


_NEVER: Final = 1 << 62
