"""What went on meanwhile, from two states of a machine made of files."""

import os
from pathlib import Path

import pytest

from tests.catalog.host_tree import MACHINE, STAT, process, tree
from trivet.catalog.conditions import HostWatch, frequencies_mhz, throttled_ns
from trivet.catalog.cpu_time import TICKS_PER_SECOND, CoreTicks, core_ticks, others, process_ticks
from trivet.catalog.host_files import HOST, HostFiles
from trivet.clock import FakeClock


def test_conditions_are_differences_between_two_looks(tmp_path: Path) -> None:
    files = tree(tmp_path, MACHINE | process(7, "own", 1, 10) | process(9, "busy", 1, 100))
    clock = FakeClock()
    watch = HostWatch([0, 1], files, own=7, clock=clock.now_ns)
    clock.advance_ns(2_000_000_000)
    later = {
        "proc/stat": STAT.format("60 0 0 110 0 0 0 30 0 0", "10 0 0 290 0 0 0 0 0 0"),
        "proc/vmstat": "pswpin 9\npswpout 16\n",
        "sys/fs/cgroup/box/cpu.stat": "nr_throttled 3\nthrottled_usec 5500\n",
        "proc/cpuinfo": MACHINE["proc/cpuinfo"].replace("2000.5", "1800.0"),
    }
    used = process(9, "busy", 1, 100 + TICKS_PER_SECOND) | process(8, "child", 7, 1000)
    tree(tmp_path, later | used | process(7, "own", 1, 900))
    found = watch.conditions()
    assert found.elapsed_s == 2.0
    assert found.steal_share == round(20 / 300, 5)
    assert found.busy_share == 60 / 300
    assert found.frequency_mhz == (1800.0, 2400.0)
    assert (found.throttled_ms, found.swapped_pages) == (2.5, 14)
    assert found.others == {"busy": 0.5}


def test_only_the_watched_cores_count(tmp_path: Path) -> None:
    files = tree(tmp_path, MACHINE)
    assert core_ticks(files, [0]) == CoreTicks(total=100, idle=80, steal=10)
    assert core_ticks(files, [1]) == CoreTicks(total=100, idle=100, steal=0)
    assert core_ticks(files, [0, 1]).steal_share == pytest.approx(0.05)
    assert core_ticks(files, [5]).steal_share == core_ticks(files, [5]).busy_share == 0


def test_guests_time_is_not_counted_twice(tmp_path: Path) -> None:
    files = tree(tmp_path, {"proc/stat": "cpu0 50 0 0 50 0 0 0 0 40 10\n"})
    assert core_ticks(files, [0]).total == 100


def test_an_own_descendant_of_any_depth_is_no_stranger(tmp_path: Path) -> None:
    files = tree(tmp_path, process(2, "own", 1, 5) | process(3, "a", 2, 500) | process(4, "b", 3, 500))
    assert others({}, process_ticks(files), 1_000_000_000, own=2) == {}
    assert set(others({}, process_ticks(files), 1_000_000_000, own=4)) == {"own", "a"}


def test_processes_of_one_command_are_added_and_small_ones_left_out(tmp_path: Path) -> None:
    second = TICKS_PER_SECOND
    files = tree(
        tmp_path, process(2, "gcc", 1, second) | process(3, "gcc", 1, second) | process(4, "top", 1, 0)
    )
    assert others({}, process_ticks(files), 4_000_000_000, own=9) == {"gcc": 0.5}


def test_an_id_that_was_used_again_counts_from_nothing(tmp_path: Path) -> None:
    before = process_ticks(tree(tmp_path, process(2, "old", 1, 900, started=1)))
    after = process_ticks(tree(tmp_path, process(2, "new", 1, TICKS_PER_SECOND, started=2)))
    assert others(before, after, 1_000_000_000, own=9) == {"new": 1.0}


def test_frequencies_come_from_cpufreq_where_there_is_one(tmp_path: Path) -> None:
    files = tree(tmp_path, MACHINE)
    assert frequencies_mhz(files, [0, 1]) == [2000.5, 2400.0]
    assert frequencies_mhz(files, [1]) == [2400.0]
    tree(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3100000\n"})
    assert frequencies_mhz(files, [0, 1]) == [3100.0]
    assert frequencies_mhz(HostFiles(tmp_path / "nothing"), [0]) == []


def test_throttling_is_read_of_either_version_of_control_groups(tmp_path: Path) -> None:
    assert throttled_ns(tree(tmp_path / "v2", MACHINE)) == 3_000_000
    v1 = {
        "proc/self/cgroup": "3:cpu,cpuacct:/box\n",
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.stat": "nr_throttled 1\nthrottled_time 77\n",
    }
    assert throttled_ns(tree(tmp_path / "v1", v1)) == 77
    assert throttled_ns(HostFiles(tmp_path)) == 0


def test_this_machine_can_be_watched() -> None:
    watch = HostWatch(os.sched_getaffinity(0), own=os.getpid())
    found = watch.conditions()
    assert 0 <= found.steal_share <= 1
    assert found.throttled_ms >= 0
    assert os.getpid() in {pid for pid, _ in process_ticks(HOST)}
