"""The doctor's checks: each looks at one thing and says how it stands. Limits are where figures begin to show it."""

from collections.abc import Callable

from trivet.catalog import machine
from trivet.catalog.finding import Finding, Sight

MAX_STEAL = 0.005  # of a core's time: half a millisecond in every hundred is a p99 already
MAX_JITTER = 0.25  # p99 of a fixed piece of work over its median; a quiet core stays under 0.05
MAX_PIECE_US = 3000  # the longest hold-up of a core within a quarter of a second
MAX_OTHERS = 0.05  # cores
MAX_LATENESS_US = 500  # half of what the load generator may lag at its p99
MIN_AVAILABLE_MIB = 512


def steal(sight: Sight) -> Finding:
    worst = max(sight.noise, key=lambda noise: noise.steal_share)
    measured = f"{worst.steal_share:.1%} of core {worst.core}'s time"
    if worst.steal_share <= MAX_STEAL:
        return Finding(what="steal", measured=measured)
    return Finding(
        what="steal",
        measured=measured,
        why="the host runs other machines on this core: requests wait for it, at times that nobody chose",
        fix="measure on a dedicated instance; here, compare only in interleaved blocks, and take more of them",
        severity="warning",
    )


def steadiness(sight: Sight) -> Finding:
    worst = max(sight.noise, key=lambda noise: (noise.jitter, noise.longest_us))
    measured = (
        f"core {worst.core}: p99 of a fixed piece of work {worst.jitter:.0%} over its median, "
        f"longest {worst.longest_us:.0f} µs"
    )
    if worst.jitter <= MAX_JITTER and max(noise.longest_us for noise in sight.noise) <= MAX_PIECE_US:
        return Finding(what="steadiness", measured=measured)
    return Finding(
        what="steadiness",
        measured=measured,
        why="the same work takes different times: differences of a few percent drown in it",
        fix="stop other programs and timers on these cores (see load, steal, governor), then look again; what others share "
        "is told by turns: trivet bench A B, and --yardstick before a replay",
        severity="warning",
    )


def cores(sight: Sight) -> Finding:
    measured = f"{len(sight.cores)} to be used: {', '.join(map(str, sight.cores))}"
    if len(sight.cores) >= 2:
        return Finding(what="cores", measured=measured)
    return Finding(
        what="cores",
        measured=measured,
        why="server and load generator share one core: each is measured with the other's work in it",
        fix="allow two cores or more (taskset, cpuset, a larger machine); until then runs are invalid",
        severity="warning",
    )


def siblings(sight: Sight) -> Finding:
    shared = [group for group in machine.siblings(sight.files) if len(set(sight.cores) & _members(group)) > 1]
    if not shared:
        return Finding(what="hardware threads", measured="no two cores share an execution unit")
    return Finding(
        what="hardware threads",
        measured=f"share an execution unit: {'; '.join(shared)}",
        why="what runs on one slows down the other, by a third and more",
        fix="use one core of each pair (taskset -c), or: echo off | sudo tee /sys/devices/system/cpu/smt/control",
        severity="warning",
    )


def load(sight: Sight) -> Finding:
    busiest = ", ".join(f"{command} {share:.2f}" for command, share in list(sight.others.items())[:5])
    total = sum(sight.others.values())
    measured = f"other programs used {total:.2f} cores" + (f" ({busiest})" if busiest else "")
    if total <= MAX_OTHERS:
        return Finding(what="load", measured=measured)
    return Finding(
        what="load",
        measured=measured,
        why="they take the processor and its caches from what is measured",
        fix="stop them, or keep them off the measured cores (taskset, systemd-run -p AllowedCPUs=)",
        severity="warning",
    )


def governor(sight: Sight) -> Finding:
    name = machine.processor(sight.files, sight.cores).governor
    if name in ("", "performance"):
        measured = name or "not to be seen here: the host decides"
        return Finding(what="governor", measured=measured)
    return Finding(
        what="governor",
        measured=name,
        why="the clock follows the load: low offered load is answered at a lower frequency, and slower",
        fix="sudo cpupower frequency-set -g performance",
        severity="warning",
    )


def turbo(sight: Sight) -> Finding:
    state = machine.turbo(sight.files)
    if state != "on":
        return Finding(what="turbo", measured=state or "not to be seen here: the host decides")
    return Finding(
        what="turbo",
        measured=state,
        why="the frequency depends on temperature and on how many cores are busy",
        fix="echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo  (or 0 to cpufreq/boost)",
        severity="note",
    )


def quota(sight: Sight) -> Finding:
    granted = machine.limits(sight.files).cores
    if granted is None:
        return Finding(what="CPU quota", measured="none")
    is_worse = sight.throttled_ms > 0
    return Finding(
        what="CPU quota",
        measured=f"{granted:g} cores; held back {sight.throttled_ms:.0f} ms while this was looked at",
        why="a group that has used its share of a period (100 ms) stands still until the next: that is the tail",
        fix="give whole cores instead of a quota (cpuset, --cpuset-cpus; in Kubernetes the static CPU manager)",
        severity="warning" if is_worse else "note",
    )


def memory(sight: Sight) -> Finding:
    found = machine.memory_mib(sight.files)
    measured = f"{found['available']} MiB available, {found['swap']} MiB swap"
    if sight.swapped_pages == 0 and found["available"] >= MIN_AVAILABLE_MIB:
        return Finding(what="memory", measured=measured)
    return Finding(
        what="memory",
        measured=f"{measured}; {sight.swapped_pages} pages swapped while this was looked at",
        why="a page that comes from disk takes milliseconds",
        fix="stop what fills the memory, or sudo swapoff -a",
        severity="warning",
    )


def huge_pages(sight: Sight) -> Finding:
    mode = machine.selected(sight.files, "sys/kernel/mm/transparent_hugepage/enabled")
    if mode != "always":
        return Finding(what="huge pages", measured=mode or "not to be seen here")
    return Finding(
        what="huge pages",
        measured=mode,
        why="the kernel gathers pages while requests run; memory figures jump by 2 MiB",
        fix="echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        severity="note",
    )


def clock_source(sight: Sight) -> Finding:
    name = sight.files.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if name not in ("hpet", "acpi_pm", "jiffies", "refined-jiffies"):
        return Finding(what="clock", measured=name or "not to be seen here")
    return Finding(
        what="clock",
        measured=name,
        why="each look at the clock is a system call of a microsecond or more, on server and generator alike",
        fix="boot with clocksource=tsc tsc=reliable, if the machine's TSC is stable",
        severity="warning",
    )


def timer(sight: Sight) -> Finding:
    measured = f"fires up to {sight.lateness_us:.0f} µs late (p99)"
    if sight.lateness_us <= MAX_LATENESS_US:
        return Finding(what="timer", measured=measured)
    return Finding(
        what="timer",
        measured=measured,
        why="the load generator sends when its timer fires: over 1 ms at its p99 a run is invalid",
        fix="trivet --awake bench ...: idle cores sleep, and wake late; else see load, steal and governor",
        severity="warning",
    )


def power(sight: Sight) -> Finding:
    supplies = [sight.files.number(path) for path in sight.files.paths("sys/class/power_supply/*/online")]
    if not supplies or any(supplies):
        return Finding(what="power", measured="mains" if supplies else "no battery")
    return Finding(
        what="power",
        measured="battery",
        why="the processor's frequency is held down",
        fix="plug the machine in",
        severity="warning",
    )


CHECKS: tuple[Callable[[Sight], Finding], ...] = (
    cores,
    siblings,
    load,
    steal,
    steadiness,
    timer,
    governor,
    turbo,
    quota,
    memory,
    huge_pages,
    clock_source,
    power,
)


def _members(group: str) -> set[int]:
    """Of a list as the kernel writes it: 0,2 or 0-1."""
    found: set[int] = set()
    for part in group.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
