"""Runs that are watched, or stopped before their time, against a real server whose answers are scripted."""

import socket
import threading
from typing import Any

import pytest

from tests.load.scripted_target import ScriptedTarget, always, ok
from tests.spec.row_contract import RowWriterContract
from trivet.load.arrivals import Constant, Recorded
from trivet.load.connection import TargetError
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop
from trivet.load.offer import offer
from trivet.load.progress import Progress
from trivet.load.result import Result
from trivet.spec.row import ABSENT, RowColumns

MS = 1_000_000


def job(target: ScriptedTarget, load: OpenLoop | ClosedLoop, **settings: Any) -> Job:
    settings = {"min_connections": 1, "seed": 1, "requests": [HttpRequest(path="/")]} | settings
    return Job(target=target.name, load=load, **settings)


def stopped_after_two(load: OpenLoop | ClosedLoop, **settings: Any) -> Result:
    """The server answers two requests, then asks for the stop and lets the third wait for ever."""
    stop = threading.Event()

    def script(sock: socket.socket, request: bytes) -> None:
        if len(target.requests) > 2:
            stop.set()
        else:
            sock.sendall(ok())

    with ScriptedTarget(script) as target, pytest.MonkeyPatch.context() as patch:
        patch.setattr("trivet.load.client.DRAIN_NS", 20 * MS)
        return offer(job(target, load, **settings), stop=stop)


HOUR = Recorded(at_ns=(0, 5 * MS, 10 * MS, 10 * MS, 3_600_000 * MS))


@pytest.fixture(scope="module")
def stopped() -> Result:
    return stopped_after_two(OpenLoop(arrivals=HOUR), max_connections=1)


class TestRowsOfAStoppedRun(RowWriterContract):
    @pytest.fixture
    def rows(self, stopped: Result) -> RowColumns:
        return RowColumns.decode(stopped.rows)

    def test_it_holds_what_was_intended_until_then(self, stopped: Result, rows: RowColumns) -> None:
        assert stopped.partial
        assert rows.words["outcome"].decode().tolist() == ["ok", "ok", "cancelled", "cancelled"]
        assert set(rows.words["reason"].decode()[2:]) == {"the run was stopped"}
        assert (rows["sent_ns"][2] != ABSENT, rows["sent_ns"][3]) == (True, ABSENT)
        assert stopped.end_ns - stopped.start_ns < 10_000 * MS


def test_a_closed_loop_stops_too() -> None:
    result = stopped_after_two(ClosedLoop(num_users=1, duration_ns=3_600_000 * MS))
    outcomes = RowColumns.decode(result.rows).words["outcome"].decode().tolist()
    assert (result.partial, outcomes) == (True, ["ok", "ok", "cancelled"])


def test_answers_under_way_are_waited_for() -> None:
    stop = threading.Event()

    def script(sock: socket.socket, request: bytes) -> None:
        stop.set()
        stop.wait()
        sock.sendall(ok())

    with ScriptedTarget(script) as target:
        result = offer(job(target, OpenLoop(arrivals=Recorded(at_ns=(0, 3_600_000 * MS)))), stop=stop)
    assert (result.partial, RowColumns.decode(result.rows).words["outcome"].words) == (True, ("ok",))


def test_a_stop_before_the_start_gives_no_rows() -> None:
    stop = threading.Event()
    stop.set()
    with ScriptedTarget(always(ok())) as target:
        result = offer(job(target, OpenLoop(arrivals=HOUR)), stop=stop)
    assert (result.partial, RowColumns.decode(result.rows).num_rows) == (True, 0)


def test_a_run_that_nobody_stops_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr("trivet.load.progress.PERIOD_NS", 40 * MS)
    with ScriptedTarget(always(ok())) as target:
        load = OpenLoop(arrivals=Constant(rate_rps=1000, duration_ns=62 * MS))
        result = offer(job(target, load), told.append, threading.Event())
    assert not result.partial
    assert len(told) >= 2  # after a period, and at the end
    assert (told[-1].sent, told[-1].done, told[-1].errors) == (62, 62, 0)
    assert 40 * MS <= told[0].elapsed_ns < told[-1].elapsed_ns
    assert 0 < told[0].p50_ns <= told[0].p99_ns
    assert told[0].done <= told[0].sent


def test_progress_counts_what_has_no_result() -> None:
    told: list[Progress] = []
    with ScriptedTarget(lambda sock, request: sock.shutdown(socket.SHUT_RDWR)) as target:
        offer(job(target, OpenLoop(arrivals=Recorded(at_ns=(0, 1)))), told.append)
    assert [(last.done, last.errors, last.p50_ns) for last in told[-1:]] == [(2, 2, ABSENT)]


def test_the_times_of_a_streamed_answer_are_kept() -> None:
    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one", b"three", b"seven"):
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")

    with ScriptedTarget(script) as target:
        load = OpenLoop(arrivals=Recorded(at_ns=(0, 0)))
        result = offer(job(target, load, keep_chunks=True, keep_answers=True))
    rows = RowColumns.decode(result.rows)
    assert len(result.chunks) == 2
    for row, chunks in enumerate(result.chunks):
        instants, sizes = zip(*chunks, strict=True)
        assert sizes[-1] == len(rows.blobs["answer"][row]) == 13
        assert list(instants) == sorted(instants)
        assert list(sizes) == sorted(sizes)
        assert (instants[0], instants[-1]) == (rows["first_byte_ns"][row], rows["done_ns"][row])


def test_no_times_are_kept_unless_asked_for() -> None:
    with ScriptedTarget(always(ok())) as target:
        assert offer(job(target, OpenLoop(arrivals=Recorded(at_ns=(0,))))).chunks == []


def test_a_group_leaves_together_when_the_one_before_is_answered() -> None:
    with ScriptedTarget(always(ok())) as target:
        load = ClosedLoop(num_users=2, duration_ns=1, min_requests=24, max_requests=1000, group=4)
        result = offer(job(target, load))
    rows = RowColumns.decode(result.rows)
    assert rows.num_rows == 24
    intended, done = (rows[name].reshape(6, 4) for name in ("intended_ns", "done_ns"))
    assert (intended == intended[:, :1]).all()
    ends = sorted(done.max(axis=1).tolist())
    assert intended[2:, 0].tolist() == ends[:4]
    assert result.generator.num_waited == 0


def test_a_closed_loop_goes_on_until_both_time_and_count_are_reached() -> None:
    with ScriptedTarget(always(ok())) as target:
        result = offer(job(target, ClosedLoop(num_users=1, duration_ns=1, min_requests=30)))
    assert RowColumns.decode(result.rows).num_rows == 30


def test_a_core_shared_with_the_server_makes_the_run_invalid() -> None:
    with ScriptedTarget(always(ok())) as target:
        load = OpenLoop(arrivals=Recorded(at_ns=(0,)))
        shared = offer(job(target, load, server_cores=tuple(range(4096)))).generator
        apart = offer(job(target, load, server_cores=(4096,))).generator
    assert "which the server has: give each cores of its own" in shared.invalid
    assert "which the server has" not in apart.invalid
    assert shared.cores == apart.cores != ()


def test_a_host_of_an_unknown_name_is_an_error_that_names_it() -> None:
    with pytest.raises(TargetError, match=r"no host of the name nowhere\.invalid"):
        offer(
            Job(
                target="nowhere.invalid:80",
                load=OpenLoop(arrivals=HOUR),
                requests=[HttpRequest(path="/")],
                seed=0,
            )
        )


def test_a_host_by_name_is_a_target() -> None:
    with ScriptedTarget(always(ok())) as target:
        by_name = f"localhost:{target.name.rpartition(':')[2]}"
        result = offer(
            Job(
                target=by_name,
                load=OpenLoop(arrivals=Recorded(at_ns=(0, 1))),
                requests=[HttpRequest(path="/")],
                seed=0,
                min_connections=1,
            )
        )
    assert RowColumns.decode(result.rows).words["outcome"].words == ("ok",)
    assert f"Host: {by_name}".encode() in target.requests[0]
