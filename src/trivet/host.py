"""What this machine is: cores that this process may use, the processor, a digest of both.

Cores always means the process's affinity and control group, never the machine's count.
"""

import ctypes
import hashlib
import math
import os
import platform
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # the number of the system call, by architecture
_SCHED_OTHER, _RESET_ON_FORK = 0, 1
_SHORT_SLICE_NS = 100_000  # the shortest that the kernel takes
_CPU_CLOCK = 2  # CPUCLOCK_SCHED in the kernel's posix-timers.h
# The kernel holds the lowest limit that anybody has written here, for as long as they keep the file open; reading
# gives the limit in force (Linux, Documentation/power/pm_qos_interface.rst). int32, microseconds.
WAKE_LATENCY = Path("/dev/cpu_dma_latency")


def num_cores(cgroup_root: Path = _CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: the smaller of its affinity and its control group's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = cpu_quota(cgroup_root, membership)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


@contextmanager
def affinity(cores: Collection[int]) -> Iterator[None]:
    """This thread, and what is started inside, run on these cores (none: as before); then it gets its own back.

    Raises: OSError: this process may not run there.
    """
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def awake(device: Path = WAKE_LATENCY) -> Iterator[None]:
    """Idle cores of the whole machine poll instead of sleeping: what comes in is taken up at once, at the price of power.

    Raises: OSError: no such device here, or not for this user.
    """
    with open(os.open(device, os.O_WRONLY | os.O_CLOEXEC), "wb", buffering=0) as limit:  # never a new file
        limit.write((0).to_bytes(4, sys.byteorder, signed=True))
        yield


def is_awake(device: Path = WAKE_LATENCY) -> bool:
    """Whether somebody holds the idle cores awake; False, too, where that is not to be seen."""
    try:
        with device.open("rb", buffering=0) as limit:
            return limit.read(4) == bytes(4)
    except OSError:
        return False


class _SchedAttr(ctypes.Structure):
    """The first version of `struct sched_attr` (sched_setattr(2))."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def take_short_slices() -> bool:
    """This thread asks for short turns on its core, and so gets them soon: when it wakes, it need not wait until whoever
    runs there has used up a turn of milliseconds. Its share of the core stays what it was; threads and processes that it
    starts later have the usual turns. Linux from 6.12 on (custom slices of EEVDF); older ones take it and do nothing.

    Returns: whether the kernel took it; False, too, on an architecture that is not known here.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = _SchedAttr(ctypes.sizeof(_SchedAttr), _SCHED_OTHER, _RESET_ON_FORK, nice, 0, _SHORT_SLICE_NS)
    code: int = ctypes.CDLL(None).syscall(ctypes.c_long(number), 0, ctypes.byref(wanted), 0)
    return code == 0


def give_way() -> None:
    """From now on this thread, and what it starts, runs only while nobody else wants its core: a process that wakes there
    need not wait for it (SCHED_IDLE, sched(7)). Without privileges there is no way back.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def cpu_ns(pid: int) -> int:
    """User and system time of one process so far, all threads, to the nanosecond; 0 where it is gone. Microseconds.

    The kernel names the clock of another process by its id (clock_getcpuclockid(3)); /proc/PID/stat counts in steps
    of 10 ms, too coarse for a block of a second.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPU_CLOCK)
    except OSError:
        return 0


def engine_cores(num_workers: int, cores: int | None = None) -> int:
    """Cores that the engines of one of `num_workers` workers may use: each worker's event loop has one; at least 1.

    Args: cores: of the server; None: of this process.
    """
    cores = num_cores() if cores is None else cores
    return max(1, (cores - num_workers) // num_workers)


def cpu_quota(cgroup_root: Path = _CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs granted by the tightest group on the way up (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`), or None."""
    quotas: list[float | None] = []
    for folder in control_groups("cpu", cgroup_root, membership):
        quotas += [_v2_quota(folder), _v1_quota(folder)]
    return min((quota for quota in quotas if quota is not None), default=None)


def control_groups(
    controller: str, cgroup_root: Path = _CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")
) -> list[Path]:
    """The folders of this process's groups that may limit it, innermost first, of whichever cgroup version.

    A folder that does not exist stands for a mount at another place, or a group that is not to be seen from here.
    """
    folders = []
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folders += _upwards(cgroup_root, path)
        elif controller in controllers.split(","):
            folders += [*_upwards(cgroup_root / controllers, path), *_upwards(cgroup_root / controller, path)]
    return folders


def _upwards(root: Path, path: str) -> list[Path]:
    inner = root / path.lstrip("/")
    return [folder for folder in (inner, *inner.parents) if folder.is_relative_to(root)]


def _v2_quota(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota not in ("", "max") else None


def _v1_quota(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the group does not limit this controller, or the file is of the other version
        return ""


@cache
def processor() -> str:
    """The processor's name and the digest of its features: what decides how fast a kernel runs."""
    fields: dict[str, str] = {}
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = fields.get("flags") or fields.get("Features") or ""
    return f"{name} [{hashlib.sha256(flags.encode()).hexdigest()[:8]}]"


def digest() -> str:
    """Names machines that profile alike: processor and cores of this process."""
    return hashlib.sha256(f"{processor()}|{num_cores()}|{platform.machine()}".encode()).hexdigest()[:16]
