"""Every limit of a deployment: kept to the byte and to the nanosecond, named in the answer, and harmless to others."""

import json
from pathlib import Path

import pytest

from tests.serve.http_support import (
    SECOND_NS,
    Answer,
    Client,
    Front,
    infer,
    request,
    tensors,
    values,
    write_echo,
)
from trivet.spec.deployment import Limits, Statuses

LINE = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: t\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    limits = Limits(
        max_header_bytes=1024,
        max_headers=10,
        max_body_bytes=500,
        max_decompressed_bytes=1000,
        header_timeout_ns=SECOND_NS,
        body_timeout_ns=2 * SECOND_NS,
        idle_timeout_ns=3 * SECOND_NS,
        max_connections=4,
    )
    return Front([echo], limits=limits)


def refused(client: Client, status: int, expected: str) -> Answer:
    """The one answer of a client that was refused; the server reads no more of it."""
    (answer,) = client.answers()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert expected in json.loads(answer.body)["error"]
    assert client.is_closed
    client.send(infer(b"1"))
    assert client.answers() == []
    return answer


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_refused_before_it_is_read(front: Front) -> None:
    client = front.connect()
    client.send(request(headers=[b"Content-Length: 501"]))
    refused(client, 413, "the body has 501 bytes or more; at most 500 are accepted")
    front.check_alive()


def test_a_body_of_the_limit_is_read(front: Front) -> None:
    body = tensors(b"1")
    answer = front.connect().ask(request(body=body + b" " * (500 - len(body))))
    assert (answer.status, values(answer)) == (200, b"1.0")


@pytest.mark.parametrize("size", [1, 100, 499, 501])
def test_chunks_over_the_limit_are_refused_as_soon_as_they_are(front: Front, size: int) -> None:
    client = front.connect()
    client.send(CHUNKED)
    chunk = b"%x\r\n%b\r\n" % (size, b" " * size)
    for _ in range(500 // size):
        client.send(chunk)
        assert client.answers() == []
    client.send(chunk)
    refused(client, 413, "at most 500 are accepted")
    front.check_alive()


def test_chunks_of_the_limit_are_read(front: Front) -> None:
    body = tensors(b"1")
    body += b" " * (500 - len(body))
    answer = front.connect().ask(CHUNKED, *(b"1\r\n%c\r\n" % byte for byte in body), b"0\r\n\r\n")
    assert (answer.status, values(answer)) == (200, b"1.0")


@pytest.mark.parametrize("piece", [1, 64, 1 << 20])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v2?" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: t\r\nA: " + b"a" * 2000 + b"\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: t\r\n" + b"a" * 2000 + b": a\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: t\r\n"
        + b"".join(b"A%d: %b\r\n" % (i, b"a" * 250) for i in range(8))
        + b"\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: t\r\n" + b"".join(b"A%d: \r\n" % i for i in range(11)) + b"\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: t\r\n" + b"A: \r\n" * 11 + b"\r\n",
    ],
)
def test_a_head_over_the_limits(front: Front, head: bytes, piece: int) -> None:
    client = front.connect()
    client.send(*(head[i : i + piece] for i in range(0, len(head), piece)))
    refused(client, 431, "1024")
    front.check_alive()


def test_a_head_of_the_limits(front: Front) -> None:
    headers = [b"A%d: " % i + b"a" * 90 for i in range(8)]
    assert front.connect().ask(infer(b"1", headers=headers)).status == 200


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET /v2 HTTP/1.1\r\nHost: t\r\nA: ",
        b"GET /v2 HTTP/1.1\r\nHost: t\r\nA",
        CHUNKED + b"1;a=",
        CHUNKED + b"1\r\na\r\n1;",
        CHUNKED + b"0\r\nA: ",
        CHUNKED + b"0\r\nA",
    ],
)
@pytest.mark.parametrize("piece", [1, 100, 5000])
def test_what_never_ends_is_not_kept(front: Front, start: bytes, piece: int) -> None:
    """Nothing of a half header reaches a callback of the parser, which would gather it for ever."""
    client = front.connect()
    client.send(start)
    sent = 0
    while not client.transport.output and sent < 20_000:
        client.send(b"a" * piece)
        sent += piece
    assert sent <= 1024 + 2 * piece
    refused(client, 431, "1024 bytes")
    front.check_alive()


def test_many_small_chunks_are_no_endless_head(front: Front) -> None:
    client = front.connect()
    client.send(CHUNKED)
    for _ in range(400):
        client.send(b"1", b";a=b\r", b"\n", b" ", b"\r", b"\n")
    client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(tensors(b"1")), tensors(b"1")))
    (answer,) = client.answers()
    assert (answer.status, values(answer)) == (200, b"1.0")


@pytest.mark.parametrize("count", [11, 5000])
def test_many_trailers(front: Front, count: int) -> None:
    client = front.connect()
    client.send(CHUNKED + b"0\r\n" + b"A: b\r\n" * count)
    assert refused(client, 431, "at most 10 headers").status == 431
    assert front.connect().ask(infer(b"1")).status == 200


# --- connections ------------------------------------------------------------------------------------------------------


def test_connections_over_the_limit_are_told_so(front: Front) -> None:
    kept = [front.connect() for _ in range(4)]
    answer = refused(front.connect(), 503, "4 connections are open, the limit of this server")
    assert answer.headers["retry-after"] == "1"
    for client in kept:
        assert client.ask(infer(b"1")).status == 200
    kept[0].leave()
    front.clock.advance_ns(3 * SECOND_NS)
    front.router.sweep()
    front.loop.run()
    front.check_alive()


# --- time -------------------------------------------------------------------------------------------------------------


def after(front: Front, seconds: float) -> None:
    front.clock.advance_ns(int(seconds * SECOND_NS))
    front.router.sweep()
    front.loop.run()


@pytest.mark.parametrize("sent", [LINE[:3], LINE, LINE + b"A: b"])
def test_a_slow_head(front: Front, sent: bytes) -> None:
    client = front.connect()
    client.send(sent)
    after(front, 0.99)
    assert client.answers() == []
    client.send(b"T" if sent == LINE[:3] else b"x")
    after(front, 0.02)
    refused(client, 408, "the request's headers took longer than 1 s")
    front.check_alive()


@pytest.mark.parametrize(
    ("head", "start"), [(LINE + b"Content-Length: 100\r\n\r\n", b""), (CHUNKED, b"64\r\n")]
)
def test_a_slow_body_has_its_own_time(front: Front, head: bytes, start: bytes) -> None:
    client = front.connect()
    client.send(head[:-2])
    after(front, 0.9)
    client.send(head[-2:], start)
    for _ in range(19):
        client.send(b" ")
        after(front, 0.1)
        assert client.answers() == []
    after(front, 0.2)
    refused(client, 408, "the request's body took longer than 2 s")
    front.check_alive()


def test_an_idle_connection_is_closed_without_a_word(front: Front) -> None:
    fresh, used = front.connect(), front.connect()
    after(front, 2.9)
    assert used.ask(infer(b"1")).status == 200
    after(front, 0.2)
    assert fresh.is_lost
    assert not used.is_closed
    after(front, 2.9)
    assert used.is_lost
    assert fresh.answers() == used.answers() == []


def test_a_client_that_reads_nothing_is_cut_off(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1"))
    after(front, 1)
    client.connection.pause_writing()
    client.connection.resume_writing()
    client.connection.pause_writing()
    client.transport.close = lambda: None  # type: ignore[method-assign]  # as with bytes that nobody takes
    after(front, 2.9)
    assert not client.transport.was_aborted
    client.transport.close = type(client.transport).close.__get__(client.transport)  # type: ignore[method-assign]
    after(front, 0.2)
    assert client.transport.was_aborted
    assert client.is_lost
    front.check_alive()


def test_a_connection_that_waits_for_an_answer_is_not_idle(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1", extra=b',"parameters":{"timeout":60000000}'))
    front.clock.advance_ns(50 * SECOND_NS)
    front.router.sweep()
    (answer,) = client.answers()
    assert (answer.status, values(answer)) == (200, b"1.0")


def test_a_slow_request_behind_one_that_waits_is_refused_after_its_answer(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1", extra=b',"parameters":{"timeout":60000000}') + LINE)
    front.clock.advance_ns(2 * SECOND_NS)
    front.router.sweep()
    assert client.transport.output == b""
    answers = client.answers()
    assert [answer.status for answer in answers] == [200, 408]
    assert client.is_closed


def test_a_deadline_counts_from_the_first_byte(front: Front) -> None:
    whole = infer(b"1", extra=b',"parameters":{"timeout":500000}')
    client = front.connect()
    client.send(whole[:-1])
    front.clock.advance_ns(SECOND_NS)
    answer = client.ask(whole[-1:])
    assert answer.status in (429, 504)
    front.check_alive()


# --- statuses ---------------------------------------------------------------------------------------------------------


def test_statuses_are_configurable(echo: Path) -> None:
    front = Front([echo], statuses=Statuses(refused=503, deadline=408))
    answer = front.connect().ask(infer(b"1", extra=b',"parameters":{"timeout":1}'))
    assert answer.status in (503, 408)


def test_draining_is_not_ready_but_alive(front: Front) -> None:
    front.router.draining = True
    ready = front.connect().ask(request(b"GET", b"/v2/health/ready"))
    assert (ready.status, ready.headers["retry-after"], ready.headers["connection"]) == (503, "1", "close")
    assert front.connect().ask(request(b"GET", b"/v2/models/echo/ready")).status == 503
    assert front.connect().ask(request(b"GET", b"/v2/health/live")).status == 200
