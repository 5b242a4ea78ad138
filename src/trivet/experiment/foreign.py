"""A server on this machine that somebody else started: found by the port it listens on, so that it can be weighed, too."""

import ipaddress
import os
from pathlib import Path

from trivet.experiment.processes import ProcessTree

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
MAX_SHARE = 0.1  # of a server's time on the generator's core: more is no measurement of the server
MIN_RUN_NS = 20_000_000  # below it nothing is said: a server that hardly ran disturbed nobody


def listener(address: str, proc: Path = Path("/proc")) -> ProcessTree | None:
    """The process that listens at `host:port` of this machine's loopback; None: elsewhere, or not ours to look into."""
    host, _, port = address.rpartition(":")
    if not _is_loopback(host.strip("[]")):
        return None
    inodes = _listening(proc, int(port))
    owners = sorted(
        int(entry.name) for entry in proc.iterdir() if entry.name.isdigit() and inodes & _sockets(entry)
    )
    return ProcessTree(owners[0]) if owners else None  # workers that share the socket were started later


class CoreSharing:
    """How much of a server's time went by on one core, from looks at where its threads ran last.

    A look costs some microseconds for each thread that has not run, and a few more for one that has.
    """

    def __init__(self, processes: ProcessTree, core: int) -> None:
        self._pid, self._core = processes.pid, core
        self._folders = [task for pid in processes.members() for task in _tasks(pid)]
        self._run_ns_of = {task: _run_ns(task) for task in self._folders}
        self._shared_ns = self._total_ns = 0

    def look(self) -> None:
        for task in self._folders:
            now_ns, before_ns = _run_ns(task), self._run_ns_of[task]
            if now_ns > before_ns:
                self._run_ns_of[task] = now_ns
                self._total_ns += now_ns - before_ns
                self._shared_ns += now_ns - before_ns if _core_of(task) == self._core else 0

    def invalid(self) -> str:
        """Empty, or that the server ran where the load generator does."""
        if self._total_ns < MIN_RUN_NS or self._shared_ns <= MAX_SHARE * self._total_ns:
            return ""
        share = self._shared_ns / self._total_ns
        return (
            f"the server (process {self._pid}) ran on core {self._core}, the load generator's, for about {share:.0%} of "
            f"its time; keep it off:  taskset -a -cp CORES {self._pid}"
        )


def _tasks(pid: int) -> list[Path]:
    """The folders of a process's threads; none where it is gone."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _run_ns(task: Path) -> int:
    """What a thread has run so far; 0 where it is gone, or the kernel does not count."""
    try:
        return int((task / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def _core_of(task: Path) -> int:
    """The core that a thread ran on last; -1 where it is gone."""
    try:
        return int((task / "stat").read_text().rpartition(")")[2].split()[36])
    except OSError:
        return -1


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(proc: Path, port: int) -> set[str]:
    """Inodes of the sockets that listen on the port, of IPv4 and IPv6."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:  # no IPv6 here
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _sockets(process: Path) -> set[str]:
    """Inodes of a process's open sockets; none where it is gone or another user's."""
    found = set()
    try:
        for descriptor in (process / "fd").iterdir():
            link = os.readlink(descriptor)
            if link.startswith("socket:["):
                found.add(link[8:-1])
    except OSError:
        return found
    return found
