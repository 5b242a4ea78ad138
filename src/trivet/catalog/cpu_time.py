"""Where processor time went: by core (/proc/stat) and by process (/proc/PID/stat), in clock ticks."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from trivet.catalog.host_files import HostFiles

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")  # 100: one tick is 10 ms

Process = tuple[int, int]  # process id and start time: ids are used again, pairs are not


@dataclass(frozen=True, slots=True)
class CoreTicks:
    """Time of some cores since boot. `steal`: they wanted to run, and the host ran something else."""

    total: int
    idle: int
    steal: int

    def since(self, before: "CoreTicks") -> "CoreTicks":
        return CoreTicks(self.total - before.total, self.idle - before.idle, self.steal - before.steal)

    @property
    def steal_share(self) -> float:
        return self.steal / self.total if self.total else 0.0

    @property
    def busy_share(self) -> float:
        return (self.total - self.idle - self.steal) / self.total if self.total else 0.0


def core_ticks(files: HostFiles, cores: Collection[int]) -> CoreTicks:
    """The sum over `cores`."""
    total = idle = steal = 0
    wanted = {f"cpu{core}" for core in cores}
    for line in files.text("proc/stat").splitlines():
        name, *words = line.split()
        if name in wanted:
            ticks = [
                int(word) for word in words[:8]
            ]  # the guests' time after them is in user and nice already
            total += sum(ticks)
            idle += ticks[3] + ticks[4]
            steal += ticks[7]
    return CoreTicks(total, idle, steal)


@dataclass(frozen=True, slots=True)
class ProcessTicks:
    """One process: its command's name, its parent, the time it has used, and whether it has ended unreaped."""

    command: str
    parent: int
    ticks: int
    is_zombie: bool = False


def process_ticks(files: HostFiles) -> dict[Process, ProcessTicks]:
    """Every process that can be seen from here."""
    found = {}
    for path in files.paths("proc/[0-9]*/stat"):
        parsed = parse_stat(files.text(path))
        if parsed is not None:  # it ended between the two looks
            found[parsed[0]] = parsed[1]
    return found


def parse_stat(text: str) -> tuple[Process, ProcessTicks] | None:
    """One /proc/PID/stat, see proc(5); None: empty. The command, in parentheses, may hold anything."""
    head, _, tail = text.rpartition(")")
    pid, _, command = head.partition(" (")
    fields = tail.split()
    if not fields:
        return None
    used = int(fields[11]) + int(fields[12])
    process = ProcessTicks(command, int(fields[1]), used, fields[0] in "ZX")
    return (int(pid), int(fields[19])), process


def others(
    before: Mapping[Process, ProcessTicks],
    after: Mapping[Process, ProcessTicks],
    elapsed_ns: int,
    own: int,
    min_cores: float = 0.01,
) -> dict[str, float]:
    """Cores that other programs used between two looks, by command; not process `own` and its descendants.

    A program that used less than `min_cores` is left out, and so is one that began and ended in between.
    """
    family = _family({pid: process.parent for (pid, _), process in after.items()}, own)
    used: dict[str, int] = {}
    for key, process in after.items():
        if key[0] not in family:
            since = process.ticks - (before[key].ticks if key in before else 0)
            used[process.command] = used.get(process.command, 0) + since
    seconds = elapsed_ns / 1e9
    cores = {command: ticks / TICKS_PER_SECOND / seconds for command, ticks in used.items()}
    ordered = sorted(cores.items(), key=lambda item: -item[1])
    return {command: round(share, 3) for command, share in ordered if share >= min_cores}


def _family(parents: Mapping[int, int], own: int) -> set[int]:
    family = {own}
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in family}
        grown = not children <= family
        family |= children
    return family
