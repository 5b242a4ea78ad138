"""A page of shared memory on which the background process counts, and the supervisor reads what it had in hand.

Every cell is one aligned 64-bit word with one writer at a time: a thread of the background process, or, once that is
dead and until the next one starts, the supervisor.
"""

import mmap
import os

_WORD = 8
# Rows read from the workers, and what became of them; the same for the requests that became traces.
CELLS = ("rows_read", "rows_written", "rows_failed", "traces_read", "traces_exported", "traces_dropped")
_PLACE = {name: place for place, name in enumerate(CELLS)}


class Page:
    """Counts that outlive the process that wrote them."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, len(CELLS) * _WORD)
        self._cells = memoryview(self._memory).cast("q")

    def __getitem__(self, name: str) -> int:
        return self._cells[_PLACE[name]]

    def add(self, name: str, count: int) -> None:
        self._cells[_PLACE[name]] += count

    def write_off(self) -> tuple[int, int]:
        """(rows, traces) that were read and never settled; from now on they count as not read."""
        rows = self["rows_read"] - self["rows_written"] - self["rows_failed"]
        traces = self["traces_read"] - self["traces_exported"] - self["traces_dropped"]
        self.add("rows_read", -rows)
        self.add("traces_read", -traces)
        return rows, traces

    def close(self) -> None:
        self._cells.release()
        self._memory.close()


def create() -> int:
    """A file descriptor of a fresh, zeroed page; the background process inherits it."""
    fd = os.memfd_create("trivet-background", 0)
    os.ftruncate(fd, len(CELLS) * _WORD)
    return fd
