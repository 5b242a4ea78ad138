"""What else went on while a run was measured: looked at before it, after it, and in between where that is free."""

import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from trivet import host
from trivet.catalog.cpu_time import core_ticks, others, process_ticks
from trivet.catalog.host_files import HOST, HostFiles


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the cores that were watched, from the first look to the last.

    steal_share: of their time, what the host gave to other machines.  busy_share: what anything here used.
    frequency_mhz: lowest and highest seen, or empty where the kernel does not tell.
    throttled_ms: time that the control group was held back for its quota.
    swapped_pages: moved to and from swap, by anybody.
    others: cores that other programs used, by command.
    """

    elapsed_s: float
    steal_share: float
    busy_share: float
    frequency_mhz: tuple[float, ...] = ()
    throttled_ms: float = 0
    swapped_pages: int = 0
    others: dict[str, float] = {}


class HostWatch:
    """Watches the machine from its making on. A look costs some milliseconds: never take one while load is offered.

    `sample` only notes frequencies; it costs tens of microseconds a core.
    """

    def __init__(
        self,
        cores: Collection[int],
        files: HostFiles = HOST,
        *,
        own: int,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Args: own: the process whose descendants (generator, server) are no strangers."""
        self._cores = sorted(cores)
        self._files = files
        self._own = own
        self._clock = clock
        self._frequencies: list[float] = []
        self.sample()
        self._processes = process_ticks(files)
        self._throttled_ns, self._swapped = throttled_ns(files), _swapped_pages(files)
        self._ticks = core_ticks(files, self._cores)
        self._begun_ns = clock()

    def sample(self) -> None:
        self._frequencies += frequencies_mhz(self._files, self._cores)

    def conditions(self) -> Conditions:
        """Since the watch was made."""
        elapsed_ns = max(self._clock() - self._begun_ns, 1)
        ticks = core_ticks(self._files, self._cores).since(self._ticks)
        self.sample()
        return Conditions(
            elapsed_s=round(elapsed_ns / 1e9, 3),
            steal_share=round(ticks.steal_share, 5),
            busy_share=round(ticks.busy_share, 4),
            frequency_mhz=_extremes(self._frequencies),
            throttled_ms=round((throttled_ns(self._files) - self._throttled_ns) / 1e6, 3),
            swapped_pages=_swapped_pages(self._files) - self._swapped,
            others=others(self._processes, process_ticks(self._files), elapsed_ns, self._own),
        )


def frequencies_mhz(files: HostFiles, cores: Collection[int]) -> list[float]:
    """Of each core that the kernel tells it of: from cpufreq, else from /proc/cpuinfo."""
    khz = [files.number(f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq") for core in cores]
    if any(value is not None for value in khz):
        return [value / 1000 for value in khz if value is not None]
    found, core = [], -1
    for line in files.text("proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "processor":
            core = int(value)
        elif key.strip() == "cpu MHz" and core in cores:
            found.append(float(value))
    return found


def throttled_ns(files: HostFiles) -> int:
    """How long this process's control groups have been held back so far: the most of any on the way up."""
    groups = host.control_groups(
        "cpu", files.root / "sys/fs/cgroup", membership=files.root / "proc/self/cgroup"
    )
    found = [0]
    for group in groups:
        stat = HostFiles(group).fields("cpu.stat")
        found.append(int(stat.get("throttled_usec", 0)) * 1000 + int(stat.get("throttled_time", 0)))
    return max(found)


def _swapped_pages(files: HostFiles) -> int:
    stat = files.fields("proc/vmstat")
    return int(stat.get("pswpin", 0)) + int(stat.get("pswpout", 0))


def _extremes(values: Sequence[float]) -> tuple[float, ...]:
    return (round(min(values), 1), round(max(values), 1)) if values else ()
