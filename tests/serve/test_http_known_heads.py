"""A head that was parsed before is not parsed again: the same bytes must mean the same, and nothing else may pass."""

from pathlib import Path

import pytest

from tests.serve.http_support import Front, infer, values, write_echo


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    return Front([echo])


def test_the_second_request_with_the_same_head_is_answered_alike(front: Front) -> None:
    client = front.connect()
    first = client.ask(infer(b"1"))
    assert len(front.router.heads) == 1
    second = client.ask(infer(b"2"))
    assert (second.status, values(first), values(second)) == (200, b"1.0", b"2.0")
    assert len(front.router.heads) == 1


@pytest.mark.parametrize(
    "header",
    [
        b"Connection: close",
        b"X-Request-Id: a",
        b"traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
        b"Content-Encoding: identity",
        b"Expect: 100-continue",
        b"X-Trivet-Key: k",
    ],
)
def test_heads_that_differ_each_time_or_change_the_connection_are_not_kept(
    front: Front, header: bytes
) -> None:
    front.connect().send(infer(b"1", headers=[header]))
    assert not front.router.heads


def test_a_known_head_with_half_a_body_waits_for_the_rest(front: Front) -> None:
    client = front.connect()
    request = infer(b"1")
    client.ask(request)
    client.send(request[:-3])
    assert not client.answers()
    client.send(request[-3:])
    assert [answer.status for answer in client.answers()] == [200]


def test_a_known_head_with_more_than_its_body_is_two_requests(front: Front) -> None:
    client = front.connect()
    client.ask(infer(b"1"))
    client.send(infer(b"2") + infer(b"3"))
    assert [values(answer) for answer in client.answers()] == [b"2.0", b"3.0"]


def test_two_requests_in_one_read_teach_nothing(front: Front) -> None:
    front.connect().send(infer(b"1") + infer(b"2"))
    assert not front.router.heads


def test_the_memory_is_bounded(front: Front) -> None:
    client = front.connect()
    for i in range(1100):
        client.ask(infer(b"1", headers=[b"X-Any: %d" % i]))
    assert len(front.router.heads) == 1024


def test_a_known_head_is_answered_with_close_while_draining(front: Front) -> None:
    client = front.connect()
    client.ask(infer(b"1"))
    front.router.draining = True
    answer = client.ask(infer(b"2"))
    assert (answer.status, client.is_closed) == (200, True)
