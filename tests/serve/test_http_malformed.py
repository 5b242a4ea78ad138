"""Streams that are not right HTTP: one clear answer, the connection closed behind it, and everyone else served."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.http_support import PROPERTIES, Front, infer, request, tensors, values, write_echo
from trivet.serve.http.infer import InferEndpoint

BODY = tensors(b"1")
LINE = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    return Front([echo])


def with_headers(*lines: bytes, body: bytes = b"") -> bytes:
    return LINE + b"\r\n".join([*lines, b"", body])


CHUNKED = b"Transfer-Encoding: chunked"
MALFORMED: dict[str, tuple[bytes, int, str]] = {
    # where a request ends must not be a matter of opinion
    "length and chunks": (with_headers(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), 400, "malformed HTTP"),
    "chunks and length": (with_headers(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), 400, "malformed HTTP"),
    "two lengths": (with_headers(b"Content-Length: 2", b"Content-Length: 3"), 400, "Duplicate Content-Length"),
    "the same length twice": (with_headers(b"Content-Length: 2", b"Content-Length: 2"), 400, "Duplicate"),
    "a list of lengths": (with_headers(b"Content-Length: 2, 2"), 400, "Content-Length"),
    "an empty length": (with_headers(b"Content-Length: "), 400, "Empty Content-Length"),
    "a negative length": (with_headers(b"Content-Length: -1"), 400, "Content-Length"),
    "a length with a sign": (with_headers(b"Content-Length: +1"), 400, "Content-Length"),
    "a length in hexadecimal": (with_headers(b"Content-Length: 0x1"), 400, "Content-Length"),
    "a length with an underscore": (with_headers(b"Content-Length: 1_0"), 400, "Content-Length"),
    "a length that is a word": (with_headers(b"Content-Length: ten"), 400, "Content-Length"),
    "a length in other digits": (with_headers("Content-Length: ٣".encode()), 400, "Content-Length"),
    "a length past 64 bits": (with_headers(b"Content-Length: 99999999999999999999"), 400, "Content-Length"),
    "a length of thousands of digits": (with_headers(b"Content-Length: " + b"9" * 5000), 400, "Content-Length"),
    "two codings": (with_headers(CHUNKED, CHUNKED), 400, "Transfer-Encoding"),
    "chunks in the middle": (with_headers(b"Transfer-Encoding: chunked, gzip"), 400, "Transfer-Encoding"),
    "a coding below chunks": (with_headers(b"Transfer-Encoding: gzip, chunked"), 501, "only chunked is understood"),
    "an unknown coding": (with_headers(b"Transfer-Encoding: xchunked"), 501, "only chunked is understood"),
    "chunks in HTTP/1.0": (with_headers(CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "Transfer-Encoding in HTTP/1.0"),
    "a negative chunk": (with_headers(CHUNKED, body=b"-1\r\n"), 400, "chunk size"),
    "a huge chunk": (with_headers(CHUNKED, body=b"F" * 17 + b"\r\n"), 400, "Chunk size overflow"),
    "a chunk that is a word": (with_headers(CHUNKED, body=b"zz\r\n"), 400, "chunk size"),
    "a chunk that is longer than it says": (with_headers(CHUNKED, body=b"2\r\nabc\r\n"), 400, "malformed HTTP"),
    "bare line ends in chunks": (with_headers(CHUNKED, body=b"2\nab\n0\n\n"), 400, "CR after chunk size"),
    "a length in the trailer": (with_headers(CHUNKED, body=b"0\r\nContent-Length: 9\r\n\r\n"), 400, "Content-Length"),
    # lines that some read as two, or as none
    "bare line ends": (b"GET /v2 HTTP/1.1\nHost: x\n\n", 400, "CRLF"),
    "a bare line end in the head": (with_headers(b"A: b\nContent-Length: 3"), 400, "malformed HTTP"),
    "a bare carriage return": (with_headers(b"A: b\rContent-Length: 3"), 400, "malformed HTTP"),
    "a folded header": (with_headers(b"A: b", b" c"), 400, "malformed HTTP"),
    "a folded first header": (b"GET /v2 HTTP/1.1\r\n A: b\r\n\r\n", 400, "malformed HTTP"),
    "a space before the colon": (with_headers(b"Content-Length : 3"), 400, "Invalid header"),
    "a header without a colon": (with_headers(b"Content-Length"), 400, "malformed HTTP"),
    "a header without a name": (with_headers(b": 3"), 400, "malformed HTTP"),
    "NUL in a value": (with_headers(b"A: b\0c"), 400, "Invalid header value char"),
    "NUL in a name": (with_headers(b"A\0: b"), 400, "Invalid header token"),
    "NUL in the path": (b"GET /v2\0 HTTP/1.1\r\n\r\n", 400, "malformed HTTP"),
    "a space in the path": (b"GET /v2 /x HTTP/1.1\r\n\r\n", 400, "malformed HTTP"),
    "no path": (b"GET HTTP/1.1\r\n\r\n", 400, "malformed HTTP"),
    "a method of our own": (b"FETCH /v2 HTTP/1.1\r\n\r\n", 400, "malformed HTTP"),
    "a method in small letters": (b"get /v2 HTTP/1.1\r\n\r\n", 400, "malformed HTTP"),
    "another protocol": (b"GET /v2 HTTQ/1.1\r\n\r\n", 400, "malformed HTTP"),
    "another version": (b"GET /v2 HTTP/3.7\r\n\r\n", 400, "Invalid HTTP version"),
    "an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400, "malformed HTTP"),
    # headers that mean something to us
    "X-Request-Id twice": (with_headers(b"X-Request-Id: a", b"x-request-id: b"), 400, "'x-request-id' stands twice"),
    "a coding of the body twice": (with_headers(b"Content-Encoding: gzip", b"Content-Encoding: gzip"), 400, "twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_malformed_stream(front: Front, case: str, piece: int) -> None:
    data, status, expected = MALFORMED[case]
    data += infer(b"666")  # what is smuggled behind it is never read as a request
    client = front.connect()
    assert client.ask(infer(b"1")).status == 200
    answer = client.ask(*(data[i : i + piece] for i in range(0, len(data), piece)))
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert expected in json.loads(answer.body)["error"]
    assert client.is_closed
    client.send(infer(b"2"))
    assert client.answers() == []
    front.check_alive()


def test_answers_that_are_due_come_before_the_error(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1") + infer(b"2") + b"garbage", b"more garbage\r\n\r\n", infer(b"3"), b"\0" * 100)
    answers = client.answers()
    assert [answer.status for answer in answers] == [200, 200, 400]
    assert ["connection" in answer.headers for answer in answers] == [False, False, True]
    assert client.is_closed
    front.check_alive()


def test_a_refused_client_is_read_until_it_stops_so_that_it_sees_the_answer(front: Front) -> None:
    client = front.connect()
    assert client.ask(b"garbage").status == 400
    assert client.transport.has_eof
    assert not client.is_lost
    client.send(b"more" * 1000)
    assert client.answers() == []
    client.leave()
    assert front.router.connections == set()


def test_a_refused_client_that_never_stops_is_cut_off(front: Front) -> None:
    client = front.connect()
    assert client.ask(b"garbage").status == 400
    front.router.sweep()
    assert not client.transport.was_aborted
    front.clock.advance_ns(2_100_000_000)
    front.router.sweep()
    assert client.transport.was_aborted
    front.loop.run()
    assert client.is_lost


def test_a_trailer_is_no_header(front: Front) -> None:
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    client = front.connect()
    trailer = b"X-Request-Id: t\r\nContent-Encoding: gzip\r\nInference-Header-Content-Length: 0\r\nConnection: close\r\n\r\n"
    answer = client.ask(with_headers(CHUNKED, body=chunk + trailer))
    assert (answer.status, values(answer)) == (200, b"1.0")
    assert "x-request-id" not in answer.headers


ECHOED = [b"X-Request-Id", b"traceparent"]


@pytest.mark.parametrize("name", ECHOED)
@pytest.mark.parametrize("value", [b"a\tb", b"a\x80b", "ä".encode(), b"a" * 257])
def test_what_is_echoed_is_printable_and_short(front: Front, name: bytes, value: bytes) -> None:
    answer = front.connect().ask(infer(b"1", headers=[name + b": " + value]))
    assert answer.status == 400
    assert name.decode() in json.loads(answer.body)["error"]
    assert set(answer.headers) == {"content-type", "content-length"}


@pytest.mark.parametrize("name", ECHOED)
@pytest.mark.parametrize(
    "value", [b"r-1", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b'<"%0d%0a\\r\\n:">', b"a" * 256]
)
def test_what_is_echoed_comes_back_as_it_is(front: Front, name: bytes, value: bytes) -> None:
    client = front.connect()
    answer = client.ask(infer(b"1", headers=[name + b": " + value]))
    assert answer.headers[name.decode().lower()] == value.decode()
    late = client.ask(infer(b"1", extra=b',"parameters":{"timeout":1}', headers=[name + b": " + value]))
    assert late.status in (429, 504)
    assert late.headers[name.decode().lower()] == value.decode()


@given(value=st.binary(max_size=40), name=st.sampled_from(ECHOED))
@settings(PROPERTIES, max_examples=200)
def test_no_header_value_splits_an_answer(echo: Path, value: bytes, name: bytes) -> None:
    front = Front([echo])
    client = front.connect()
    client.send(infer(b"1", headers=[name + b": " + value]))
    for answer in client.answers():  # whole answers with known headers, whatever came in
        assert set(answer.headers) <= {
            "content-type",
            "content-length",
            "connection",
            "allow",
            name.decode().lower(),
        }
    front.check_alive()


def test_an_id_in_the_body_splits_nothing(front: Front) -> None:
    answer = front.connect().ask(infer(b"1", extra=rb',"id":"\r\n\r\nHTTP/1.1 200 OK\r\n\u0000"'))
    assert json.loads(answer.body)["id"] == "\r\n\r\nHTTP/1.1 200 OK\r\n\0"


@pytest.mark.parametrize("value", [b"-1", b"1.5", b"ten", b"", b"0x1", b"9" * 19, b"+1", "٣".encode()])
@pytest.mark.parametrize("name", [b"Inference-Header-Content-Length", b"x-envoy-expected-rq-timeout-ms"])
def test_a_count_in_a_header_is_a_count(front: Front, name: bytes, value: bytes) -> None:
    answer = front.connect().ask(infer(b"1", headers=[name + b": " + value]))
    assert answer.status == 400
    assert f"header {name.decode()} is" in json.loads(answer.body)["error"]


def test_a_count_may_be_larger_than_any_time(front: Front) -> None:
    answer = front.connect().ask(infer(b"1", headers=[b"x-envoy-expected-rq-timeout-ms: " + b"9" * 18]))
    assert (answer.status, values(answer)) == (200, b"1.0")


@pytest.mark.parametrize("key", ["timeout", "priority"])
@pytest.mark.parametrize("value", ["-1", "1.5", '"1"', "true", "null", "[]", "1" + "0" * 30, "9" * 4000])
def test_parameters_out_of_range(front: Front, key: str, value: str) -> None:
    answer = front.connect().ask(infer(b"1", extra=f',"parameters":{{"{key}":{value}}}'.encode()))
    assert answer.status == 400
    assert f"parameter {key} is" in json.loads(answer.body)["error"]
    assert len(answer.body) < 300


def test_an_unknown_configuration(front: Front) -> None:
    answer = front.connect().ask(infer(b"1", headers=[b"X-Trivet-Configuration: " + b"z" * 5000]))
    assert answer.status == 400
    assert len(answer.body) < 300


@pytest.mark.parametrize("body", [b"2", b"2222"], ids=["a head seen before", "a new head"])
def test_a_mistake_of_ours_is_a_500_and_in_the_log(
    front: Front, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    client = front.connect()
    client.send(infer(b"1"))
    with monkeypatch.context() as patch:
        patch.setattr(InferEndpoint, "accept", fail)
        client.send(infer(body))
    answers = client.answers()
    assert [answer.status for answer in answers] == [200, 500]
    assert b"secret" not in answers[1].body
    assert "ZeroDivisionError: a secret" in front.complaints.pop()
    assert client.is_closed
    front.check_alive()


stream_parts = st.sampled_from(
    [
        infer(b"1"), request(b"GET", b"/v2"), request(b"HEAD", b"/v2"), LINE, BODY, b"\r\n", b"\r\n\r\n", b"\n", b"\0",
        b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", CHUNKED + b"\r\n", b"0\r\n\r\n",
        b"5\r\nabcde\r\n", b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b" HTTP/1.0\r\n", b"GET / HTTP/1.1\r\n",
    ]
)  # fmt: skip


@settings(PROPERTIES, max_examples=300)
@given(parts=st.lists(stream_parts | st.binary(max_size=8), max_size=12))
def test_any_stream(echo: Path, parts: list[bytes]) -> None:
    front = Front([echo])
    client = front.connect()
    client.send(*parts)
    front.loop.run()
    output = bytes(client.transport.output)
    assert b"HTTP/1.1 500" not in output
    assert output == b"" or output.startswith(b"HTTP/1.1 ")
    assert output.count(b"Connection: close") <= 1
    front.router.draining = True
    client.connection.close_when_idle()
    front.clock.advance_ns(100_000_000_000)
    front.router.sweep()
    front.loop.run()
    front.clock.advance_ns(100_000_000_000)
    front.router.sweep()
    front.loop.run()
    assert client.is_lost, "no stream keeps a connection for ever"
    assert front.router.connections == set()
    assert front.runtime.scheduler.num_waiting == 0
    front.router.draining = False
    front.check_alive()
