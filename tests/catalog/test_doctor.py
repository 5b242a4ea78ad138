"""The doctor's judgement of machines made of files, and one look at this one."""

import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.host_tree import MACHINE, tree
from trivet.catalog.doctor import Finding, examine, look, timer_lateness_us
from trivet.catalog.finding import Sight
from trivet.catalog.host_files import HostFiles
from trivet.catalog.noise import Noise

QUIET = Noise(core=0, piece_us=100, jitter=0.02, longest_us=150, steal_share=0)
LOUD = Noise(core=1, piece_us=100, jitter=0.6, longest_us=9000, steal_share=0.08)


def sight(files: HostFiles, **fields: Any) -> Sight:
    values: dict[str, Any] = {"cores": (0, 1), "noise": (QUIET,), "others": {}, "lateness_us": 60.0}
    return Sight(files=files, **(values | fields))


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_a_quiet_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    good = {
        "proc/meminfo": "MemAvailable: 8388608 kB\nSwapTotal: 1024 kB\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "sys/class/power_supply/AC/online": "1\n",
    }
    findings = examine(sight(tree(tmp_path, good)))
    assert {finding.severity for finding in findings} == {"fine"}
    assert all(finding.measured and not finding.fix for finding in findings)


def test_a_noisy_machine_is_told_what_how_much_why_and_what_to_do(tmp_path: Path) -> None:
    seen = sight(
        tree(tmp_path, MACHINE),
        noise=(QUIET, LOUD),
        others={"gcc": 0.9, "sh": 0.1},
        lateness_us=2500.0,
        throttled_ms=40,
        swapped_pages=12,
    )
    findings = examine(seen)
    found = by_name(findings)
    measured = {
        "steal": ("warning", "8.0% of core 1"),
        "steadiness": ("warning", "60% over its median, longest 9000 µs"),
        "hardware threads": ("warning", "share an execution unit: 0-1"),
        "load": ("warning", "1.00 cores (gcc 0.90, sh 0.10)"),
        "timer": ("warning", "2500 µs late"),
        "governor": ("warning", "powersave"),
        "turbo": ("note", "on"),
        "CPU quota": ("warning", "1.5 cores; held back 40 ms"),
        "memory": ("warning", "12 pages swapped"),
        "huge pages": ("note", "always"),
        "clock": ("warning", "hpet"),
        "power": ("warning", "battery"),
        "cores": ("fine", "2 to be used: 0, 1"),
    }
    assert found.keys() == measured.keys()
    for what, (severity, text) in measured.items():
        assert found[what].severity == severity, what
        assert text in found[what].measured
        assert bool(found[what].why) == bool(found[what].fix) == (severity != "fine")
    order = [finding.severity for finding in findings]
    assert order == sorted(order, key=("warning", "note", "fine").index)


def test_one_core_is_too_few_and_a_quota_alone_is_a_note(tmp_path: Path) -> None:
    found = by_name(examine(sight(tree(tmp_path, MACHINE), cores=(1,))))
    assert found["cores"].severity == "warning"
    assert found["hardware threads"].severity == "fine"
    assert found["CPU quota"].severity == "note"


def test_what_a_virtual_machine_hides_is_said_to_be_hidden(tmp_path: Path) -> None:
    found = by_name(examine(sight(HostFiles(tmp_path))))
    for what in ("governor", "turbo", "huge pages", "clock"):
        assert (found[what].severity, "not to be seen here" in found[what].measured) == ("fine", True)


@pytest.mark.parametrize(("late_us", "expected"), [(0, 0.0), (700, 700.0)])
def test_lateness_is_beyond_what_was_asked_for(late_us: int, expected: float) -> None:
    ticks = count(step=500_000 + late_us * 1000)
    assert timer_lateness_us(5, clock=lambda: next(ticks), sleep=lambda _: None) == expected


def test_this_machine_is_looked_at() -> None:
    seen = look()
    assert seen.cores == tuple(sorted(os.sched_getaffinity(0)))
    assert [noise.core for noise in seen.noise] == list(seen.cores)
    assert all(noise.piece_us > 0 for noise in seen.noise)
    assert len(examine(seen)) == len(by_name(examine(seen)))
