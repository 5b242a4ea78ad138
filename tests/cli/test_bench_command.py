"""`trivet bench` and `trivet compare` as they are typed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.load.scripted_target import ScriptedTarget, always, answer, ok
from trivet.catalog.catalog import Catalog
from trivet.cli.bench_run import shapes_of, slo_of, tags_of
from trivet.cli.main import cli
from trivet.errors import UserError

MS = 1_000_000
JSON_ENDPOINT = ("--dialect", "json", "--template", '{"x": 1}', "--answer", "y=$.y")
# A busy machine may hold the generator up, which is not what these tests are about.
LENIENT = ("--max-send-lag", "5s")
BRIEF = ("--rate", "200", "--duration", "200ms", *LENIENT, *JSON_ENDPOINT)


def bench(target: str, folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["bench", f"http://{target}/score", "--catalog", str(folder), *options])


def test_a_run_is_printed_kept_and_compared(tmp_path: Path) -> None:
    with ScriptedTarget(always(ok(b'{"y": 1}'))) as target:
        printed = bench(target.name, tmp_path / "c", *BRIEF, "--tag", "branch=main")
        as_json = bench(target.name, tmp_path / "c", *BRIEF, "--json")
    assert printed.exit_code == 0, printed.output
    assert "latency_p99_ms" in printed.stdout
    assert "floor_p50_ms" in printed.stdout
    assert "next:  trivet show" in printed.stdout
    assert "200/s poisson for 0.2 s, seed 0" in printed.stdout
    assert "/s  p50 " in printed.stderr
    found = json.loads(as_json.stdout)
    catalog = Catalog.open(str(tmp_path / "c"), create=False)
    first, second = (run.id for run in reversed(catalog.runs()))
    assert found["run"] == second
    assert catalog.run(first).tags == {"branch": "main"}
    assert found["figures"]["throughput_rps"]["estimate"] > 0
    options = ["--catalog", str(tmp_path / "c")]
    twice = CliRunner().invoke(cli, ["compare", "last", second, *options])
    assert (twice.exit_code, f"last and {second} are both run {second}" in twice.output) == (1, True)
    picture = tmp_path / "shift.svg"
    text = CliRunner().invoke(cli, ["compare", first, second, *options, "--plot", str(picture)])
    assert text.exit_code == 0, text.output
    assert "not interleaved" in text.stdout
    assert picture.read_bytes().startswith(b"<?xml")
    values = json.loads(CliRunner().invoke(cli, ["compare", first, second, *options, "--json"]).stdout)
    assert (values["a"], values["b"], values["paired"]) == (first, second, False)


def test_unknown_runs_and_targets_are_told_in_one_line(tmp_path: Path) -> None:
    Catalog.open(str(tmp_path / "c"))
    unknown = CliRunner().invoke(cli, ["compare", "x", "y", "--catalog", str(tmp_path / "c")])
    assert unknown.exit_code == 1
    assert "x" in unknown.output
    nowhere = CliRunner().invoke(cli, ["bench", "nowhere.yaml", "--catalog", str(tmp_path / "c")])
    assert nowhere.exit_code == 1
    assert "nowhere.yaml: no such file" in nowhere.output
    assert "Traceback" not in nowhere.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--rate", "0"), "options make no workload"),
        (("--rate", "5", "--users", "2"), "give one of them"),
        (("--duration", "10"), "--duration: expected a duration"),
        (("--slo", "pmany:5ms"), "--slo 'pmany:5ms': expected p99:50ms"),
        (("--slo", "p99:5"), "--slo: expected a duration"),
        (("--tag", "main"), "--tag 'main': expected NAME=VALUE"),
        (("--until-decided",), "name a second one"),
        (("--turn", "50ms"), "--turn is for several targets under one steady rate"),
        (("--turn", "50"), "--turn"),
        (("--shape", "ids"), "--shape 'ids': expected NAME:SIZE"),
        (("--shape", "ids:-1"), "expected NAME:SIZE"),
    ],
)
def test_options_that_make_no_sense_are_named(
    options: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    result = bench("127.0.0.1:1", tmp_path, *options)
    assert result.exit_code == 1
    assert complaint in result.output


@pytest.mark.parametrize("option", ["--no-record", "--controlled"])
def test_a_yardstick_is_for_what_is_replayed(option: str, tmp_path: Path) -> None:
    result = bench("127.0.0.1:1", tmp_path, "--yardstick", "--rate", "10", option)
    assert (result.exit_code, "--yardstick is for a later replay: leave out" in result.output) == (1, True)


def test_a_run_that_says_nothing_of_the_server_is_told_and_exits_2(tmp_path: Path) -> None:
    with ScriptedTarget(always(ok(b'{"y": 1}'))) as target:
        result = bench(target.name, tmp_path, *BRIEF, "--max-send-lag", "1ns")
    assert result.exit_code == 2
    assert "INVALID\n  the load generator fell behind" in result.stdout
    assert Catalog.open(str(tmp_path), create=False).run("last").state == "invalid"


def test_a_target_that_refuses_is_told_and_exits_1(tmp_path: Path) -> None:
    with ScriptedTarget(always(answer(503, b'{"error": "full"}'))) as target:
        result = bench(target.name, tmp_path, *BRIEF)
    assert result.exit_code == 1
    assert "FAILED\n  " in result.stdout
    assert "next:  trivet show" in result.stdout
    assert "trivet compare" not in result.stdout  # there is nothing to compare
    assert "503" in result.stdout
    assert Catalog.open(str(tmp_path), create=False).run("last").state == "failed"


def test_slo_and_tags_are_read() -> None:
    assert slo_of("p99.9:50ms") == (99.9, 50 * MS)
    assert slo_of("95:1s") == (95.0, 1000 * MS)
    assert slo_of("20ms") == (99.0, 20 * MS)
    assert slo_of(None) == (99.0, None)
    assert tags_of(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    assert shapes_of(["ids:16", "a:b:3,224,224"]) == {"ids": (16,), "a:b": (3, 224, 224)}
    with pytest.raises(UserError):
        slo_of("p0:5ms")


def started(target: str, folder: Path) -> "subprocess.Popen[str]":
    """A run that has told its progress once, after its warm-up of 0.4 s."""
    command = [sys.executable, "-m", "trivet.cli.main", "bench", f"http://{target}/", "--rate", "100"]
    command += ["--duration", "8s", "--catalog", str(folder), *LENIENT, *JSON_ENDPOINT]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "block 1:" in line:
            return process
    raise AssertionError("the run ended before it told its progress")


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    with ScriptedTarget(always(ok(b'{"y": 1}'))) as target:
        process = started(target.name, tmp_path)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "PARTIAL" in output
    run = Catalog.open(str(tmp_path), create=False).run("last")
    assert (run.state, run.reason) == ("partial", "stopped with Ctrl-C")
    assert run.figures["throughput_rps"].estimate > 0


def test_a_run_that_is_killed_is_interrupted_and_leaves_nobody_behind(tmp_path: Path) -> None:
    with ScriptedTarget(always(ok(b'{"y": 1}'))) as target:
        process = started(target.name, tmp_path)
        process.kill()
        process.communicate(timeout=60)
    assert Catalog.open(str(tmp_path), create=False).run("last").state == "interrupted"
