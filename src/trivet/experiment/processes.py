"""Servers under measurement: started pinned to cores, awaited, weighed, and stopped again, by process id."""

import contextlib
import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trivet.errors import UserError
from trivet.host import affinity, cpu_ns
from trivet.load.connection import Target
from trivet.load.http import AnswerReader, BadAnswerError, request_bytes

READY_POLL_MS = 5
LOG_END_CHARACTERS = 2000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # looked up here: between fork and exec nothing may be loaded
_ENDED = ("Z", "X")  # states in /proc: ended, and not yet collected by the parent


class StartError(UserError):
    """The server did not become ready; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One process's share of memory: what it alone holds, and its part of what it shares."""

    pid: int
    command: str
    pss_bytes: int


class ProcessTree:
    """A process and all its descendants, whoever started it: what they have used, and where they ran."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cores(self) -> tuple[int, ...]:
        """Those that the process may run on; none where it is gone."""
        try:
            return tuple(sorted(os.sched_getaffinity(self.pid)))
        except ProcessLookupError:
            return ()

    def memory(self) -> list[Memory]:
        """Of the whole tree, by process."""
        return [memory for pid in tree(self.pid) if (memory := _memory(pid)) is not None]

    def members(self) -> list[int]:
        """Process ids, parents first. Looks at every process of the machine: milliseconds."""
        return tree(self.pid)

    def cpu_ns(self, members: Sequence[int] | None = None) -> int:
        """Processor time of the whole tree so far. A member that ended meanwhile takes its time with it.

        Args: members: as they were found before, where looking again would cost more than it tells.
        """
        return sum(cpu_ns(pid) for pid in (self.members() if members is None else members))


class Server(ProcessTree):
    """A process tree that one measurement started. Use it as a context manager: it stops what it started."""

    def __init__(self, process: "subprocess.Popen[bytes]", target: str, log: Path) -> None:
        super().__init__(process.pid)
        self._process, self.target, self.log = process, target, log
        self.ready_after_ns = 0

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        target: str | re.Pattern[str],
        *,
        log: Path,
        cores: Sequence[int] = (),
        ready_path: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 45,
        dies_with_us: bool = False,
    ) -> Self:
        """Start `command`, on `cores` only, and wait until `target` accepts connections and, with `ready_path`,
        answers GET with 200 there.

        Args: target: host:port, or a pattern whose first group finds it in what the server prints.  dies_with_us: it is
        asked to end when the thread that started it is gone, and with it this process, however that came.
        Raises: StartError: it ended, or was not ready in time; it is stopped then.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        started_ns = time.monotonic_ns()
        with log.open("wb") as output, affinity(cores):
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                # One call into the kernel, looked up beforehand: nothing there waits for a lock of another thread.
                preexec_fn=_end_with_parent if dies_with_us else None,  # noqa: PLW1509
            )
        announced = None if isinstance(target, str) else target
        server = cls(process, target if isinstance(target, str) else "", log)
        try:
            server._wait_until_ready(announced, ready_path, time.monotonic() + timeout_s)
        except BaseException:
            server.stop()
            raise
        server.ready_after_ns = time.monotonic_ns() - started_ns
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def end(self) -> str:
        """Empty while the started process runs; else how it ended, and the end of its log."""
        code = self._process.poll()
        return "" if code is None else f"the server ended with code {code}:{self._log_end()}"

    def lost(self, members: Sequence[int]) -> str:
        """Empty while all that were members before still are; else that one died, and the end of the log.

        A worker or an engine that dies is started anew, and the server goes on: `end` does not see it.
        Args: members: as they were found under no load; none of them ends by itself.
        """
        living = {pid for pid in self.members() if (fields := _stat(pid)) and fields[0] not in _ENDED}
        if living >= {*members}:
            return ""
        return f"a process of the server died under load (out of memory?):{self._log_end()}"

    def ask_to_end(self) -> None:
        """Without waiting for it; `stop` does that."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, timeout_s: float = 10) -> bool:
        """Ask the started process to end, and wait; True when the whole tree went by itself, without SIGKILL."""
        members = [pidfd for pid in _members(self.pid) if (pidfd := _pidfd(pid)) is not None]
        try:
            self.ask_to_end()
            left = _wait_for_exits(members, timeout_s)
            for pidfd in left:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _wait_for_exits(left, None)
        finally:
            for pidfd in members:
                os.close(pidfd)
        self._process.wait()
        return not left

    def _wait_until_ready(
        self, announced: re.Pattern[str] | None, ready_path: str | None, until: float
    ) -> None:
        exited = select.poll()
        pidfd = os.pidfd_open(self.pid)
        exited.register(pidfd, select.POLLIN)
        try:
            while not (self._is_known(announced) and self._is_ready(ready_path)):
                if exited.poll(READY_POLL_MS):
                    self._process.wait()
                    raise StartError(self.end())
                if time.monotonic() > until:
                    raise StartError(f"{self.target or 'the server'} was not ready in time:{self._log_end()}")
        finally:
            os.close(pidfd)

    def _is_known(self, announced: re.Pattern[str] | None) -> bool:
        if not self.target and announced is not None:
            found = announced.search(self.log.read_text(errors="replace"))
            self.target = found[1] if found else ""
        return bool(self.target)

    def _is_ready(self, path: str | None) -> bool:
        try:
            if path is None:
                _connect(self.target, 1).close()
                return True
            return ask(self.target, request_bytes("GET", path, "localhost"))[0] == 200
        except (OSError, BadAnswerError):
            return False

    def _log_end(self) -> str:
        return "\n" + self.log.read_text(errors="replace")[-LOG_END_CHARACTERS:].rstrip()


def ask(target: str, request: bytes, timeout_s: float = 10) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body.

    Raises: OSError: no connection, or it broke.  BadAnswerError: not HTTP.
    """
    reader = AnswerReader()
    with _connect(target, timeout_s) as sock:
        sock.sendall(request)
        while data := sock.recv(1 << 18):
            if reader.feed(data):
                return reader.head.status, reader.body()
    if not reader.end():
        raise ConnectionResetError(f"{target} closed the connection without a whole answer")
    return reader.head.status, reader.body()


def wait_for_answer(server: Server, request: bytes, timeout_s: float = 60) -> bytes:
    """The body of the first 200 to `request`: some servers say ready, and answer 503 first.

    Raises: StartError: none in time; the message holds the last answer.
    """
    until = time.monotonic() + timeout_s
    while True:
        status, body = ask(server.target, request)
        if status == 200:
            return body
        if time.monotonic() > until:
            raise StartError(f"{server.target} answers {status}: {body[:500].decode(errors='replace')}")


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that were free a moment ago: some servers take the next ones, too."""
    while True:
        with contextlib.ExitStack() as held:
            listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            first = int(listener.getsockname()[1])
            try:
                for port in range(first + 1, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):  # taken, or beyond the last port
                continue
            return first


def tree(pid: int) -> list[int]:
    """`pid` and all its living descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in _entries("/proc"):
        if fields := _stat(entry):
            children.setdefault(int(fields[1]), []).append(entry)
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, []))
    return found


def _end_with_parent() -> None:
    """In the child, between fork and exec: the kernel sends it SIGTERM when its parent is gone."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _connect(target: str, timeout_s: float) -> socket.socket:
    parsed = Target.parse(target)
    sock = parsed.socket()
    sock.settimeout(timeout_s)
    try:
        sock.connect(parsed.address)
    except OSError:
        sock.close()
        raise
    return sock


def _entries(folder: str) -> list[int]:
    """Ids that a folder of /proc names; none where it is gone."""
    try:
        return [int(entry) for entry in os.listdir(folder) if entry.isdigit()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _memory(pid: int) -> Memory | None:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        command = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return Memory(pid, command, int(pss.split()[1]) * 1024)


def _members(pid: int) -> list[int]:
    """All descendants, and whoever else is still in the session that was started: orphans, too."""
    session = [member for member in _entries("/proc") if (fields := _stat(member)) and int(fields[3]) == pid]
    return sorted({*tree(pid), *session})


def _pidfd(pid: int) -> int | None:
    """A handle that never means another process; None where it is gone already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _wait_for_exits(pidfds: Sequence[int], timeout_s: float | None) -> list[int]:
    """Wait until all have ended, at most so long; those that have not."""
    poller, left = select.poll(), set(pidfds)
    for pidfd in left:
        poller.register(pidfd, select.POLLIN)
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while left:
        wait_ms = None if until is None else max(0.0, (until - time.monotonic()) * 1000)
        ended = [pidfd for pidfd, _ in poller.poll(wait_ms)]
        if not ended:
            break
        for pidfd in ended:
            poller.unregister(pidfd)
            left.remove(pidfd)
    return sorted(left)
