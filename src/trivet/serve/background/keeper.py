"""The supervisor's view of the background process: started, restarted after a pause, drained; its losses counted.

Nothing here can change a request: workers write to a socket that this process keeps open for them, and a background
process that is slow or dead costs rows and traces, which are counted.
"""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from trivet.serve.background import page as pages
from trivet.serve.background.page import Page
from trivet.serve.background.settings import BackgroundSettings

_RESTART_DELAYS_S = (0.1, 0.5, 1.0, 2.0, 5.0)
# One that lived this long has earned its successor the shortest pause.
_STEADY_S = 30.0
# Time for the last rows to be written and the last traces to be sent, at idle priority.
_DRAIN_S = 20.0
# Holds some thousand rows while the background process writes a file; the kernel may allow less.
_SOCKET_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class BackgroundCounts:
    """Since the start of the server, but for `rows_in_hand`: read, and in no file yet. Lost: those of one that died."""

    restarts: int
    rows_in_hand: int
    rows_written: int
    rows_failed: int
    rows_lost: int
    traces_exported: int
    traces_dropped: int
    traces_lost: int


class BackgroundKeeper:
    """One for a server that samples. `workers_end`: for the workers to inherit."""

    def __init__(self, settings: BackgroundSettings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self._say = say
        self.workers_end, self._reading_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.workers_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._page_fd = pages.create()
        self._page = Page(self._page_fd)
        self._writer = secrets.token_hex(4)  # in its files' names: servers may share a folder
        self._process: subprocess.Popen[bytes] | None = None
        self._running: asyncio.Task[None] | None = None
        self._draining = asyncio.Event()
        self._restarts = 0
        self._rows_lost = 0
        self._traces_lost = 0

    def start(self) -> None:
        """In the supervisor's loop."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def counts(self) -> BackgroundCounts:
        page = self._page
        return BackgroundCounts(
            restarts=self._restarts,
            rows_in_hand=page["rows_read"] - page["rows_written"] - page["rows_failed"],
            rows_written=page["rows_written"],
            rows_failed=page["rows_failed"],
            rows_lost=self._rows_lost,
            traces_exported=page["traces_exported"],
            traces_dropped=page["traces_dropped"],
            traces_lost=self._traces_lost,
        )

    async def drain(self) -> None:
        """When every worker is gone: what they wrote is kept, then the process ends. At most 20 s."""
        self.workers_end.close()  # the last writer: behind what is still in the socket the reader finds its end
        self._draining.set()
        if self._running is None:  # the server never got ready
            return
        await asyncio.wait((self._running,), timeout=_DRAIN_S)
        if not self._running.done():
            self._say(f"the background process was not done after {_DRAIN_S:g} s and is killed")
            self.kill()
            await self._running
        self._running.result()

    def kill(self) -> None:
        """At once, wherever it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Free what is left; the process is killed if it still runs."""
        self.kill()
        self.workers_end.close()
        self._reading_end.close()
        self._page.close()
        os.close(self._page_fd)

    async def _run(self) -> None:
        """Keep one running until it has read the end of the workers' rows."""
        failures = 0
        while True:
            started_s = time.monotonic()
            was_draining = self._draining.is_set()
            process = self._process = self._popen()
            returncode = await _exit_of(process)
            rows, traces = self._page.write_off()
            self._rows_lost += rows
            self._traces_lost += traces
            if returncode == 0 and self._draining.is_set():
                return
            lost = f"{rows} rows and {traces} traces were lost with it"
            self._say(f"the background process {_how(returncode)}; {lost}")
            if was_draining:  # it had its chance
                return
            self._restarts += 1
            failures = 0 if time.monotonic() - started_s > _STEADY_S else failures + 1
            pause_s = _RESTART_DELAYS_S[min(failures, len(_RESTART_DELAYS_S)) - 1]
            with suppress(TimeoutError):
                await asyncio.wait_for(self._draining.wait(), pause_s)

    def _popen(self) -> "subprocess.Popen[bytes]":
        settings = self.settings
        arguments = ["--samples", str(self._reading_end.fileno()), "--page", str(self._page_fd)]
        arguments += ["--share", repr(settings.sampling.share)]
        if settings.rows_dir is not None:
            arguments += ["--rows", str(settings.rows_dir), "--writer", self._writer]
        if settings.traces_url:
            arguments += ["--traces", settings.traces_url]
        return subprocess.Popen(
            [sys.executable, "-m", "trivet.serve.background", *arguments],
            pass_fds=(self._reading_end.fileno(), self._page_fd),
            stdin=subprocess.DEVNULL,
        )


async def _exit_of(process: "subprocess.Popen[bytes]") -> int:
    """The exit code, when it has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    pidfd = os.pidfd_open(process.pid)
    try:
        loop.add_reader(pidfd, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return process.wait()


def _how(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with {returncode}"
