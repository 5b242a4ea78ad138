"""A page of shared memory that workers and supervisor look at without asking each other.

Every cell is written by one process only and is one aligned 64-bit word, so no reader ever sees half a value and no
lock is needed. Rows are workers; `given[w][t]` counts the connections that worker `w` accepted and gave to `t`.
"""

import mmap
import os

_WORD = 8
_ACCEPTED, _ANSWERED, _CLOSED, _BEAT_NS, _FIXED = 0, 1, 2, 3, 4


class Board:
    """One worker's row, and what can be read of the others."""

    def __init__(self, fd: int, num_workers: int) -> None:
        self._width = _FIXED + num_workers
        self._num_workers = num_workers
        self._memory = mmap.mmap(fd, size_of(num_workers))
        self._cells = memoryview(self._memory).cast("q")

    # --- written by worker `w` ---

    def set_requests(self, w: int, accepted: int, answered: int) -> None:
        row = w * self._width
        self._cells[row + _ACCEPTED] = accepted
        self._cells[row + _ANSWERED] = answered

    def beat(self, w: int, now_ns: int) -> None:
        self._cells[w * self._width + _BEAT_NS] = now_ns

    def give(self, w: int, target: int) -> None:
        self._cells[w * self._width + _FIXED + target] += 1

    def take_back(self, w: int, target: int) -> None:
        self._cells[w * self._width + _FIXED + target] -= 1

    def connection_closed(self, w: int) -> None:
        self._cells[w * self._width + _CLOSED] += 1

    def begin(self, w: int) -> None:
        """A new worker in place `w`: nothing is open there, whatever its predecessor left behind."""
        row = w * self._width
        self._cells[row + _ACCEPTED] = self._cells[row + _ANSWERED] = 0
        self._cells[row + _CLOSED] = self._given_to(w)

    # --- read by anyone ---

    def num_connections(self, w: int) -> int:
        return self._given_to(w) - self._cells[w * self._width + _CLOSED]

    def total_connections(self) -> int:
        """Of all workers; what a dead one held is counted until its successor begins."""
        return sum([self.num_connections(w) for w in range(self._num_workers)])

    def num_in_flight(self, w: int) -> int:
        row = w * self._width
        return self._cells[row + _ACCEPTED] - self._cells[row + _ANSWERED]

    def last_beat_ns(self, w: int) -> int:
        return self._cells[w * self._width + _BEAT_NS]

    def emptiest(self) -> int:
        """The worker with the fewest connections."""
        return min(range(self._num_workers), key=self.num_connections)

    def _given_to(self, w: int) -> int:
        return sum(self._cells[giver * self._width + _FIXED + w] for giver in range(self._num_workers))

    def close(self) -> None:
        self._cells.release()
        self._memory.close()


def size_of(num_workers: int) -> int:
    return num_workers * (_FIXED + num_workers) * _WORD


def create(num_workers: int) -> int:
    """A file descriptor of a fresh, zeroed board; inherited by the workers."""
    fd = os.memfd_create("trivet-board", 0)
    os.ftruncate(fd, size_of(num_workers))
    os.set_inheritable(fd, True)
    return fd
