"""Who writes a run, so that others can tell whether it still does.

A process id alone is used again; with the boot and the process's start time it never is. What runs in another
pid namespace (another container) or on another machine cannot be seen from here: its fate is unknown, but for the
lock that it holds (presence.py).
"""

import os
import platform
from typing import Literal, Self

import msgspec

from trivet.catalog.cpu_time import parse_stat
from trivet.catalog.host_files import HOST, HostFiles

Fate = Literal["alive", "gone", "unknown"]


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """One process of one boot. `started`: clock ticks after boot.  `holds`: a lock while it writes; see presence.py."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: int
    holds: bool = False

    @classmethod
    def current(cls, files: HostFiles = HOST) -> Self:
        return cls(
            host=platform.node(),
            boot=_boot(files),
            namespace=_namespace(),
            pid=os.getpid(),
            started=_started(os.getpid(), files),
        )

    @classmethod
    def holding(cls) -> Self:
        """This process, which holds the lock of what it writes."""
        return msgspec.structs.replace(cls.current(), holds=True)

    def fate(self, files: HostFiles = HOST) -> Fate:
        """Whether the process still runs, as far as this one can tell."""
        if self.boot != _boot(files):
            return "gone" if self.host == platform.node() else "unknown"
        if self.namespace != _namespace():
            return "unknown"
        return "alive" if _started(self.pid, files) == self.started else "gone"

    def file_name(self) -> str:
        """A name that says it all and is short enough for a file's, without what patterns of names give a meaning."""
        namespace = "".join(letter for letter in self.namespace if letter.isdecimal())
        return f"{self.boot}.{namespace}.{self.pid}.{self.started}.{self.host}"

    @classmethod
    def of_file_name(cls, name: str) -> Self:
        """The inverse of `file_name`."""
        boot, namespace, pid, started, host = name.split(".", 4)
        return cls(host=host, boot=boot, namespace=f"pid:[{namespace}]", pid=int(pid), started=int(started))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _boot(files: HostFiles) -> str:
    return files.text("proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def _started(pid: int, files: HostFiles) -> int:
    """-1: no such process, or one that has ended and waits for its parent to notice."""
    parsed = parse_stat(files.text(f"proc/{pid}/stat"))
    if parsed is None or parsed[1].is_zombie:
        return -1
    return parsed[0][1]
