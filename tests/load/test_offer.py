"""The load generator against a real server whose every answer is scripted."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.load.scripted_target import ScriptedTarget, always, answer, ok
from tests.spec.row_contract import RowWriterContract
from trivet.errors import SpecError
from trivet.load.arrivals import Constant, Recorded
from trivet.load.connection import TargetError
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop
from trivet.load.offer import offer
from trivet.load.result import Result
from trivet.spec.row import ABSENT, RowColumns

MS = 1_000_000


def at(*instants_ms: float) -> OpenLoop:
    return OpenLoop(arrivals=Recorded(at_ns=tuple(int(instant * MS) for instant in instants_ms)))


def job(target: ScriptedTarget, load: OpenLoop | ClosedLoop, **settings: Any) -> Job:
    settings = {"min_connections": 1, "seed": 1, "requests": [HttpRequest(path="/")]} | settings
    return Job(target=target.name, load=load, **settings)


def rows_of(result: Result) -> RowColumns:
    return RowColumns.decode(result.rows)


def outcomes(result: Result) -> list[str]:
    return rows_of(result).words["outcome"].decode().tolist()


def reasons(result: Result) -> list[str]:
    return rows_of(result).words["reason"].decode().tolist()


def by_path(sock: socket.socket, request: bytes) -> None:
    """What the path asks for: a status, `close` or `noise`."""
    word = request.split(b" ")[1].strip(b"/")
    if word.isdigit():
        sock.sendall(answer(int(word), b"{}", b"Server-Timing: queue;dur=0.001, compute;dur=0.002\r\n"))
    elif word == b"close":
        sock.shutdown(socket.SHUT_RDWR)
    elif word == b"noise":
        sock.sendall(b"hello\r\n\r\n")


OUTCOME_OF_PATH = {
    "200": "ok",
    "204": "ok",
    "429": "refused",
    "503": "refused",
    "504": "dropped",
    "400": "invalid",
    "404": "invalid",
    "500": "failed",
    "302": "failed",
    "close": "disconnected",
    "noise": "disconnected",
}


@pytest.fixture(scope="module")
def every_outcome() -> Result:
    paths = [HttpRequest(path=f"/{path}") for path in OUTCOME_OF_PATH if path != "204"]
    with ScriptedTarget(by_path) as target:
        load = OpenLoop(arrivals=Constant(rate_rps=1000, duration_ns=len(paths) * MS))
        return offer(job(target, load, requests=paths, order="sequence", deadline_ns=4000 * MS))


class TestRowsOfEveryOutcome(RowWriterContract):
    @pytest.fixture
    def rows(self, every_outcome: Result) -> RowColumns:
        return rows_of(every_outcome)

    def test_each_status_and_fault_has_its_outcome(self, rows: RowColumns) -> None:
        expected = [outcome for path, outcome in OUTCOME_OF_PATH.items() if path != "204"]
        assert rows.words["outcome"].decode().tolist() == expected
        assert rows["item"].tolist() == list(range(len(expected)))

    def test_phases_come_from_the_server_timing_header(self, rows: RowColumns) -> None:
        assert (rows["queue_ns"][0], rows["compute_ns"][0], rows["parse_ns"][0]) == (1000, 2000, ABSENT)


def test_every_request_is_sent_once_with_the_body_that_was_picked() -> None:
    bodies = [b"a", b"bb", b"ccc"]
    requests = [HttpRequest(path="/", body=body) for body in bodies]
    with ScriptedTarget(lambda sock, request: sock.sendall(ok(request.rpartition(b"\r\n\r\n")[2]))) as target:
        result = offer(job(target, at(*range(9)), requests=requests, keep_answers=True))
    rows = rows_of(result)
    assert outcomes(result) == ["ok"] * 9
    assert [bodies[item] for item in rows["item"]] == list(rows.blobs["answer"])
    assert len(target.requests) == 9
    assert result.generator.num_sent == 9


def test_the_same_seed_offers_the_same_requests_at_the_same_times() -> None:
    requests = [HttpRequest(path=f"/{i}") for i in range(5)]
    load = OpenLoop(arrivals=Constant(rate_rps=2000, duration_ns=10 * MS))
    with ScriptedTarget(always(ok())) as target:
        first, second = (offer(job(target, load, requests=requests, seed=3)) for _ in range(2))
    for name in ("item", "intended_ns"):
        begins = [0, 0] if name == "item" else [first.start_ns, second.start_ns]
        left, right = (rows_of(r)[name] - begin for r, begin in zip((first, second), begins, strict=True))
        assert left.tolist() == right.tolist()


def test_latency_counts_from_the_intended_time_when_all_connections_are_busy() -> None:
    with ScriptedTarget(always(ok())) as target:
        result = offer(job(target, at(0, 0, 0), max_connections=1))
    rows = rows_of(result)
    assert outcomes(result) == ["ok"] * 3
    assert rows["intended_ns"].tolist() == [result.start_ns] * 3
    assert (rows["sent_ns"][1:] >= rows["done_ns"][:-1]).all()
    assert (rows.latency_ns() == rows["done_ns"] - result.start_ns).all()
    assert result.generator.num_waited == 2
    assert target.num_connections == 1


def test_connections_are_opened_on_demand_and_used_again() -> None:
    together = threading.Barrier(3)

    def script(sock: socket.socket, request: bytes) -> None:
        together.wait(timeout=10)
        sock.sendall(ok())

    with ScriptedTarget(script) as target:
        result = offer(job(target, at(0, 0, 0, 20, 20, 20), max_connections=3))
    assert outcomes(result) == ["ok"] * 6
    assert target.num_connections == 3


class TestRowsWithoutAnswers(RowWriterContract):
    @pytest.fixture
    def rows(self) -> RowColumns:
        with ScriptedTarget(lambda sock, request: None) as target:
            return rows_of(offer(job(target, at(0, 0), max_connections=1, timeout_ns=20 * MS)))

    def test_a_request_that_finds_no_connection_within_the_timeout_is_unsent(self, rows: RowColumns) -> None:
        assert rows.words["outcome"].decode().tolist() == ["unanswered", "unsent"]
        assert rows["sent_ns"][1] == ABSENT

    def test_they_end_with_the_timeout(self, rows: RowColumns) -> None:
        assert (rows.latency_ns() >= 20 * MS).all()


def test_a_connection_that_timed_out_makes_room_for_another() -> None:
    def script(sock: socket.socket, request: bytes) -> None:
        if b"/slow" not in request:
            sock.sendall(ok())

    requests = [HttpRequest(path="/slow"), HttpRequest(path="/fast")]
    settings = {"order": "sequence", "max_connections": 1, "timeout_ns": 150 * MS}
    with ScriptedTarget(script) as target:
        result = offer(job(target, at(0, 149), requests=requests, **settings))
    assert outcomes(result) == ["unanswered", "ok"]
    assert target.num_connections == 2


def test_a_server_that_closes_after_each_answer_costs_a_connection_each() -> None:
    with ScriptedTarget(always(ok(head=b"Connection: close\r\n"))) as target:
        result = offer(job(target, at(0, 5, 10)))
    assert outcomes(result) == ["ok"] * 3
    assert target.num_connections == 3


def test_an_idle_connection_that_the_server_closes_is_not_used_again() -> None:
    def script(sock: socket.socket, request: bytes) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # answer and end in one segment
        sock.sendall(ok())
        sock.shutdown(socket.SHUT_WR)

    with ScriptedTarget(script) as target:
        result = offer(job(target, at(0, 50)))
    assert outcomes(result) == ["ok", "ok"]
    assert target.num_connections == 2


def test_a_refused_connection_is_a_row() -> None:
    target_of_script: list[ScriptedTarget] = []

    def script(sock: socket.socket, request: bytes) -> None:
        target_of_script[0].stop_listening()
        sock.shutdown(socket.SHUT_RDWR)

    with ScriptedTarget(script) as target:
        target_of_script.append(target)
        result = offer(job(target, at(0, 0), max_connections=1))
    assert outcomes(result) == ["disconnected", "disconnected"]
    assert reasons(result) == ["closed by the server", "ECONNREFUSED"]
    assert rows_of(result)["sent_ns"][1] == ABSENT


def test_large_bodies_go_out_and_come_back_in_pieces() -> None:
    body = bytes(range(256)) * 40_000

    def echo(sock: socket.socket, request: bytes) -> None:
        sent = request.partition(b"\r\n\r\n")[2]
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(sent), 1 << 20):
            piece = sent[start : start + (1 << 20)]
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")

    with ScriptedTarget(echo) as target:
        result = offer(job(target, at(0), requests=[HttpRequest(path="/", body=body)], keep_answers=True))
    rows = rows_of(result)
    assert rows.blobs["answer"][0] == body
    assert rows["first_byte_ns"][0] < rows["done_ns"][0]


def test_an_answer_before_the_whole_request_is_taken_ends_the_connection() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse_early() -> None:
        sock, _ = listener.accept()
        sock.recv(1000)
        sock.sendall(answer(413))
        sock.recv(1 << 24)
        sock.close()

    thread = threading.Thread(target=refuse_early)
    thread.start()
    big = HttpRequest(path="/", body=bytes(30_000_000))
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    result = offer(Job(target=name, load=at(0), requests=[big], seed=0, min_connections=1))
    thread.join()
    listener.close()
    assert rows_of(result)["status"].tolist() == [413]
    assert outcomes(result) == ["invalid"]


def test_a_unix_socket_is_a_target(tmp_path: Path) -> None:
    with ScriptedTarget(always(ok()), uds=tmp_path / "server") as target:
        result = offer(job(target, at(0, 0, 1)))
    assert outcomes(result) == ["ok"] * 3


def test_an_answer_after_the_deadline_is_late() -> None:
    with ScriptedTarget(always(ok())) as target:
        result = offer(job(target, at(0, 1), deadline_ns=1))
    assert outcomes(result) == ["late", "late"]


def test_phases_that_do_not_fit_the_measured_time_are_not_believed() -> None:
    with ScriptedTarget(always(ok(head=b"Server-Timing: compute;dur=1e9, cache;desc=maybe\r\n"))) as target:
        rows = rows_of(offer(job(target, at(0))))
    assert rows["compute_ns"].tolist() == [ABSENT]
    assert rows.words["cache"].decode().tolist() == [""]


def test_what_is_measured_starts_after_the_warm_up() -> None:
    with ScriptedTarget(always(ok())) as target:
        result = offer(job(target, at(0, 5, 10, 15), warmup_ns=10 * MS))
    assert rows_of(result).num_rows == 4
    assert (result.measured()["intended_ns"] - result.start_ns).tolist() == [10 * MS, 15 * MS]


@pytest.fixture(scope="module")
def fifty_by_three_users() -> Result:
    with ScriptedTarget(always(ok())) as target:
        return offer(job(target, ClosedLoop(num_users=3, duration_ns=10_000 * MS, max_requests=50)))


class TestClosedLoop(RowWriterContract):
    @pytest.fixture
    def rows(self, fifty_by_three_users: Result) -> RowColumns:
        return rows_of(fifty_by_three_users)

    def test_it_ends_with_the_count(self, rows: RowColumns) -> None:
        assert rows.words["outcome"].decode().tolist() == ["ok"] * 50

    def test_no_more_requests_are_in_flight_than_users(self, rows: RowColumns) -> None:
        for instant in rows["sent_ns"]:
            assert ((rows["sent_ns"] <= instant) & (rows["done_ns"] > instant)).sum() <= 3

    def test_a_user_sends_again_when_the_answer_is_there(self, rows: RowColumns) -> None:
        assert rows["intended_ns"][3:].tolist() == sorted(rows["done_ns"])[:47]


def test_a_closed_loop_ends_with_the_time_and_users_think() -> None:
    with ScriptedTarget(always(ok())) as target:
        result = offer(job(target, ClosedLoop(num_users=1, duration_ns=30 * MS, think_ns=10 * MS)))
    rows = rows_of(result)
    assert 1 <= rows.num_rows <= 3
    assert (rows["intended_ns"][1:] - rows["done_ns"][:-1]).tolist() == [10 * MS] * (rows.num_rows - 1)


def test_an_empty_schedule_gives_no_rows() -> None:
    with ScriptedTarget(always(ok())) as target:
        assert rows_of(offer(job(target, at()))).num_rows == 0


def test_nobody_at_the_target_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetError, match=f"127.0.0.1:{port}.*start the server"):
        offer(Job(target=f"127.0.0.1:{port}", load=at(0), requests=[HttpRequest(path="/")], seed=0))


@pytest.mark.parametrize("target", ["", "8000", "host:", "host:http", "host:99999", "unix:"])
def test_a_target_of_another_form_is_refused(target: str) -> None:
    with pytest.raises(SpecError, match=r"neither host:port nor unix:PATH"):
        offer(Job(target=target, load=at(0), requests=[HttpRequest(path="/")], seed=0))


def test_more_connections_at_the_start_than_allowed_are_refused() -> None:
    with pytest.raises(SpecError, match="min_connections 3 is over max_connections 2"):
        Job(target="h:1", load=at(0), requests=[], seed=0, min_connections=3, max_connections=2)


def test_a_target_that_dies_midway_costs_rows_and_not_the_run() -> None:
    targets: list[ScriptedTarget] = []

    def script(sock: socket.socket, request: bytes) -> None:
        if len(targets[0].requests) <= 3:
            sock.sendall(ok())
        else:
            targets[0].stop_listening()
            sock.shutdown(socket.SHUT_RDWR)

    with ScriptedTarget(script) as target:
        targets.append(target)
        result = offer(job(target, at(*range(0, 60, 6)), max_connections=1))
    assert outcomes(result) == ["ok"] * 3 + ["disconnected"] * 7
    assert set(reasons(result)[4:]) == {"ECONNREFUSED"}
    assert not result.partial


def test_a_closed_loop_with_a_dead_target_ends_with_its_count() -> None:
    targets: list[ScriptedTarget] = []

    def script(sock: socket.socket, request: bytes) -> None:
        targets[0].stop_listening()
        sock.shutdown(socket.SHUT_RDWR)

    with ScriptedTarget(script) as target:
        targets.append(target)
        load = ClosedLoop(num_users=1, duration_ns=60_000 * MS, max_requests=20)
        result = offer(job(target, load))
    assert outcomes(result) == ["disconnected"] * 20
