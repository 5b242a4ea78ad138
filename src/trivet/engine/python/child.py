"""An operating system process that answers for a python engine: started, watched, killed, reaped."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Self

HOST_MODULE = "trivet.engine.python._host"
# What the usual libraries of linear algebra read. The runtime shares the cores out between engines, and a
# library that takes them all for itself slows every other model.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Child:
    """Leader of a process group of its own, so that what it starts goes with it, and a Ctrl-C on the terminal
    does not reach it: when to stop is the worker's decision.
    """

    def __init__(self, fds: Sequence[int], *, threads: int, env: Mapping[str, str]) -> None:
        """Raises: OSError: no process or file descriptor is left."""
        limits = dict.fromkeys(THREAD_VARIABLES, str(threads))
        lifeline, self._lifeline = os.pipe()  # _host.die_with_parent; nothing is ever written to it
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", HOST_MODULE, *map(str, fds), str(lifeline)],
                pass_fds=[*fds, lifeline],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a model prints belongs in the log
                env={**os.environ, **limits, **env},
                process_group=0,
            )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        try:
            self.pidfd = os.pidfd_open(self._popen.pid)
        except OSError:
            self.reap()
            os.close(self._lifeline)
            raise

    @property
    def pid(self) -> int:
        return self._popen.pid

    def has_exited(self) -> bool:
        return self.wait_exit(0)

    def wait_exit(self, timeout_ns: int | None) -> bool:
        """Whether it has exited, after waiting for that at most `timeout_ns` (None: as long as it takes)."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout_ns is None else timeout_ns / 1e6))

    def kill(self) -> None:
        """Kill the group. Until `reap`, its id cannot belong to anyone else."""
        if self._popen.returncode is None:
            os.killpg(self._popen.pid, signal.SIGKILL)

    def reap(self) -> int:
        """The exit status of a process that has exited. Whatever it had started is killed first."""
        self.kill()
        return self._popen.wait()

    def how(self, returncode: int, kill_reason: str | None) -> str:
        """How it ended, in words."""
        if returncode >= 0:
            return f"it exited with status {returncode}"
        number = -returncode
        if number == signal.SIGKILL and kill_reason is not None:
            return kill_reason
        name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
        return f"it was killed by signal {number} ({name})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, if it is still there, and free what watches it."""
        self.reap()
        os.close(self.pidfd)
        os.close(self._lifeline)
