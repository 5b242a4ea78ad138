"""However a request is delivered, and however many at once: each gets its answer, in order, and nothing else."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.http_support import (
    PROPERTIES,
    Answer,
    Front,
    infer,
    parse_answers,
    request,
    tensors,
    values,
    write_echo,
)
from trivet.serve.http.connection import MAX_PIPELINED


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    return Front([echo])


def chunked(*chunks: bytes, trailer: bytes = b"", extension: bytes = b"") -> bytes:
    parts = [b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    head = request(headers=[b"Transfer-Encoding: chunked"])
    return b"".join([head, *parts, b"0\r\n", trailer, b"\r\n"])


def ids(answers: list[Answer]) -> list[str]:
    return [json.loads(answer.body)["id"] for answer in answers]


CHUNKS = chunked(tensors(b"1.5", b"2"), trailer=b"X-Sum: 1\r\nExpires: 0\r\n", extension=b";a=b")
REQUESTS = {
    "a length": infer(b"1.5", b"2", headers=[b"X-Request-Id: r"]),
    "chunks": chunked(tensors(b"1.5", b"2")[:20], tensors(b"1.5", b"2")[20:]),
    "chunks with all there is": CHUNKS,
    "an offer to upgrade": infer(
        b"1.5", b"2", headers=[b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"]
    ),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_byte_by_byte(front: Front, kind: str) -> None:
    data = REQUESTS[kind]
    client = front.connect()
    for i in range(len(data) - 1):
        client.send(data[i : i + 1])
        assert client.answers() == []
    answer = client.ask(data[-1:])
    assert (answer.status, values(answer)) == (200, b"1.5,2.0")
    front.check_alive()


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_split_point(front: Front, kind: str) -> None:
    data = REQUESTS[kind]
    client = front.connect()
    for i in range(1, len(data)):
        answer = client.ask(data[:i], data[i:])
        assert (answer.status, values(answer)) == (200, b"1.5,2.0"), i
    assert not client.is_closed


@settings(PROPERTIES, max_examples=50)
@given(cuts=st.lists(st.integers(1, 2000), max_size=12))
def test_any_splits_of_a_mixed_stream(echo: Path, cuts: list[int]) -> None:
    stream = b"".join([*REQUESTS.values(), request(b"GET", b"/v2"), request(b"GET", b"/nobody"), infer(b"3")])
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    client = Front([echo]).connect()
    client.send(*(stream[start:stop] for start, stop in pairwise(places)))
    answers = client.answers()
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 200, 404, 200]
    assert values(answers[-1]) == b"3.0"


HEADS = [
    infer(b"1"),
    infer(b"2", b"2"),
    infer(b"1", headers=[b"X-Request-Id: r"]),
    infer(b"1", headers=[b"Accept-Encoding: gzip"]),
    infer(b"1", headers=[b"Content-Length: 3"]),
    infer(b"1", headers=[b"Connection: close"]),
    infer(b"1").replace(b"HTTP/1.1", b"HTTP/1.0"),
    infer(b"1").replace(b"localhost", b"localhost\r\nTransfer-Encoding: chunked"),
    infer(b"1")[:-1],
    infer(b"1") + b"\r\n",
    b"\r\n" + infer(b"1"),
    b"\r\n\r\n" + infer(b"1"),
    b"\n",
    b"P",
    request(body=b"{}"),
    request(url=b"/v2/models/echo/versions/1/infer", body=tensors(b"3")),
    request(url=b"/v2/models/echo/infer?x", body=tensors(b"3")),
    request(b"GET", b"/v2"),
    request(b"PUT", body=tensors(b"1")),
    CHUNKS,
    tensors(b"1"),
]


@settings(PROPERTIES, max_examples=100)
@given(
    parts=st.lists(st.sampled_from(HEADS), min_size=1, max_size=4),
    warm=st.lists(st.sampled_from(HEADS), max_size=6),
)
def test_known_heads_change_nothing(echo: Path, parts: list[bytes], warm: list[bytes]) -> None:
    """Heads that were seen whole are not parsed again; a stream that comes byte by byte always is."""
    front = Front([echo])
    for data in [*warm, *warm, *parts]:
        front.connect().send(data)
        front.loop.run()
    found = []
    for pieces in (parts, [b"".join(parts)], [bytes([byte]) for part in parts for byte in part]):
        client = front.connect()
        client.send(*pieces)
        found.append((client.answers(), client.is_closed))
    assert found[0] == found[1] == found[2]


def test_a_known_head_with_another_body(front: Front) -> None:
    for _ in range(3):
        assert values(front.connect().ask(infer(b"1"))) == b"1.0"
    head, body = infer(b"1").split(b"\r\n\r\n")
    for other, status in ((body.replace(b"[1]", b"[7]"), 200), (b"x" * len(body), 400)):
        assert front.connect().ask(head + b"\r\n\r\n" + other).status == status
    client = front.connect()
    client.send(head + b"\r\n\r\n" + body[:-1])
    assert client.answers() == []
    assert values(client.ask(body[-1:])) == b"1.0"


def test_no_more_than_so_many_heads_are_remembered(front: Front) -> None:
    client = front.connect()
    for i in range(1100):
        assert client.ask(infer(b"1", headers=[b"X-New: %d" % i])).status == 200
    assert len(front.router.heads) == 1024
    front.check_alive()


def test_an_answer_that_is_ready_early_waits_for_its_turn(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1"), request(b"GET", b"/v2/health/live"), request(b"GET", b"/nobody"), infer(b"2"))
    assert client.transport.output == b"", "the first answer is not there yet"
    answers = client.answers()
    assert [answer.status for answer in answers] == [200, 200, 404, 200]
    assert [values(answers[0]), values(answers[3])] == [b"1.0", b"2.0"]


def test_slow_first_fast_second(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    answered = front.router.answered

    def spy(connection, request, results, start) -> None:  # type: ignore[no-untyped-def]  # as the router's
        ended.append(request.message.id)
        answered(connection, request, results, start)

    monkeypatch.setattr(front.router, "answered", spy)
    client = front.connect()
    # Two shapes, so two batches; the second one's deadline is nearer.
    client.send(infer(b"1", b"1", extra=b',"id":"patient","parameters":{"timeout":60000000}'))
    client.send(infer(b"2", extra=b',"id":"urgent","parameters":{"timeout":1000000}'))
    answers = client.answers()
    assert ended == ["urgent", "patient"]
    assert ids(answers) == ["patient", "urgent"]


def test_a_thousand_pipelined_requests(front: Front) -> None:
    client = front.connect()
    stream = b"".join(infer(b"%d" % i, extra=b',"id":"%d"' % i) for i in range(1000))
    answers: list[Answer] = []
    while stream:  # as a socket would: nothing is read while reading is paused
        assert not client.transport.is_paused
        client.send(stream[:4096])
        stream = stream[4096:]
        answers += client.answers()
    assert ids(answers) == [str(i) for i in range(1000)]
    assert [values(answer) for answer in answers] == [b"%d.0" % i for i in range(1000)]


def test_reading_pauses_while_too_many_answers_are_due(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1") * 70)
    assert client.transport.is_paused
    assert len(client.answers()) == 70
    assert not client.transport.is_paused
    front.check_alive()


def test_reading_pauses_while_the_client_does_not_read(front: Front) -> None:
    client = front.connect()
    client.connection.pause_writing()
    assert client.transport.is_paused
    client.send(infer(b"1") * 70)
    assert client.answers() == [], "nothing is admitted for a client that does not read"
    assert client.transport.is_paused
    client.connection.resume_writing()
    assert len(client.answers()) == 70
    assert not client.transport.is_paused


def test_of_one_large_read_no_more_than_so_many_requests_are_admitted_at_once(front: Front) -> None:
    client = front.connect()
    client.send(b"".join(infer(b"%d" % i, headers=[b"X-Request-Id: %d" % i]) for i in range(1500)))
    assert client.connection.num_pending == front.runtime.scheduler.num_waiting == MAX_PIPELINED
    assert client.transport.is_paused
    answers = client.answers()
    assert [answer.headers["x-request-id"] for answer in answers] == [str(i) for i in range(1500)]
    assert [values(answer) for answer in answers] == [b"%d.0" % i for i in range(1500)]
    assert not client.transport.is_paused


@settings(PROPERTIES, max_examples=20)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=8), chunk=st.integers(1, 3000))
def test_a_large_read_is_cut_between_requests_of_any_size(echo: Path, sizes: list[int], chunk: int) -> None:
    """Large bodies with a length and in chunks, in one read."""
    bodies = [tensors(*[b"1"] * size) for size in sizes]
    data = b"".join(
        request(body=body)
        if i % 2
        else chunked(*(body[at : at + chunk] for at in range(0, len(body), chunk)), trailer=b"A: b\r\n")
        for i, body in enumerate(bodies)
    )
    client = Front([echo]).connect()
    client.send(data + infer(b"7"))
    answers = client.answers()
    assert [values(answer).count(b"1.0") for answer in answers[:-1]] == sizes
    assert values(answers[-1]) == b"7.0"


@pytest.mark.parametrize(
    "url",
    [
        b"/v2/models/echo/versions/1/infer",
        b"/v2/models/%65cho/infer",
        b"/v2/models/echo/infer?a=b&c=%2F",
        b"/v2/models/echo/infer/",
        b"http://other.example:1/v2/models/echo/infer",
        b"HTTPS://other.example/v2/models/echo/infer?x",
    ],
)
def test_other_spellings_of_a_path(front: Front, url: bytes) -> None:
    answer = front.connect().ask(request(url=url, body=tensors(b"4")))
    assert (answer.status, values(answer)) == (200, b"4.0")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (b"/", "no such endpoint: '/'"),
        (b"/v3", "no such endpoint: '/v3'"),
        (b"*", "no such endpoint: '/*'"),
        (b"http://host", "no such endpoint: '/'"),
        (b"/v2/models/nobody", "unknown model 'nobody'; this server has echo"),
        (b"/v2/models/echo/versions/7", "unknown version '7' of model 'echo'; it has 1"),
        (b"/v2/models/../infer", "unknown model '..'"),
        (b"/v2/models/echo/versions/1/other", "no such endpoint: '/v2/models/echo/versions/1/other'"),
        (b"/v2/models/%00/ready", r"unknown model '\x00'"),
        (b"/v2/models/%0d%0aX:y", r"unknown model '\r\nX:y'"),
        (b"/v2%2Fmodels/echo", "no name holds a slash"),
        (b"/v2/models/echo%2fready", "no name holds a slash"),
        (b"/v2/models/echo%2Fversions%2F1/infer", "no name holds a slash"),
        (b"/" + b"a" * 5000, "(5001 characters)"),
    ],
)
def test_unknown_paths(front: Front, url: bytes, expected: str) -> None:
    client = front.connect()
    answer = client.ask(request(b"GET", url))
    assert answer.status == 404
    assert expected in json.loads(answer.body)["error"]
    assert len(answer.body) < 300
    assert client.ask(request(b"POST", url, b"{}")).status in (404, 405)
    assert not client.is_closed


@pytest.mark.parametrize("url", [b"/%ff", b"/v2/models/%c3", b"/v2/models/%ed%a0%80/infer"])
def test_a_path_that_is_not_utf_8(front: Front, url: bytes) -> None:
    answer = front.connect().ask(request(b"GET", url))
    assert answer.status == 400
    assert b"not percent-encoded UTF-8" in answer.body


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND"])
def test_methods_that_infer_does_not_take(front: Front, method: bytes) -> None:
    client = front.connect()
    answer = client.ask(request(method, body=tensors(b"1")))
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert {"error": f"{method.decode()} is not allowed here; allowed: POST"} == json.loads(answer.body)
    assert client.ask(infer(b"1")).status == 200


def test_methods_that_health_does_not_take(front: Front) -> None:
    answer = front.connect().ask(request(b"POST", b"/v2/health/live"))
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("url", "status"),
    [(b"/v2", 200), (b"/v2/models/echo", 200), (b"/nobody", 404), (b"/v2/models/echo/infer", 405)],
)
def test_the_answer_to_head_has_no_body(front: Front, url: bytes, status: int) -> None:
    client = front.connect()
    client.send(infer(b"1"), request(b"HEAD", url), infer(b"2"))
    front.loop.run()
    output = bytes(client.transport.output)
    first = len(output) - len(output.split(b"HTTP/1.1 ", 2)[2]) - len(b"HTTP/1.1 ")
    head, _, rest = output[first:].partition(b"\r\n\r\n")
    (answer,) = parse_answers(head + b"\r\n\r\n", bodiless=True)
    assert answer.status == status
    assert int(answer.headers["content-length"]) > 0, "what GET would get"
    (last,) = parse_answers(rest)
    assert values(last) == b"2.0"


def test_connection_close_is_kept(front: Front) -> None:
    client = front.connect()
    answer = client.ask(infer(b"1", headers=[b"Connection: close"]))
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.is_lost


def test_nothing_behind_connection_close_is_answered(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1"), infer(b"2", headers=[b"Connection: close"]) + infer(b"3"), b"garbage\r\n\r\n")
    answers = client.answers()
    assert [values(answer) for answer in answers] == [b"1.0", b"2.0"]
    assert ["connection" in answer.headers for answer in answers] == [False, True]
    assert client.is_lost


@pytest.mark.parametrize("headers", [[], [b"Connection: keep-alive"], [b"Connection: close"]])
def test_http_1_0_gets_one_answer(front: Front, headers: list[bytes]) -> None:
    client = front.connect()
    answer = client.ask(infer(b"1", headers=headers).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.is_lost


@pytest.mark.parametrize("first_line", [b"GET /v2", b"GET /v2 HTTP/0.9", b"GET /v2 HTTP/2.0"])
def test_other_versions_of_http(front: Front, first_line: bytes) -> None:
    client = front.connect()
    answer = client.ask(first_line + b"\r\n\r\n")
    assert answer.status == 505
    assert b"send HTTP/1.1" in answer.body
    assert client.is_closed


@pytest.mark.parametrize(
    "preface", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-x\r\n"]
)
def test_other_protocols(front: Front, preface: bytes) -> None:
    client = front.connect()
    answer = client.ask(preface)
    assert answer.status == 400
    assert client.is_closed
    front.check_alive()


def test_an_offer_to_upgrade_is_ignored_with_the_close_beside_it(front: Front) -> None:
    client = front.connect()
    answer = client.ask(infer(b"1", headers=[b"Connection: Upgrade, close", b"Upgrade: websocket"]))
    assert (answer.status, values(answer), answer.headers["connection"]) == (200, b"1.0", "close")
    assert client.is_lost


def test_a_thousand_offers_to_upgrade(front: Front) -> None:
    client = front.connect()
    client.send(request(b"GET", b"/v2", headers=[b"Connection: Upgrade", b"Upgrade: h2c"]) * 1000)
    assert {answer.status for answer in client.answers()} == {200}
    assert not client.is_closed


def test_connect_makes_no_tunnel(front: Front) -> None:
    client = front.connect()
    answer = client.ask(b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n" + infer(b"1"))
    assert answer.status == 404
    assert client.is_lost


def test_leave_to_send_the_body(front: Front) -> None:
    client = front.connect()
    whole = infer(b"1", headers=[b"Expect: 100-Continue"])
    head, _, body = whole.partition(b"\r\n\r\n")
    assert client.ask(head + b"\r\n\r\n").status == 100
    assert values(client.ask(body)) == b"1.0"


def test_no_leave_for_a_body_over_the_limit(front: Front) -> None:
    client = front.connect()
    head = request(headers=[b"Expect: 100-continue", b"Content-Length: 999999999"])
    assert client.ask(head).status == 413


def test_no_leave_is_given_between_answers_that_are_due_or_to_http_1_0(front: Front) -> None:
    head = request(headers=[b"Expect: 100-continue", b"Content-Length: 3"])
    client = front.connect()
    client.send(infer(b"1"), head)
    assert [answer.status for answer in client.answers()] == [200]
    assert client.ask(b"{}x").status == 400
    assert front.connect().ask(head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"{}x").status == 400


def test_a_client_that_leaves_costs_no_more(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1"))
    client.leave()
    assert client.is_lost
    assert front.runtime.scheduler.num_waiting == 0
    counters = front.lives[0].models[-1].counters
    assert counters.failed == {"CANCELED": 1}
    assert counters.executions == 0
    assert front.router.connections == set()
    front.check_alive()


def test_draining_answers_and_closes(front: Front) -> None:
    idle, busy, halfway = front.connect(), front.connect(), front.connect()
    busy.send(infer(b"1"))
    halfway.send(infer(b"2")[:-1])
    front.router.draining = True
    late = idle.ask(infer(b"3"))
    assert (late.status, late.headers["connection"]) == (200, "close")
    for client in (idle, busy, halfway):
        client.connection.close_when_idle()
    (answer,) = busy.answers()
    assert (answer.status, values(answer)) == (200, b"1.0")
    assert all(client.is_lost for client in (idle, busy))
