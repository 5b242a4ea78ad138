"""What RFC 9112 asks of a request's head beyond its syntax, and what comes back with an error."""

import json
from pathlib import Path

import pytest

from tests.serve.http_support import Front, infer, request, tensors, values, write_echo
from trivet.serve.http.head import check_host
from trivet.spec.deployment import Limits


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    return Front([echo])


def with_hosts(*hosts: bytes, version: bytes = b"1.1") -> bytes:
    body = tensors(b"1")
    lines = [b"POST /v2/models/echo/infer HTTP/" + version, *(b"Host: " + host for host in hosts)]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([], "header Host is missing"),
        ([b"a", b"a"], "'host' stands twice"),
        ([b"a", b"b"], "'host' stands twice"),
        ([b"a b"], "header Host is b'a b'; expected host or host:port"),
        ([b"a/b"], "header Host is"),
        ([b"http://a"], "header Host is"),
        ([b"user@a"], "header Host is"),
        ([b"a:b"], "header Host is"),
        ([b"a,b:1:2"], "header Host is"),
        ([b"[::1"], "header Host is"),
        ([b"%zz"], "header Host is"),
        (["ä".encode()], "header Host is"),
    ],
)
def test_a_request_names_one_host(front: Front, hosts: list[bytes], expected: str, piece: int) -> None:
    data = with_hosts(*hosts)
    client = front.connect()
    answer = client.ask(*(data[i : i + piece] for i in range(0, len(data), piece)))
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert expected in json.loads(answer.body)["error"]
    assert client.is_closed
    assert not front.router.heads, "what was refused is not remembered as right"
    front.check_alive()


@pytest.mark.parametrize(
    "host",
    [b"", b"a", b"A.example", b"a:", b"a:8000", b"127.0.0.1:1", b"[::1]:8000", b"[fe80::1]", b"%C3%A4", b"~!$&'*+,;="],
)  # fmt: skip
def test_right_hosts(front: Front, host: bytes) -> None:
    check_host(host)
    assert front.connect().ask(with_hosts(host)).status == 200


def test_http_1_0_needs_no_host_but_has_no_two(front: Front) -> None:
    assert front.connect().ask(with_hosts(version=b"1.0")).status == 200
    assert front.connect().ask(with_hosts(b"a", b"b", version=b"1.0")).status == 400


ID = b"X-Request-Id: r-7"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(body=b"{}", headers=[ID]), 400),
        (request(url=b"/v2/models/nobody/infer", body=b"{}", headers=[ID]), 404),
        (request(b"GET", headers=[ID]), 405),
        (request(b"POST", b"/v2/models/echo/generate", headers=[ID]), 501),
        (request(headers=[ID, b"Content-Length: 99999999999"]), 413),
        (request(headers=[ID, b"Content-Length: 1", b"Content-Length: 1"]), 400),
        (request(headers=[ID, b"Host: two"]), 400),
        (infer(b"1", headers=[ID, b"Content-Encoding: br"]), 415),
        (infer(b"1", headers=[ID, b"traceparent: \x80"]), 400),
    ],
)
def test_an_error_before_acceptance_carries_the_id(front: Front, data: bytes, status: int) -> None:
    client = front.connect()
    client.ask(infer(b"1"))
    client.ask(infer(b"1"))  # by its known head, so that a parser's older headers would show
    answer = client.ask(data)
    assert (answer.status, answer.headers["x-request-id"]) == (status, "r-7")


def test_an_id_does_not_outlive_its_request(front: Front) -> None:
    client = front.connect()
    client.ask(infer(b"1", headers=[ID]))
    assert "x-request-id" not in client.ask(request(body=b"{}")).headers
    client.ask(infer(b"1", headers=[ID]))
    assert "x-request-id" not in client.ask(b"garbage\r\n\r\n").headers


def test_a_slow_body_is_refused_with_its_id(front: Front) -> None:
    client = front.connect()
    client.send(infer(b"1", headers=[ID])[:-1])
    front.clock.advance_ns(61 * 10**9)
    front.router.sweep()
    (answer,) = client.answers()
    assert (answer.status, answer.headers["x-request-id"]) == (408, "r-7")


# --- what JSON costs ------------------------------------------------------------------------------------------------


def test_json_over_its_limit_is_refused_however_it_comes(echo: Path) -> None:
    front = Front([echo], limits=Limits(max_json_bytes=200))
    client = front.connect()
    small = request(body=tensors(b"1").ljust(200))
    for _ in range(2):  # parsed, and by its known head
        assert values(client.ask(small)) == b"1.0"
    large = request(body=tensors(b"1").ljust(201))
    for _ in range(2):
        answer = client.ask(large)
        assert answer.status == 413
        assert "201 bytes; at most 200 are read (limits.max_json)" in json.loads(answer.body)["error"]
    head = (
        b'{"inputs":[{"name":"x","shape":[1,100],"datatype":"FP32","parameters":{"binary_data_size":400}}]}'
    )
    for size, status in ((len(head), 200), (201, 413)):
        json_part = head.ljust(size)
        binary = request(
            body=json_part + b"\0" * 400, headers=[b"Inference-Header-Content-Length: %d" % size]
        )
        assert client.ask(binary).status == status
    front.check_alive()


@pytest.mark.parametrize("unit", [b"[]", b"{}", b"[0]", b'{"":{}}'])
@pytest.mark.parametrize("place", ["data", "parameters"])
def test_a_body_of_brackets_is_refused_before_it_is_read(front: Front, unit: bytes, place: str) -> None:
    brackets = b",".join([unit] * 300_000)
    body = (
        tensors(brackets)
        if place == "data"
        else tensors(b"1", extra=b',"parameters":{"a":[' + brackets + b"]}")
    )
    answer = front.connect().ask(request(body=body))
    assert answer.status == 413
    assert "opening brackets; at most 262144 are read" in json.loads(answer.body)["error"]
    front.check_alive()
