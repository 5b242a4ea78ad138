"""A table in a file that is replaced while it is served from: the new one is read beside the traffic."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

from trivet.errors import UserError

T = TypeVar("T")

_LOOK_S = 1.0
_NICENESS = 19

Seen = tuple[int, int, int]


class WatchedTable(Generic[T]):
    """The table that was read last. One that cannot be used is told once and never takes the place of one that can.

    Args: read: reads the file; blocking. Raises: UserError: it cannot be used.
        taken, refused: hear in the loop of each file that was read while it is watched.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], T],
        taken: Callable[[T], None],
        refused: Callable[[UserError], None],
    ) -> None:
        self.path = path
        self.table: T | None = None
        self._read = read
        self._taken = taken
        self._refused = refused
        self._seen: Seen | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def load(self) -> None:
        """Read the file now, on the caller's thread. Raises: UserError: as `read`."""
        self._seen = _seen(self.path)
        self.table = self._read(self.path)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look once a second whether the file is another one."""
        self._timer = loop.call_later(_LOOK_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed:
            return
        seen = _seen(self.path)
        # One that is gone is being replaced, or was taken away: its answers are still right.
        if seen is None or seen == self._seen:
            self.watch(loop)
            return
        self._seen = seen
        self._pool = self._pool or ThreadPoolExecutor(1, "table", initializer=_give_way)
        reading = loop.run_in_executor(self._pool, self._read, self.path)
        reading.add_done_callback(lambda done: self._have_read(loop, done))

    def _have_read(self, loop: asyncio.AbstractEventLoop, done: "asyncio.Future[T]") -> None:
        if done.cancelled() or self._closed:
            return
        error = done.exception()
        if error is None:
            self.table = done.result()
            self._taken(self.table)
        elif isinstance(error, UserError):
            self._refused(error)
        else:
            raise error
        self.watch(loop)

    def close(self) -> None:
        self._closed = True
        self.table = None
        if self._timer is not None:
            self._timer.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _seen(path: Path) -> Seen | None:
    """What tells one file from another; None: there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
