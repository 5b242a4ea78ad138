import socket

import pytest

from tests.load.scripted_target import ScriptedTarget, always, answer, ok
from trivet.experiment.asking import NoAnswerError, ask_all
from trivet.load.job import HttpRequest


def requests(count: int) -> list[HttpRequest]:
    return [HttpRequest(path=f"/{i}", body=b"%d" % i) for i in range(count)]


def echo(sock: socket.socket, request: bytes) -> None:
    sock.sendall(ok(request.rpartition(b"\r\n")[2], b"X-Path: %b\r\n" % request.split()[1]))


def test_answers_stand_in_the_order_of_the_requests() -> None:
    with ScriptedTarget(echo) as target:
        answers = ask_all(target.name, requests(20), num_connections=4)
    assert [(a.status, a.body, a.headers["x-path"]) for a in answers] == [
        (200, b"%d" % i, f"/{i}") for i in range(20)
    ]


def test_one_connection_serves_requests_that_are_asked_alone() -> None:
    with ScriptedTarget(echo) as target:
        ask_all(target.name, requests(5))
        assert target.num_connections == 1


def test_error_statuses_are_answers_too() -> None:
    with ScriptedTarget(always(answer(429, b"later"))) as target:
        assert [a.status for a in ask_all(target.name, requests(2))] == [429, 429]


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again() -> None:
    def once(sock: socket.socket, request: bytes) -> None:
        echo(sock, request)
        sock.shutdown(socket.SHUT_RDWR)

    with ScriptedTarget(once) as target:
        answers = ask_all(target.name, requests(3))
        assert [a.body for a in answers] == [b"0", b"1", b"2"]
        assert target.num_connections == 3


def test_garbage_and_nobody_are_errors_that_name_the_request() -> None:
    with ScriptedTarget(always(b"HELLO\r\n\r\n")) as target:
        with pytest.raises(NoAnswerError, match=r"did not answer request 1: not an HTTP"):
            ask_all(target.name, requests(3))
    with pytest.raises(NoAnswerError, match="refused"):
        ask_all(target.name, requests(1))
