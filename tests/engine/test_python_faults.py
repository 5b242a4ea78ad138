"""What user code can do to its process, and what the server gets: one answer a batch, then `Exited`, once."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from python_support import bytes_array, fifo, running, wait_events, wait_exit, wait_readable, wait_started

from trivet.engine.python.events import Event, Exited, Failed, Finished, StreamEnded
from trivet.engine.python.process import PythonProcess


@pytest.fixture(scope="module")
def well() -> Iterator[PythonProcess]:
    """A process that has to survive what the tests below do to it, one after the other."""
    with running("misbehave") as process:
        yield process
        process.send(999, {"how": bytes_array(b"")})
        assert isinstance(wait_events(process)[0], Finished)


def answer(process: PythonProcess, how: bytes, num_rows: int = 1) -> Event:
    process.send(5, {"how": bytes_array(*[how] * num_rows)})
    (event,) = wait_events(process)
    assert event.batch_id == 5
    return event


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", "python_models.py:misbehave: ValueError: a bad value: 7"),
        ("raise-surrogate", "ValueError: \\udcff"),
        ("raise-unshowable", "NobodyCanShowMe: (its message cannot be shown: RuntimeError)"),
        ("wrong-dtype", "output 'y': expected FP32 [-1, 1], got float64 [2, 1]"),
        ("wrong-rank", "output 'y': expected FP32 [-1, 1], got shape [1]"),
        ("wrong-dimension", "output 'y': expected FP32 [-1, 1], got shape [2, 2]"),
        ("wrong-rows", "output 'y': expected 2 rows like the inputs, got 3"),
        ("missing", "output 'y' is missing: expected ['y'], got ['z']"),
        ("unknown", "output 'z' is not declared: expected ['y'], got ['y', 'z']"),
        ("nothing", "output 'y': expected FP32 [-1, 1], got a NoneType"),
    ],
)
def test_a_wrong_answer_fails_its_batch_and_says_what_was_expected(
    well: PythonProcess, how: str, told: str
) -> None:
    event = answer(well, how.encode(), num_rows=2)
    assert isinstance(event, Failed)
    assert str(event.error).endswith(told)


def test_a_failure_shows_its_traceback_in_the_log_and_not_to_the_client(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with running("misbehave") as process:
        event = answer(process, b"raise")
    out, log = capfd.readouterr()
    assert "Traceback" not in str(event.error)
    assert "batch 5: ValueError: a bad value: 7" in log
    assert 'raise ValueError("a bad value: 7")' in log
    assert "trivet/engine" not in log
    assert out == ""


def test_a_long_message_is_cut(well: PythonProcess) -> None:
    event = answer(well, b"raise-long")
    assert isinstance(event, Failed)
    assert 2000 < len(str(event.error)) < 2100


def test_bytes_inputs_are_the_models_own(well: PythonProcess) -> None:
    how = bytes_array(b"write-input")
    well.send(5, {"how": how})
    assert isinstance(wait_events(well)[0], Finished)
    assert how.tolist() == [b"write-input"]


def test_what_it_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with running("misbehave") as process:
        assert isinstance(answer(process, b"print"), Finished)
    out, log = capfd.readouterr()
    assert sorted(log.splitlines()) == ["to descriptor 1", "to standard error", "to standard output"]
    assert out == ""


def test_inputs_are_read_only() -> None:
    with running("writes_its_input") as process:
        x = np.zeros((1, 1), np.float32)
        process.send(1, {"x": x})
        (event,) = wait_events(process)
    assert isinstance(event, Failed)
    assert "read-only" in str(event.error)


def test_an_answer_over_the_limit_fails_its_batch_and_a_large_one_below_it_comes_whole() -> None:
    with running("large", max_output_bytes=8 << 20) as process:
        process.send(1, {"n": np.array([(8 << 20) + 1])})
        (failed,) = wait_events(process)
        process.send(2, {"n": np.array([8 << 20])})
        (finished,) = wait_events(process)
    assert isinstance(failed, Failed)
    assert "8388672 bytes; at most 8388608 are allowed (max_output_bytes)" in str(failed.error)
    assert isinstance(finished, Finished)
    assert finished.outputs["y"].shape == (1, 8 << 20)
    assert (finished.outputs["y"] == 7).all()


@pytest.mark.parametrize(
    ("how", "returncode", "told"),
    [
        ("abort", -signal.SIGABRT, "it was killed by signal 6 (SIGABRT)"),
        ("segfault", -signal.SIGSEGV, "it was killed by signal 11 (SIGSEGV)"),
        ("sys-exit", 3, "it exited with status 3"),
        ("sys-exit-well", 0, "it exited with status 0"),
        ("os-exit", 4, "it exited with status 4"),
        ("exit-with-a-thread", 5, "it exited with status 5"),
        ("close-fds-and-hang", -signal.SIGKILL, "it closed its connection to the server"),
        ("garbage", -signal.SIGKILL, "it broke the protocol: "),
        ("truncated", -signal.SIGKILL, "it broke the protocol: "),
        ("outside-the-slab", -signal.SIGKILL, "it broke the protocol: byte 2147483651 of a slab of"),
    ],
)
def test_a_process_that_dies_or_lies_fails_what_is_in_flight_once(
    how: str, returncode: int, told: str
) -> None:
    with running("misbehave") as process:
        process.send(1, {"how": bytes_array(how.encode())})
        process.send(2, {"how": bytes_array(b"good")})
        events = wait_exit(process)
        assert process.receive() == []
        assert process.close() == []
    finished = [event for event in events if isinstance(event, Finished)]
    failed = [event for event in events if isinstance(event, Failed)]
    assert {1, 2} == {event.batch_id for event in finished + failed}
    assert len(events) == 3
    exited = events[-1]
    assert isinstance(exited, Exited)
    # "garbage" goes on answering until it is killed: what it answered before that counts.
    assert how in ("garbage", "truncated", "outside-the-slab") or [event.batch_id for event in failed] == [
        1,
        2,
    ]
    assert exited.returncode == returncode
    assert told in exited.reason
    assert exited.reason.startswith("python_models.py:misbehave: its process ended: ")
    assert {exited.reason} >= {str(event.error) for event in failed}


def test_a_process_that_closes_all_descriptors_fails_its_batch() -> None:
    with running("misbehave") as process:
        process.send(1, {"how": bytes_array(b"close-fds")})
        failed, exited = wait_exit(process)
    # Whether it notices first or is killed first is a race that both may win.
    assert isinstance(failed, Failed)
    assert isinstance(exited, Exited)
    assert exited.returncode in (1, -signal.SIGKILL)


def test_dying_between_two_outputs_gives_none_of_them() -> None:
    with running("dies_while_it_answers") as process:
        ones = np.ones((1, 1), np.float32)
        process.send(1, {"a": ones, "b": ones})
        failed, exited = wait_exit(process)
    assert isinstance(failed, Failed)
    assert isinstance(exited, Exited)
    assert exited.returncode == 6


@pytest.mark.parametrize("how", ["hang-with-the-lock", "hang-without-the-lock"])
def test_a_hung_process_can_be_killed_and_fails_its_batches_once(how: str, tmp_path: Path) -> None:
    started = fifo(tmp_path)
    with running("misbehave") as process:
        process.send(1, {"how": bytes_array(f"{how} {started}".encode())})
        process.send(2, {"how": bytes_array(b"good")})
        wait_started(started)
        assert process.receive() == []
        process.kill("it did not answer within 2 s")
        events = wait_exit(process)
        process.kill("twice does no harm")
    reason = "python_models.py:misbehave: its process ended: it did not answer within 2 s"
    assert [(1, reason), (2, reason)] == [(event.batch_id, str(event.error)) for event in events[:-1]]
    assert [Exited(-signal.SIGKILL, reason)] == events[-1:]


@pytest.mark.parametrize("how", ["hang-with-the-lock", "hang-without-the-lock"])
def test_sending_to_a_hung_process_never_waits(how: str, tmp_path: Path) -> None:
    """More messages than its socket holds: they wait on our side, and nothing is lost or answered twice."""
    started = fifo(tmp_path)
    with running("misbehave") as process:
        process.send(0, {"how": bytes_array(f"{how} {started}".encode())})
        wait_started(started)
        for batch_id in range(1, 2000):
            process.send(batch_id, {"how": bytes_array(b"good")})
        process.kill()
        events = wait_exit(process)
    assert list(range(2000)) == [event.batch_id for event in events[:-1]]


def test_closing_kills_what_does_not_stop(tmp_path: Path) -> None:
    started = fifo(tmp_path)
    with running("misbehave") as process:
        process.send(1, {"how": bytes_array(f"hang-with-the-lock {started}".encode())})
        wait_started(started)
        failed, exited = process.close(grace_ns=0)
    assert isinstance(failed, Failed)
    assert exited == Exited(-signal.SIGKILL, str(failed.error))
    assert "it did not stop within 0 s" in exited.reason


def test_stopping_answers_what_was_sent_before() -> None:
    with running("misbehave") as process:
        for batch_id in (1, 2):
            process.send(batch_id, {"how": bytes_array(b"good")})
        process.stop()
        events = process.close(grace_ns=60_000_000_000)
    assert [event.batch_id for event in events if isinstance(event, Finished)] == [1, 2]
    assert events[-1] == Exited(0, "python_models.py:misbehave: its process ended: it exited with status 0")


def test_what_the_process_started_goes_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    """Even processes that hold copies of its descriptors: the pid tells its end, not the connection."""
    with running("misbehave") as process:
        process.send(1, {"how": bytes_array(b"child")})
        assert os.getpgid(process.pid) == process.pid
        events = wait_exit(process)
    child = int(capfd.readouterr().err.partition("child ")[2])
    try:
        pidfd = os.pidfd_open(child)
    except ProcessLookupError:
        pass  # gone and reaped already
    else:
        wait_readable(pidfd)
        os.close(pidfd)
    assert [Failed, Exited] == [type(event) for event in events]


def test_a_stream_of_a_process_that_dies_ends_with_its_error() -> None:
    with running("count") as process:
        process.open_stream(1, {"n": np.array([5])}, 0)
        process.open_stream(2, {"n": np.array([5])}, 0)
        process.cancel(2)
        process.kill()
        events = wait_exit(process)
    ended = {event.stream_id: event.error for event in events if isinstance(event, StreamEnded)}
    assert ended.keys() == {1, 2}
    assert ended[2] is None
    assert isinstance(events[-1], Exited)
    assert str(ended[1]) == events[-1].reason


def test_after_its_end_a_process_takes_nothing_more() -> None:
    with running("count") as process:
        process.kill()
        wait_exit(process)
        with pytest.raises(Exception, match="its process is gone"):
            process.open_stream(1, {"n": np.array([5])})
        process.grant(1, 1)
        process.cancel(1)
        process.stop()
        assert process.receive() == []
