import os
import subprocess
import sys

import msgspec
import pytest

from tests.load.scripted_target import ScriptedTarget, always, ok
from trivet.load.arrivals import Constant
from trivet.load.job import HttpRequest, Job, OpenLoop
from trivet.load.record import Record
from trivet.load.result import Result, generator_of
from trivet.spec.row import ABSENT

MS = 1_000_000
LOAD = OpenLoop(arrivals=Constant(rate_rps=200, duration_ns=50 * MS))


def run_process(stdin: bytes, *options: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "trivet.load", *options]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def test_a_job_on_stdin_gives_a_result_on_stdout() -> None:
    core = min(os.sched_getaffinity(0))
    with ScriptedTarget(always(ok())) as target:
        job = Job(target=target.name, load=LOAD, requests=[HttpRequest(path="/", body=b"\xff")], seed=1)
        done = run_process(msgspec.json.encode([job]), "--core", str(core))
    assert (done.returncode, done.stderr) == (0, b"")
    (result,) = msgspec.msgpack.decode(done.stdout, type=list[Result])
    assert result.measured().num_rows == 10
    assert result.measured().words["outcome"].words == ("ok",)
    assert target.requests[0].endswith(b"\xff")


@pytest.mark.parametrize(
    ("stdin", "options", "complaint"),
    [
        (b"{", [], b"trivet.load: "),
        (b'[{"target":"h:1","requests":[{"path":"/"}],"load":{"type":"open"},"seed":1}]', [], b"arrivals"),
        (b'[{"target":"h:1","rate":2}]', [], b"rate"),
        (b"[]", ["--core", "100000"], b"trivet.load: "),
    ],
)
def test_a_bad_job_is_refused_in_one_line(stdin: bytes, options: list[str], complaint: bytes) -> None:
    done = run_process(stdin, *options)
    assert done.returncode == 2
    assert done.stdout == b""
    assert complaint in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_nobody_at_the_target_has_an_exit_code_of_its_own() -> None:
    job = Job(target="127.0.0.1:1", load=LOAD, requests=[HttpRequest(path="/")], seed=1)
    done = run_process(msgspec.json.encode([job]))
    assert done.returncode == 3
    assert b"nothing answers at 127.0.0.1:1" in done.stderr


def record(send_lag_ns: list[int], busy_share: float = 0.5) -> Record:
    """Requests intended at 0, 1, 2 ... in a run of 100 ns."""
    lagging = Record(list(range(len(send_lag_ns))))
    lagging.send_lag_ns, lagging.busy_share, lagging.end_ns = send_lag_ns, busy_share, 100
    return lagging


def test_a_run_whose_generator_fell_behind_is_invalid_and_says_why() -> None:
    generator = generator_of(record([1] * 98 + [2 * MS] * 2), 0.5, MS, measured_from_ns=0)
    assert generator.send_lag_p99_ns == 2 * MS
    assert generator.invalid.startswith("the load generator fell behind: p99 send lag 2.00 ms, at most 1 ms")
    assert "busy 50% of the time and had 50% of a core" in generator.invalid


def test_a_single_late_send_in_a_hundred_is_reported_and_valid() -> None:
    generator = generator_of(record([1] * 99 + [2 * MS]), 1.0, MS, measured_from_ns=0)
    assert (generator.send_lag_p50_ns, generator.send_lag_p99_ns, generator.send_lag_max_ns) == (1, 1, 2 * MS)
    assert generator.invalid == ""


def test_a_generator_that_was_always_busy_is_the_limit_itself() -> None:
    assert "itself was the limit; it was busy 96%" in generator_of(record([1], 0.96), 1.0, MS, 0).invalid
    assert generator_of(record([1], 0.95), 1.0, MS, 0).invalid == ""


def test_a_generator_without_its_core_is_no_judge_though_no_send_was_late() -> None:
    generator = generator_of(record([ABSENT] * 9), 0.79, MS, 0)
    assert (
        "others ran on the load generator's core; it was busy 50% of the time and had 79%"
        in generator.invalid
    )
    assert generator_of(record([ABSENT] * 9), 0.8, MS, 0).invalid == ""
    assert generator_of(record([ABSENT] * 9), 0.1, 2 * MS, 0).invalid == ""


def test_lags_of_the_warm_up_do_not_count() -> None:
    generator = generator_of(record([9 * MS] * 10 + [1, ABSENT, 3]), 1.0, MS, measured_from_ns=10)
    assert (generator.send_lag_max_ns, generator.num_waited, generator.invalid) == (3, 1, "")


def test_a_run_without_sends_is_valid() -> None:
    assert generator_of(record([]), 1.0, MS, measured_from_ns=0).invalid == ""
