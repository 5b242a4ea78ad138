"""The load generator in a process of its own: what it tells, how it is stopped, how it fails."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import msgspec
import pytest

from tests.load.scripted_target import Script, ScriptedTarget, always, ok
from trivet.errors import SpecError
from trivet.load import process
from trivet.load.arrivals import Constant, Recorded
from trivet.load.connection import TargetError
from trivet.load.interrupt import wish_to_stop
from trivet.load.job import HttpRequest, Job, OpenLoop
from trivet.load.process import GeneratorError, offer_from
from trivet.load.progress import Progress
from trivet.spec.row import RowColumns

MS = 1_000_000
SHORT = OpenLoop(arrivals=Constant(rate_rps=200, duration_ns=50 * MS))
ENDLESS = OpenLoop(arrivals=Recorded(at_ns=(0, MS, 2 * MS, 3_600_000 * MS)))


def job_for(target: str, load: OpenLoop = SHORT) -> Job:
    return Job(target=target, load=load, requests=[HttpRequest(path="/")], seed=1, min_connections=1)


def answering_until(num: int, then: Callable[[], None]) -> Script:
    """Answers every request; with the `num`th, something else happens."""
    left = [num]

    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(ok())
        left[0] -= 1
        if not left[0]:
            then()

    return script


def test_the_result_is_that_of_the_process_on_its_core() -> None:
    core = max(os.sched_getaffinity(0))
    with ScriptedTarget(always(ok())) as target:
        result = offer_from(core, job_for(target.name))
    assert result.measured().num_rows == 10
    assert result.generator.cores == (core,)
    assert core in os.sched_getaffinity(0)
    assert not result.partial


def test_progress_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    with ScriptedTarget(always(ok())) as target:
        offer_from(None, job_for(target.name), told.append)
    assert [(last.sent, last.done, last.errors) for last in told[-1:]] == [(10, 10, 0)]


def test_what_is_told_on_the_way_gives_way_to_the_server() -> None:
    """The caller's own thread keeps its place on the processor: without privileges there would be no way back."""
    policies: list[int] = []
    with ScriptedTarget(always(ok())) as target:
        offer_from(None, job_for(target.name), lambda progress: policies.append(os.sched_getscheduler(0)))
    assert {*policies} == {os.SCHED_IDLE}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_the_servers_processor_time_is_read_when_its_answers_are_counted() -> None:
    told: list[Progress] = []
    with ScriptedTarget(always(ok())) as target:  # a thread of this process
        before_ns = time.process_time_ns()
        job = msgspec.structs.replace(job_for(target.name), server_processes=(os.getpid(),))
        offer_from(None, job, told.append)
    assert told[-1].server_cpu_ns is not None
    assert before_ns < told[-1].server_cpu_ns < time.process_time_ns()


def test_ctrl_c_ends_the_run_and_keeps_what_was_measured() -> None:
    with ScriptedTarget(answering_until(3, lambda: os.kill(os.getpid(), signal.SIGINT))) as target:
        result = offer_from(None, job_for(target.name, ENDLESS))
    assert result.partial
    assert RowColumns.decode(result.rows).words["outcome"].decode().tolist() == ["ok"] * 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_caller_with_a_handler_of_its_own_stops_by_a_flag() -> None:
    stop = threading.Event()
    with ScriptedTarget(answering_until(3, stop.set)) as target:
        result = offer_from(None, job_for(target.name, ENDLESS), stop=stop)
    assert (result.partial, RowColumns.decode(result.rows).num_rows) == (True, 3)


def test_what_runs_in_the_background_and_hears_no_ctrl_c_can_be_stopped() -> None:
    """A shell without job control starts what runs in the background with SIGINT ignored, and children inherit that."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ScriptedTarget(answering_until(3, stop.set)) as target:
            result = offer_from(None, job_for(target.name, ENDLESS), stop=stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.partial, RowColumns.decode(result.rows).num_rows) == (True, 3)


def test_a_stop_while_the_process_starts_is_not_lost() -> None:
    stop = threading.Event()
    stop.set()
    with ScriptedTarget(always(ok())) as target:
        result = offer_from(None, job_for(target.name, ENDLESS), stop=stop)
    assert result.partial


def test_nobody_at_the_target_is_the_same_error_as_without_a_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetError, match=rf"^nothing answers at 127.0.0.1:{port} .*start the server first$"):
        offer_from(None, job_for(f"127.0.0.1:{port}"))


def test_what_makes_no_sense_is_the_users_error() -> None:
    with pytest.raises(SpecError, match=r"^target 'nowhere' is neither host:port nor unix:PATH$"):
        offer_from(None, job_for("nowhere"))
    with pytest.raises(SpecError, match="Invalid argument"):
        offer_from(100_000, job_for("h:1"))


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.load.process.sys.executable", "/bin/false")
    with pytest.raises(GeneratorError, match="ended with code 1: it said nothing"):
        offer_from(None, job_for("h:1"))


def test_an_error_of_the_caller_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = process._start

    def remembered(command: list[str], progress: int) -> "subprocess.Popen[bytes]":
        started.append(start(command, progress))
        return started[-1]

    def fail(progress: Progress) -> None:
        raise RuntimeError("seen enough")

    monkeypatch.setattr(process, "_start", remembered)
    with ScriptedTarget(always(ok())) as target:
        with pytest.raises(RuntimeError, match="seen enough"):
            offer_from(None, job_for(target.name), fail)
    assert [one.returncode is None for one in started] == [False]


def test_a_generator_whose_caller_is_gone_ends() -> None:
    """The caller is killed while its generator runs; the pipe that only the generator still holds closes soon."""
    caller = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'trivet.load'], stdin=0, stdout=int(sys.argv[1]),"
        " pass_fds=[int(sys.argv[1])])\n"
        "child.wait()\n"
    )
    reading, writing = os.pipe()
    seen = threading.Event()
    with ScriptedTarget(answering_until(1, seen.set)) as target:
        job = msgspec.json.encode([job_for(target.name, ENDLESS)])
        with subprocess.Popen(
            [sys.executable, "-c", caller, str(writing)], stdin=subprocess.PIPE, pass_fds=[writing]
        ) as running:
            os.close(writing)
            assert running.stdin is not None
            running.stdin.write(job)
            running.stdin.close()
            assert seen.wait(20)
            running.kill()
        with os.fdopen(reading, "rb") as pipe:
            output = pipe.read()
    assert b"rows" in output


def test_the_first_signal_is_a_wish_and_the_second_ctrl_c_an_interrupt() -> None:
    with wish_to_stop() as wish:
        assert not wish.is_set()
        signal.raise_signal(signal.SIGINT)
        assert wish.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_signals_can_mean_the_same() -> None:
    with wish_to_stop(signal.SIGTERM) as wish:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert wish.is_set()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_somebody_else_stays() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    try:
        with wish_to_stop() as wish:
            signal.raise_signal(signal.SIGINT)
            assert not wish.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert got == [signal.SIGINT]


def test_outside_the_main_thread_there_are_no_signals_to_take() -> None:
    wishes: list[bool] = []

    def inside() -> None:
        with wish_to_stop() as wish:
            wishes.append(wish.is_set())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert wishes == [False]
