"""Clients that leave, and clients that only stop sending: what runs, what waits, and who gets an answer."""

import json
import os
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ServerProcess

# A number below 0 waits for a word before its answer.
CODE = """
import numpy as np

def slow(inputs):
    if inputs["x"][0] < 0:
        with open("words", "rb", buffering=0) as words:
            words.read(1)
    return inputs["x"] * 2

def parts(inputs):
    yield slow(inputs)
    yield slow(inputs)

slow.inputs = parts.inputs = [{"name": "x", "datatype": "INT64", "shape": [1]}]
slow.outputs = parts.outputs = [{"name": "y", "datatype": "INT64", "shape": [1]}]
"""


class Waiting:
    """A server whose model waits for our word; over TCP and a Unix socket."""

    def __init__(self, folder: Path) -> None:
        (folder / "model.py").write_text(CODE)
        for name in ("slow", "parts"):
            (folder / f"{name}.yaml").write_text(
                f"name: {name}\nmodels: {{{name}: {{python: 'model.py:{name}', levers: {{instances: 1}}}}}}\n"
                "slo: {deadline: 30s}\n"
            )
        os.mkfifo(folder / "words")
        self._words = os.open(folder / "words", os.O_RDWR)
        self.uds = str(folder / "trivet.sock")
        paths = [str(folder / "slow.yaml"), str(folder / "parts.yaml"), "--uds", self.uds]
        self.server = ServerProcess(paths, folder)

    def say(self) -> None:
        os.write(self._words, b"x")

    def close(self) -> None:
        os.close(self._words)
        self.server.stop()

    def connect(self, kind: str) -> socket.socket:
        if kind == "tcp":
            return socket.create_connection((self.server.host, self.server.port), timeout=30)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(30)
        client.connect(self.uds)
        return client

    def model(self, name: str = "slow") -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.server.control}/status", timeout=30) as answer:
            services = json.load(answer)["workers"][0]["services"]
        found: dict[str, Any] = next(one for one in services if one["name"] == name)["models"][0]
        return found

    def num_canceled(self, name: str = "slow") -> int:
        return int(self.model(name)["counters"]["failed"].get("CANCELED", 0))

    def num_waiting(self) -> int:
        return sum(one["waiting"] for one in self.model()["classes"])


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    found = Waiting(tmp_path_factory.mktemp("leaving"))
    yield found
    found.close()


def request(value: int, model: str = "slow", *headers: str, version: str = "1.1") -> bytes:
    tensor = {"name": "x", "datatype": "INT64", "shape": [1], "data": [value]}
    body = json.dumps({"inputs": [tensor]})
    lines = [
        f"POST /v2/models/{model}/infer HTTP/{version}",
        "Host: t",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", body]).encode()


def read_all(client: socket.socket) -> bytes:
    data = bytearray()
    while piece := client.recv(1 << 16):
        data += piece
    return bytes(data)


KINDS = pytest.mark.parametrize("kind", ["tcp", "unix"])


@KINDS
def test_who_leaves_while_waiting_costs_nothing_and_while_running_nobody_else(
    waiting: Waiting, kind: str
) -> None:
    before, executed = waiting.num_canceled(), waiting.model()["counters"]["executions"]
    running, second, third = (waiting.connect(kind) for _ in range(3))
    running.sendall(request(-1))
    while not waiting.model()["running"]:
        pass  # each look is a round trip to the worker
    second.sendall(request(7))
    third.sendall(request(8, "slow", "Connection: close"))
    while waiting.num_waiting() < 2:
        pass
    second.close()
    while waiting.num_waiting() > 1:
        pass
    assert waiting.num_canceled() == before + 1
    running.close()
    waiting.say()
    assert b'"data":[16]' in read_all(third)
    third.close()
    assert waiting.model()["counters"]["executions"] == executed + 2, "the second was never run"
    assert waiting.num_canceled() == before + 1


@KINDS
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_who_only_stops_sending_gets_the_answers(waiting: Waiting, kind: str, version: str) -> None:
    before = waiting.num_canceled()
    with waiting.connect(kind) as client:
        more = request(5) if version == "1.1" else b""
        client.sendall(more + request(-3, version=version))
        client.shutdown(socket.SHUT_WR)
        while not waiting.model()["running"]:
            pass  # each look is a round trip to the worker
        waiting.say()
        data = read_all(client)
    assert data.count(b"HTTP/1.1 200 OK") == (2 if more else 1)
    assert b'"data":[-6]' in data
    assert b"Connection: close" in data
    assert waiting.num_canceled() == before


@KINDS
def test_a_stream_whose_client_only_stopped_sending_goes_on(waiting: Waiting, kind: str) -> None:
    with waiting.connect(kind) as client:
        client.sendall(request(-1, "parts"))
        client.shutdown(socket.SHUT_WR)
        waiting.say()
        waiting.say()
        assert read_all(client).count(b'"outputs"') == 2


def test_a_stream_whose_client_left_is_broken_off_before_its_first_chunk(waiting: Waiting) -> None:
    before = waiting.num_canceled("parts")
    client = waiting.connect("tcp")
    client.sendall(request(-1, "parts"))
    while not waiting.model("parts")["running"]:
        pass  # each look is a round trip to the worker
    client.close()
    while waiting.num_canceled("parts") == before:
        pass
    waiting.say()
    while waiting.model("parts")["running"]:
        pass
    with waiting.connect("tcp") as client:
        client.sendall(request(2, "parts", "Connection: close"))
        assert read_all(client).count(b'"data":[4]') == 2


def test_half_a_request_and_no_more_is_no_request(waiting: Waiting) -> None:
    with waiting.connect("tcp") as client:
        client.sendall(request(1)[:-1])
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
