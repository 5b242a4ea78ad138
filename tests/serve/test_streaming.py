"""Answers in chunks through a real server: how they travel, back-pressure, and every way in which they end."""

import contextlib
import http.client
import json
import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ServerProcess
from trivet.clock import MonotonicClock
from trivet.errors import SpecError
from trivet.runtime.preparing.preparing import prepare
from trivet.spec.service_file import load_configuration

# `wide` values a chunk; `how`: 0 to the end, 1 raise at the end, 2 wait for a word before each chunk, 3 abort at the end
CODE = """
import os
import numpy as np

log = open("log", "a", buffering=1)

def count(inputs):
    num, wide, how = (int(inputs[name][0]) for name in ("num", "wide", "how"))
    made = 0
    words = open("words") if how == 2 else None
    try:
        for made in range(1, num + 1):
            if words is not None:
                words.readline()
            yield np.full(wide, made)
        if how == 1:
            raise ValueError("no more")
        if how == 3:
            os.abort()
    finally:
        log.write(f"closed {made} of {num}\\n")

count.inputs = [{"name": name, "datatype": "INT64", "shape": [1]} for name in ("num", "wide", "how")]
count.outputs = [{"name": "y", "datatype": "INT64", "shape": [-1]}]
"""
PATH = "/v2/models/count/infer"
PAGE = Path(__file__).parents[2] / "docs" / "python-engines.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streaming")
    (folder / "model.py").write_text(CODE)
    (folder / "service.yaml").write_text(
        "name: count\nmodels: {count: {python: 'model.py:count', levers: {instances: 1}}}\nslo: {deadline: 20s}\n"
    )
    os.mkfifo(folder / "words")
    (folder / "bad.py").write_text(
        "def bad(inputs):\n    yield [b'ok']\n    yield [bytes([255])]\n    yield [b'never']\n\n\n"
        "bad.inputs = bad.outputs = [{'name': 'y', 'datatype': 'BYTES', 'shape': [1]}]\n"
    )
    (folder / "bad.yaml").write_text("name: bad\nmodels: {bad: {python: 'bad.py:bad'}}\n")
    found = re.search(r"```python\n(# talk.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    (folder / "talk.py").write_text(found[1])
    (folder / "talk.yaml").write_text("name: talk\nmodels: {talk: {python: 'talk.py:talk'}}\n")
    return folder


class Words:
    """The pipe on which a generator waits, held open at both ends, so that nobody waits for the other to open it."""

    def __init__(self, path: Path) -> None:
        self._pipe = os.open(path, os.O_RDWR)

    def say(self) -> None:
        os.write(self._pipe, b"go\n")

    def close(self) -> None:
        os.close(self._pipe)


@pytest.fixture
def words(folder: Path) -> Iterator[Words]:
    with contextlib.closing(Words(folder / "words")) as words:
        yield words


@pytest.fixture(scope="module")
def server(folder: Path, models: Path) -> Iterator[ServerProcess]:
    paths = [folder / "service.yaml", folder / "talk.yaml", folder / "bad.yaml", models / "tiny.onnx"]
    with ServerProcess([str(path) for path in paths], folder) as running:
        yield running


def body(num: int, wide: int = 1, how: int = 0, **more: Any) -> bytes:
    inputs = [
        {"name": name, "datatype": "INT64", "shape": [1], "data": [value]}
        for name, value in (("num", num), ("wide", wide), ("how", how))
    ]
    return json.dumps({"inputs": inputs, **more}).encode()


def head(data: bytes, *headers: bytes, version: bytes = b"1.1", path: str = PATH) -> bytes:
    lines = [b"POST %b HTTP/%b" % (path.encode(), version), b"Host: t", b"Content-Length: %d" % len(data)]
    return b"\r\n".join([*lines, *headers, b"", data])


@contextlib.contextmanager
def asked(server: ServerProcess, data: bytes, **headers: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    with contextlib.closing(connection):
        connection.request(
            "POST", PATH, data, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        yield connection.getresponse()


def numbers(lines: bytes) -> list[int]:
    return [json.loads(line)["outputs"][0]["data"][0] for line in lines.splitlines()]


def counters(server: ServerProcess, name: str = "count") -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{server.control}/status", timeout=30) as answer:
        services = json.load(answer)["workers"][0]["services"]
    found: dict[str, Any] = next(one for one in services if one["name"] == name)["models"][0]
    return found


def canceled(server: ServerProcess) -> int:
    return int(counters(server)["counters"]["failed"].get("CANCELED", 0))


def wait_closed(folder: Path, server: ServerProcess, line: str) -> None:
    while line not in (folder / "log").read_text():
        counters(server)  # each look is a round trip to the worker


def read_all(client: socket.socket) -> bytes:
    data = bytearray()
    while piece := client.recv(1 << 16):
        data += piece
    return bytes(data)


def tiny_is_served(server: ServerProcess) -> None:
    tensor = {"name": "x", "shape": [1, 30], "datatype": "FP32", "data": [0.0] * 30}
    url = f"http://{server.address}/v2/models/tiny/infer"
    with urllib.request.urlopen(url, json.dumps({"inputs": [tensor]}).encode(), timeout=30) as answer:
        assert answer.status == 200


def test_each_chunk_is_a_line_with_a_whole_answer(server: ServerProcess) -> None:
    with asked(server, body(3, wide=2, id="i-1"), X_Request_Id="r-1", X_Trivet_Timing="1") as answer:
        assert (answer.status, answer.getheader("Content-Type")) == (200, "application/x-ndjson")
        assert answer.getheader("Transfer-Encoding") == "chunked"
        assert answer.getheader("X-Request-Id") == "r-1"
        assert "compute;dur=" in (answer.getheader("Server-Timing") or "")
        lines = [json.loads(line) for line in answer.read().splitlines()]
    assert [line["outputs"] for line in lines] == [
        [{"name": "y", "datatype": "INT64", "shape": [2], "data": [number, number]}] for number in (1, 2, 3)
    ]
    assert {(line["model_name"], line["id"]) for line in lines} == {("count", "i-1")}


def test_the_example_of_the_documentation(server: ServerProcess) -> None:
    found = re.search(r"localhost:8000(\S+) -d '(.*?)'\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    path, data, lines = found.groups()
    with urllib.request.urlopen(f"http://{server.address}{path}", data.encode(), timeout=30) as answer:
        text = re.sub(r'"configuration":"\w+"', '"configuration":"…"', answer.read().decode())
    assert text == lines


def test_a_generator_is_the_last_stage(folder: Path) -> None:
    (folder / "steps.py").write_text("def same(outputs):\n    return outputs\n")
    path = folder / "wrong.yaml"
    path.write_text(
        "models: {talk: {python: 'talk.py:talk'}}\n"
        "pipeline: [{model: talk}, {postprocess: 'steps.py:same'}]\n"
        "inputs: [{name: prompt, datatype: BYTES, shape: [1]}]\noutputs: [{name: word, datatype: BYTES, shape: [1]}]\n"
    )
    with pytest.raises(
        SpecError, match="'talk' is a generator: it answers in chunks, so it must be the last"
    ):
        prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda _text: None)


def test_server_sent_events_where_they_are_accepted(server: ServerProcess) -> None:
    with asked(server, body(2), Accept="text/event-stream, */*;q=0.1") as answer:
        assert answer.getheader("Content-Type") == "text/event-stream"
        events = answer.read().split(b"\n\n")
    assert events.pop() == b""
    assert [json.loads(event.removeprefix(b"data: "))["outputs"][0]["data"] for event in events] == [[1], [2]]


def test_a_connection_goes_on_behind_a_stream_and_answers_keep_their_order(server: ServerProcess) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as client:
        health = b"GET /v2/health/live HTTP/1.1\r\nHost: t\r\n\r\n"
        last = head(body(1), b"Connection: close")
        client.sendall(health + head(body(2)) + health + head(body(0)) + head(body(3)) + last)
        data = read_all(client)
    answers = data.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(answers) == 6
    assert [b'{"live":true}' in answer for answer in answers] == [True, False, True, False, False, False]
    assert [answer.count(b'"outputs"') for answer in answers] == [0, 2, 0, 0, 3, 1]
    assert [b"Connection: close" in answer for answer in answers] == [False] * 5 + [True]
    assert all(answers[i].endswith(b"0\r\n\r\n") for i in (1, 3, 4, 5))


def test_http_1_0_gets_the_lines_up_to_the_connections_end(server: ServerProcess) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as client:
        client.sendall(head(body(3), version=b"1.0"))
        first, _, lines = read_all(client).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in first
    assert b"Connection: close" in first
    assert numbers(lines) == [1, 2, 3]


@pytest.mark.parametrize(("how", "expected"), [(1, "ValueError: no more"), (3, "SIGABRT")])
def test_an_error_behind_a_chunk_ends_the_stream_and_the_connection(
    server: ServerProcess, how: int, expected: str
) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as client:
        client.sendall(head(body(2, how=how)) + head(body(5)))
        first, _, rest = read_all(client).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert not rest.endswith(b"0\r\n\r\n"), "the answer is not whole, and says so"
    lines = rest.split(b"\r\n")[1::2]
    assert [json.loads(line).get("outputs", [{}])[0].get("data") for line in lines] == [[1], [2], None]
    assert expected in json.loads(lines[-1])["error"]
    with asked(server, body(2)) as answer:
        assert numbers(answer.read()) == [1, 2]


def test_a_chunk_that_json_cannot_carry_is_an_error_too(server: ServerProcess) -> None:
    data = json.dumps({"inputs": [{"name": "y", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}).encode()
    for _ in range(2):  # the instance goes on
        with socket.create_connection((server.host, server.port), timeout=30) as client:
            client.sendall(head(data, path="/v2/models/bad/infer"))
            rest = read_all(client).partition(b"\r\n\r\n")[2]
        first, last = [json.loads(line) for line in rest.split(b"\r\n")[1::2]]
        assert first["outputs"][0]["data"] == ["ok"]
        assert "'y' holds bytes that are not UTF-8" in last["error"]
        assert not rest.endswith(b"0\r\n\r\n")
    assert counters(server, "bad")["counters"]["failed"] == {"OTHER": 2}


@pytest.mark.parametrize(("how", "expected"), [(1, "ValueError: no more"), (3, "SIGABRT")])
def test_an_error_before_the_first_chunk_is_an_ordinary_answer(
    server: ServerProcess, how: int, expected: str
) -> None:
    with asked(server, body(0, how=how), X_Request_Id="r") as answer:
        assert (answer.status, answer.getheader("X-Request-Id")) == (500, "r")
        assert expected in json.loads(answer.read())["error"]
    with asked(server, body(1)) as answer:
        assert numbers(answer.read()) == [1]


def test_binary_outputs_are_refused(server: ServerProcess) -> None:
    with asked(server, body(1, parameters={"binary_data_output": True})) as answer:
        assert answer.status == 400
        assert "leave out binary_data_output" in json.loads(answer.read())["error"]


def test_the_deadline_is_that_of_the_first_chunk(server: ServerProcess, folder: Path, words: Words) -> None:
    with asked(server, body(40, how=2, parameters={"timeout": 200_000})) as answer:
        assert answer.status == 504
        assert "before the first chunk" in json.loads(answer.read())["error"]
    words.say()
    wait_closed(folder, server, "closed 1 of 40\n")
    words.say()
    with asked(server, body(41, how=2, parameters={"timeout": 5_000_000})) as answer:
        assert numbers(answer.readline()) == [1]
        for number in range(2, 42):
            words.say()
            assert numbers(answer.readline()) == [number]
        assert answer.read() == b""


def test_chunks_are_sent_as_they_are_made_and_a_client_that_leaves_stops_the_generator(
    server: ServerProcess, folder: Path, words: Words
) -> None:
    before = canceled(server)
    words.say()
    with asked(server, body(1000, how=2)) as answer:
        for number in (1, 2, 3):
            assert numbers(answer.readline()) == [number]
            words.say()
        assert counters(server)["running"] == 1
        tiny_is_served(server)
        answer.close()
    while canceled(server) == before:
        words.say()  # the first chunk behind its leaving tells that a TCP client is gone
    words.say()
    wait_closed(folder, server, "of 1000\n")
    while counters(server)["running"]:
        pass  # each look is a round trip to the worker
    assert canceled(server) == before + 1


def test_a_client_that_reads_nothing_stops_the_generator_and_nothing_grows(
    server: ServerProcess, folder: Path
) -> None:
    pid = server.children()[0]
    with socket.create_connection((server.host, server.port), timeout=30) as client:
        client.sendall(head(body(10_001, wide=100_000)))
        last, same = -1, 0
        while same < 30:  # nothing moves any more: 30 looks in a row, each a round trip
            now = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            same, last = (same + 1, last) if now == last else (0, now)
            tiny_is_served(server)
        resident_mib = now * os.sysconf("SC_PAGE_SIZE") / 2**20
        assert resident_mib < 400, "10,001 chunks of 200 KB or more would be over 2,000"
        assert counters(server)["running"] == 1
    wait_closed(folder, server, "of 10001\n")
    made = int((folder / "log").read_text().rpartition("closed ")[2].split()[0])
    assert made < 200
    with asked(server, body(2)) as answer:
        assert numbers(answer.read()) == [1, 2]


def test_a_slow_client_gets_everything(server: ServerProcess) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as client:
        client.sendall(head(body(300, wide=20_000), b"Connection: close"))
        for _ in range(20):
            tiny_is_served(server)  # meanwhile every buffer is full
        data = read_all(client)
    assert data.count(b'"outputs"') == 300
    assert data.endswith(b"0\r\n\r\n")


def test_a_second_stream_waits_for_the_instance(server: ServerProcess, words: Words) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as second:
        words.say()
        with asked(server, body(2, how=2)) as first:
            assert numbers(first.readline()) == [1]
            second.sendall(head(body(3), b"Connection: close"))
            while not sum(one["waiting"] for one in counters(server)["classes"]):
                pass  # each look is a round trip to the worker
            words.say()
            assert numbers(first.readline()) == [2]
        assert read_all(second).count(b'"outputs"') == 3


def test_a_second_stream_is_dropped_when_its_first_chunk_would_be_late(
    server: ServerProcess, words: Words
) -> None:
    words.say()
    with asked(server, body(2, how=2)) as first:
        assert numbers(first.readline()) == [1]
        with asked(server, body(3, parameters={"timeout": 50_000})) as second:
            assert second.status in (429, 504)
        words.say()
        assert numbers(first.readline()) == [2]


def test_the_metrics_tell_when_the_first_chunk_came(server: ServerProcess) -> None:
    with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert "\ntrivet_first_chunks_total{" in text
    assert 'nv_inference_request_success{model="count"' in text
