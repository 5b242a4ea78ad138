"""The clairvoyant bound G*: more than any scheduler could answer in time on the same arrivals.

Relaxation: every row is a job of its own that takes 1/C, where C is the best rate of any batch size under the longest
SLO; the machine does them earliest deadline first and drops the hopeless. Batches have to wait for their slowest
member and cost more when they are small: the relaxation ignores both, so no schedule of real batches beats it (up to
the order of equal-length jobs, where earliest deadline first is optimal when deadlines come in order of arrival).
Realised speed: while a batch ran k times slower than nominal, the machine is k times slower for the bound as well.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.driver import Trajectory
from trivet.simulate.workload import Machine, Workload


def clairvoyant(
    work: Workload, unit_ns: NDArray[np.float64], num_cores: int = 1, clock: WorkClock | None = None
) -> NDArray[np.bool_]:
    """Which requests the relaxed machine answers in time, shape (n,).

    Args: unit_ns: shape (streams,), nominal time of one row at its stream's best rate.  num_cores: the relaxed
    machine is one core of that speed.  clock: realised speed; None is nominal speed.
    """
    arrival = work.arrival_ns.astype(np.float64)
    deadline = work.deadline_ns.astype(np.float64)
    if clock is not None:
        arrival, deadline = clock.at(arrival), clock.at(deadline)
    lengths = (unit_ns[work.stream] * work.rows / num_cores).tolist()
    arrivals, deadlines = arrival.tolist(), deadline.tolist()
    served = np.zeros(len(work), np.bool_)
    waiting: list[tuple[float, int]] = []
    now, index, num = 0.0, 0, len(work)
    while index < num or waiting:
        if not waiting and arrivals[index] > now:
            now = arrivals[index]
        while index < num and arrivals[index] <= now:
            heapq.heappush(waiting, (deadlines[index], index))
            index += 1
        due, job = heapq.heappop(waiting)
        # 1 ns: rounding of instants must not cost the bound a job
        if now + lengths[job] <= due + 1.0:
            now += lengths[job]
            served[job] = True
    return served


class WorkClock:
    """Nominal work that the cores could have done by an instant, given how slow each batch really was."""

    def __init__(self, trajectory: Trajectory, machine: Machine, num_cores: int, horizon_ns: int) -> None:
        start, end = trajectory.batch_start_ns, trajectory.batch_end_ns
        base = np.array([machine.slowness(int(instant)) for instant in start])
        slow_from = horizon_ns if machine.slow_from_ns is None else machine.slow_from_ns
        # Speed as a step function: idle cores at the machine's speed, each batch changes it while it runs.
        lost = (1 / trajectory.batch_factor - 1 / base) / num_cores
        instants = np.concatenate([[0, slow_from], start, end]).astype(np.float64)
        change = np.concatenate(
            [[1.0, 0.0 if machine.slow_from_ns is None else 1 / machine.slow_factor - 1.0], lost, -lost]
        )
        order = np.argsort(instants, kind="stable")
        self._instants = instants[order]
        self._speed = np.maximum(np.cumsum(change[order]), 0.0)
        self._done = np.concatenate([[0.0], np.cumsum(self._speed[:-1] * np.diff(self._instants))])

    def at(self, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        place = np.searchsorted(self._instants, instants, side="right") - 1
        result = self._done[place] + self._speed[place] * (instants - self._instants[place])
        return np.asarray(result, dtype=np.float64)
