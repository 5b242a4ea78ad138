"""The end of a server: what it still answers, what it gives up, and when; by hand and as a process."""

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.serve.http_support import SECOND_NS, Front, infer, values, write_echo
from tests.support.server import ServerProcess
from trivet.serve.draining import Draining


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    return Front([echo])


PATIENT = b',"parameters":{"timeout":3600000000}'


def test_idle_connections_stay_for_half_a_second(front: Front) -> None:
    client, late = front.connect(), front.connect()
    start_ns = front.clock.now_ns()
    draining = Draining(front.router, start_ns, 30 * SECOND_NS)
    assert not draining.step(start_ns + 499_999_999)
    assert not client.is_closed
    answer = late.ask(infer(b"1"))
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert not draining.step(start_ns + 500_000_000)
    front.loop.run()
    assert client.is_lost
    assert draining.step(start_ns + 500_000_001)


def test_what_is_not_answered_in_time_is_told_so(front: Front) -> None:
    waiting, two, answered = (front.connect() for _ in range(3))
    assert values(answered.ask(infer(b"3"))) == b"3.0"
    waiting.send(infer(b"1", extra=PATIENT, headers=[b"X-Request-Id: r"]))
    two.send(infer(b"1", extra=PATIENT) + infer(b"2", extra=PATIENT) + infer(b"3")[:-1])
    start_ns = front.clock.now_ns()
    draining = Draining(front.router, start_ns, 2 * SECOND_NS)
    draining.step(start_ns + 1_999_999_999)
    assert waiting.transport.output == b""
    assert front.runtime.scheduler.num_waiting == 3
    draining.step(start_ns + 2 * SECOND_NS)
    assert front.runtime.scheduler.num_waiting == 0
    for client, num in ((waiting, 1), (two, 2)):
        answers = client.answers()
        assert [answer.status for answer in answers] == [503] * num
        assert answers[-1].headers["connection"] == "close"
        assert "not answered within 2 s (drain_timeout)" in json.loads(answers[0].body)["error"]
        assert answers[0].headers["retry-after"] == "1"
        assert answers[0].headers.get("x-request-id") == ("r" if client is waiting else None)
        assert client.is_lost
    assert front.lives[0].models[0].counters.executions == 1
    assert front.router.num_accepted == front.router.num_answered == 4
    assert draining.step(start_ns + 2 * SECOND_NS)


def test_no_time_at_all(front: Front) -> None:
    waiting, idle = front.connect(), front.connect()
    waiting.send(infer(b"1", extra=PATIENT))
    now_ns = front.clock.now_ns()
    draining = Draining(front.router, now_ns, 0)
    assert not draining.step(now_ns)
    assert [answer.status for answer in waiting.answers()] == [503]
    assert waiting.is_lost
    assert idle.is_lost
    assert draining.step(now_ns)


def test_a_client_that_does_not_take_its_answer_is_cut_off(front: Front) -> None:
    client = front.connect()
    client.send(b"garbage\r\n\r\n")  # lingers until the client has stopped sending
    now_ns = front.clock.now_ns()
    draining = Draining(front.router, now_ns, SECOND_NS)
    client.transport.close = lambda: None  # type: ignore[method-assign]  # it has not taken what was written
    assert not draining.step(now_ns + SECOND_NS)
    assert not draining.step(now_ns + 2 * SECOND_NS - 1)
    assert not client.transport.was_aborted
    assert draining.step(now_ns + 2 * SECOND_NS)
    assert client.transport.was_aborted


CODE = """
def slow(inputs):
    yield from wait(inputs) if inputs["x"][0] < 0 else [inputs["x"]]

def wait(inputs):
    yield inputs["x"]
    open("words").read()

slow.inputs = [{"name": "x", "datatype": "INT64", "shape": [1]}]
slow.outputs = [{"name": "y", "datatype": "INT64", "shape": [1]}]
"""


def test_a_deployments_deadline_and_time_to_drain(tmp_path: Path, models: Path) -> None:
    (tmp_path / "model.py").write_text(CODE)
    (tmp_path / "slow.yaml").write_text(
        "name: slow\nmodels: {slow: {python: 'model.py:slow', levers: {instances: 1}}}\nslo: {deadline: 30s}\n"
    )
    os.mkfifo(tmp_path / "words")
    (tmp_path / "server.yaml").write_text(
        f"services: [slow.yaml, {models / 'tiny.onnx'}]\ndrain_timeout: 300ms\ndefault_deadline: 77ms\n"
    )
    server = ServerProcess(["--config", str(tmp_path / "server.yaml")], tmp_path)
    deadlines = {}
    for name in ("slow", "tiny"):
        with urllib.request.urlopen(f"http://{server.address}/v2/models/{name}", timeout=30) as answer:
            deadlines[name] = json.load(answer)["parameters"]["deadline_ms"]
    assert deadlines == {"slow": 30_000, "tiny": 77}
    tensor = {"name": "x", "datatype": "INT64", "shape": [1], "data": [-1]}
    body = json.dumps({"inputs": [tensor]}).encode()
    request = b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    clients = [socket.create_connection((server.host, server.port), timeout=30) for _ in range(2)]
    clients[0].sendall(request)
    data = b""
    while b"\n\r\n" not in data:
        data += clients[0].recv(1 << 16)  # the first chunk; the second never comes
    clients[1].sendall(request)
    while True:
        with urllib.request.urlopen(f"http://{server.control}/status", timeout=30) as answer:
            services = {one["name"]: one for one in json.load(answer)["workers"][0]["services"]}
        if sum(one["waiting"] for one in services["slow"]["models"][0]["classes"]):
            break
    server.process.send_signal(signal.SIGTERM)
    for client in clients:
        while piece := client.recv(1 << 16):
            data += piece
        client.close()
    streamed, waited = data.split(b"HTTP/1.1 ")[1:]
    assert (streamed[:3], waited[:3]) == (b"200", b"503")
    assert b"not answered within 0.3 s (drain_timeout)" in streamed
    assert not streamed.endswith(b"0\r\n\r\n")
    assert b"not answered within 0.3 s (drain_timeout)" in waited
    assert server.stop() == 0
