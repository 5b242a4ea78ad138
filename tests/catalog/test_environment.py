"""The environment's fingerprint: of this machine, of machines made of files, and of code under git."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import trivet
from tests.catalog.host_tree import MACHINE, tree
from trivet.catalog import machine
from trivet.catalog.code_version import code_version
from trivet.catalog.environment import Environment, differences, fingerprint, finished
from trivet.catalog.host_files import HostFiles
from trivet.catalog.machine import Limits
from trivet.catalog.noise import Noise

NOISE = Noise(core=0, piece_us=100, jitter=0.01, longest_us=150, steal_share=0)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "steps.py").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_clean_code_is_its_commit(repository: Path) -> None:
    version = code_version(repository)
    assert (version.commit, version.dirty, version.diff) == (git(repository, "rev-parse", "HEAD"), False, "")


def test_the_diff_of_dirty_code_is_kept(repository: Path) -> None:
    kept: list[bytes] = []

    def keep(data: bytes) -> str:
        kept.append(data)
        return "sha256:kept"

    (repository / "steps.py").write_text("a = 2\n")
    (repository / "new.py").write_text("secret")
    version = code_version(repository, keep)
    assert (version.dirty, version.diff) == (True, "sha256:kept")
    assert b"-a = 1\n+a = 2\n" in kept[0]
    assert b"?? new.py" in kept[0]
    assert code_version(repository).diff.startswith("sha256:")
    digests = {code_version(repository).diff}
    (repository / "steps.py").write_text("a = 3\n")
    assert code_version(repository).diff not in digests


def test_a_folder_without_git_has_no_version_and_a_complaint_is_kept(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_version(tmp_path) == code_version(tmp_path, keep=None)
    assert (code_version(tmp_path).commit, code_version(tmp_path).problem) == ("", "")
    (repository / ".git" / "config").write_text("[broken")
    assert "bad config" in code_version(repository).problem
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version(repository).problem == "git is not installed"


def test_this_machine_has_a_fingerprint_that_survives_json(repository: Path) -> None:
    found = fingerprint(repository, pinning={"server": (1,), "generator": (0,)}, noise=NOISE, environ={})
    assert found.trivet == trivet.__version__
    assert found.packages["numpy"] == np.__version__
    assert found.packages["msgspec"] == msgspec.__version__
    assert found.contents["msgspec"].startswith("sha256:")
    assert found.python.endswith(".".join(map(str, sys.version_info[:3])))
    assert found.cores == tuple(sorted(os.sched_getaffinity(0)))
    assert found.processor.model
    assert found.memory_mib > 0
    assert (found.code.commit, found.noise_before) == (git(repository, "rev-parse", "HEAD"), NOISE)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Environment) == found
    assert differences(found, found) == []


def test_the_kernels_files_are_read(tmp_path: Path) -> None:
    found = fingerprint(
        tmp_path, files=tree(tmp_path, MACHINE), environ={"OMP_NUM_THREADS": "2", "HOME": "/"}
    )
    assert found.os == "Some Linux 12"
    assert found.processor.model == "Fast CPU"
    assert found.processor.flags == ("avx", "fma", "sse2")
    assert (found.processor.microcode, found.processor.online) == ("0x1", "0-1")
    assert (found.processor.siblings, found.processor.turbo) == (("0-1",), "on")
    assert found.processor.mitigations == "mitigations=off"
    assert (found.memory_mib, found.swap_mib, found.huge_pages) == (2048, 0, "always")
    assert found.limits == Limits(cores=1.5, memory_mib=512)
    assert found.clock_source == "hpet"
    assert found.threads == {"OMP_NUM_THREADS": "2"}
    assert found.load == {"average_1min": 0.5, "average_5min": 0.4, "average_15min": 0.3, "runnable": 3.0}


def test_what_a_machine_does_not_tell_is_empty(tmp_path: Path) -> None:
    found = fingerprint(tmp_path, files=HostFiles(tmp_path), environ={})
    assert (found.limits, found.load, found.gpus) == (Limits(), {}, ())
    assert (found.processor.governor, found.processor.turbo, found.processor.flags) == ("", "", ())


def test_limits_of_the_older_control_groups(tmp_path: Path) -> None:
    files = tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/box\n2:cpu,cpuacct:/box\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "1073741824\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
        },
    )
    assert machine.limits(files) == Limits(cores=2, memory_mib=1024)


def test_turbo_of_processors_that_are_not_intels(tmp_path: Path) -> None:
    boost = "sys/devices/system/cpu/cpufreq/boost"
    assert machine.turbo(tree(tmp_path, {boost: "1\n"})) == "on"
    assert machine.turbo(tree(tmp_path, {boost: "0\n"})) == "off"


def test_graphics_processors_are_named(tmp_path: Path) -> None:
    files = tree(
        tmp_path,
        {
            "proc/driver/nvidia/version": "NVRM version: 550\nGCC\n",
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t RTX 9\nIRQ: 1\n",
            "sys/class/drm/renderD128/device/vendor": "0x10de\n",
            "sys/class/drm/renderD129/device/vendor": "0x1002\n",
            "sys/class/drm/renderD129/device/device": "0x744c\n",
        },
    )
    assert machine.gpus(files) == ("RTX 9 (NVRM version: 550)", "0x1002:0x744c")


def test_the_end_of_a_run_adds_what_was_seen_meanwhile(tmp_path: Path) -> None:
    begun = Environment(kernel="6", noise_before=NOISE)
    ended = finished(begun, None, NOISE)
    assert (ended.kernel, ended.noise_before, ended.noise_after) == ("6", NOISE, NOISE)
