"""A simulated run as rows, the same that the server and the load generator write; time is virtual."""

from collections.abc import Sequence

import numpy as np

from trivet.simulate.driver import DROPPED, IN_TIME, LATE, REFUSED, UNKNOWN, Trajectory
from trivet.simulate.workload import Workload
from trivet.spec.row import ABSENT, RowColumns, RowsHeader, Words

# What the live server answers: one that is ready after its deadline becomes an error.
_OUTCOMES = {
    IN_TIME: ("ok", 200, ""),
    LATE: ("failed", 504, "deadline"),
    DROPPED: ("dropped", 504, "deadline"),
    REFUSED: ("refused", 429, "deadline"),
    UNKNOWN: ("unanswered", 0, ""),
}


def rows_of(trajectory: Trajectory, work: Workload, services: Sequence[str]) -> RowColumns:
    """One row for each request, in order of arrival. Args: services: the name of each of the workload's streams.

    Only waiting and computing take time here: parse, batch wait and encode are ABSENT, and an answer's first byte is
    its last.
    """
    num = len(work)
    ran = trajectory.start_ns >= 0
    admitted = (trajectory.outcome == DROPPED) | ran
    is_known = trajectory.outcome != UNKNOWN
    done_ns = np.where(is_known, trajectory.done_ns, work.arrival_ns)
    left_queue_ns = np.where(ran, trajectory.start_ns, done_ns)
    batch_rows = np.append(trajectory.batch_rows, 0)  # the last one stands for no batch
    codes = np.minimum(trajectory.outcome, UNKNOWN).astype(np.int32)
    words, statuses, reasons = zip(*(_OUTCOMES[code] for code in range(len(_OUTCOMES))), strict=True)
    return RowColumns.of(
        RowsHeader(writer="trivet simulate", clock="virtual"),
        num,
        intended_ns=work.arrival_ns,
        sent_ns=work.arrival_ns,
        first_byte_ns=np.where(is_known, done_ns, ABSENT),
        done_ns=done_ns,
        deadline_ns=work.deadline_ns,
        status=np.array(statuses, np.int64)[codes],
        outcome=Words(codes, words),
        reason=Words(codes, reasons),
        queue_ns=np.where(admitted, left_queue_ns - work.arrival_ns, ABSENT),
        compute_ns=np.where(ran, done_ns - trajectory.start_ns, ABSENT),
        batch_size=batch_rows[trajectory.batch],
        service=Words(work.stream.astype(np.int32), tuple(services)),
    )
