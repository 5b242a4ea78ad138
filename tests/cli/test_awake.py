"""Idle cores held awake: by whom, for how long, and what is said where that is not allowed."""

import contextlib
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from trivet import host
from trivet.catalog.environment import fingerprint
from trivet.catalog.host_files import HostFiles
from trivet.cli.main import cli


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A file in the place of the kernel's; the kernel's own limit is two thousand seconds."""
    path = tmp_path / "dev" / "cpu_dma_latency"
    path.parent.mkdir()
    path.write_bytes((2_000_000_000).to_bytes(4, "little"))
    return path


def test_a_limit_of_zero_is_written_and_seen(device: Path) -> None:
    assert not host.is_awake(device)
    with host.awake(device):
        assert device.read_bytes() == bytes(4)
        assert host.is_awake(device)


def test_where_there_is_no_such_device_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), host.awake(tmp_path / "cpu_dma_latency"):
        pass
    assert not host.is_awake(tmp_path / "cpu_dma_latency")
    assert not list(tmp_path.iterdir())


def test_the_kernel_says_so_while_it_is_held_and_may_be_asked() -> None:
    may_ask = os.access(host.WAKE_LATENCY, os.R_OK | os.W_OK)
    with host.awake() if may_ask else contextlib.nullcontext():
        assert host.is_awake() >= may_ask


def test_the_environment_of_a_run_says_so(device: Path) -> None:
    files = HostFiles(device.parent.parent)
    assert not fingerprint(files=files).awake
    with host.awake(device):
        assert fingerprint(files=files).awake


def test_a_command_runs_with_cores_held_awake(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "WAKE_LATENCY", device)
    result = CliRunner().invoke(cli, ["--awake", "validate", "--help"])
    assert result.exit_code == 0
    result = CliRunner().invoke(cli, ["validate", "nothing.yaml"], env={"TRIVET_AWAKE": "1"})
    assert "nothing.yaml" in result.output
    assert device.read_bytes() == bytes(4)


def test_who_may_not_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "WAKE_LATENCY", tmp_path / "nothing" / "here")
    result = CliRunner().invoke(cli, ["--awake", "validate", "service.yaml"])
    assert result.exit_code == 1
    assert "--awake: No such file or directory" in result.output
    assert "leave --awake (or TRIVET_AWAKE) away" in result.output
