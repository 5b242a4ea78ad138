"""What each tenant has spent today: a page that all workers share, in a file that outlives the server.

As on the board each cell is written by one worker only and is one aligned 64-bit word: no lock, and no reader sees half a
value. A worker's row holds for each tenant the day (UTC, since 1970) and what its requests have cost on it.
"""

import hashlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

_WORD = 8
_CELLS = 2  # day, spent


class Spending:
    """Args: fd: of a page that `open_page` has made for as many workers and tenants."""

    def __init__(self, fd: int, num_workers: int, num_tenants: int) -> None:
        self._num_workers = num_workers
        self._num_tenants = num_tenants
        self._memory = mmap.mmap(fd, size_of(num_workers, num_tenants))
        self._cells = memoryview(self._memory).cast("q")

    def add(self, worker: int, tenant: int, day: int, nano: int) -> None:
        """Only worker `worker` may."""
        at = self._at(worker, tenant)
        if self._cells[at] != day:
            self._cells[at + 1] = 0  # before the day: nobody may take yesterday's sum for today's
            self._cells[at] = day
        self._cells[at + 1] += nano

    def spent(self, tenant: int, day: int) -> int:
        """By all workers, in 1e-9 of the currency."""
        cells = self._cells
        places = [self._at(worker, tenant) for worker in range(self._num_workers)]
        return sum([cells[at + 1] for at in places if cells[at] == day])

    def _at(self, worker: int, tenant: int) -> int:
        return (worker * self._num_tenants + tenant) * _CELLS

    def close(self) -> None:
        self._cells.release()
        self._memory.close()


def size_of(num_workers: int, num_tenants: int) -> int:
    return max(1, num_workers * num_tenants) * _CELLS * _WORD


def open_page(folder: Path, port: int, num_workers: int, tenants: Sequence[str]) -> int:
    """A file descriptor of the page, inherited by the workers.

    The same file for the same port, workers and tenants, so that a restart does not forget the day; where the port is any
    free one, or the folder cannot be written, one that ends with the server.
    """
    content = "\0".join([str(port), str(num_workers), *tenants])
    name = f"spending-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    fd = _open(folder, name) if port else None
    if fd is None:
        fd = os.memfd_create(name, 0)
    os.ftruncate(fd, size_of(num_workers, len(tenants)))
    os.set_inheritable(fd, True)
    return fd


def _open(folder: Path, name: str) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
