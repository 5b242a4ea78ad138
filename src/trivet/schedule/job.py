"""One request's part of one stage, as the scheduler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trivet.schedule.queue import Queue

# States are small integers, not an Enum: they are set for every job of every batch on the request's way.
WAITING: Final = 0  # offered and not refused: in its queue
RUNNING: Final = 1  # in a batch that an engine works on
DONE: Final = 2  # its batch has finished, in time or not
DROPPED: Final = 3  # removed before execution: its deadline can no longer be met
REFUSED: Final = 4  # never admitted
CANCELLED: Final = 5  # its client left while it was waiting


class Job:
    """Mutable, slotted and free of cycles. The runtime subclasses it and keeps `__slots__`.

    `rows`: client rows (>= 1, at most the model's `max_batch_size`). Instants: integer ns of one clock.
    """

    __slots__ = ("arrival_ns", "deadline_ns", "queue", "rows", "state")

    def __init__(self, queue: Queue, rows: int, arrival_ns: int, deadline_ns: int) -> None:
        self.queue = queue
        self.rows = rows
        self.arrival_ns = arrival_ns
        self.deadline_ns = deadline_ns
        self.state = WAITING
