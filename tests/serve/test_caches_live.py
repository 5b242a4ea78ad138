"""Real servers with caches, and a Redis that they share: what clients, rows and metrics see, also when it dies."""

import http.client
import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.dataset as ds
import pytest
import tritonclient.http as triton

from tests.serve.cache_support import write_service
from tests.support.redis_server import RedisServer
from tests.support.server import ServerProcess

SERVICES = """
models: {m: {file: identity.onnx, levers: {max_batch_size: 8, threads: 1}}}
cache: {exact: {}}
slo: {deadline: 20s}
"""
TALK = """
inputs: [{name: x, datatype: FP32, shape: [1]}]
outputs: [{name: y, datatype: FP32, shape: [1]}]
models: {talk: {python: "talk.py:words"}}
cache: {exact: {}}
slo: {deadline: 20s}
"""
WORDS = """
import numpy as np
def words(tensors):
    for i in range(3):
        yield {"y": tensors["x"] + np.float32(i)}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cached")
    write_service(folder, SERVICES)
    (folder / "talk.yaml").write_text(TALK)
    (folder / "talk.py").write_text(WORDS)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, redis_url: str) -> Iterator[ServerProcess]:
    arguments = ["echo.yaml", "talk.yaml", "--cache-url", redis_url, "--rows", "rows", "--rows-share", "1"]
    with ServerProcess(arguments, folder) as running:
        yield running


def body(value: float, shape: str = "[1,1]") -> bytes:
    return b'{"inputs":[{"name":"x","shape":%b,"datatype":"FP32","data":[%g]}]}' % (shape.encode(), value)


def ask(server: ServerProcess, value: float, name: str = "echo") -> tuple[float, str]:
    """The answer's only number and what it says of the cache."""
    connection = http.client.HTTPConnection(server.host, server.port)
    connection.request("POST", f"/v2/models/{name}/infer", body(value))
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, found
    assert answer.headers["X-Trivet-Cache"] == found["parameters"]["cache"]
    return found["outputs"][0]["data"][0], found["parameters"]["cache"]


def metric(server: ServerProcess, name: str, *labels: str) -> float:
    """Sum of the lines of a family with all these labels."""
    with urllib.request.urlopen(f"http://{server.control}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = [
        line for line in lines if re.match(rf"{name}\{{", line) and all(label in line for label in labels)
    ]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_two_servers_share_answers(server: ServerProcess, folder: Path, redis_url: str) -> None:
    assert [ask(server, 11), ask(server, 11)] == [(11.0, "miss"), (11.0, "exact")]
    arguments = ["echo.yaml"]
    with ServerProcess(arguments, folder, TRIVET_CACHE_URL=redis_url) as other:
        assert ask(other, 11) == (11.0, "exact")
        assert metric(other, "trivet_cache_shared_lookups_total", 'outcome="hit"') == 1
        assert metric(other, "nv_inference_exec_count") == 0
    assert metric(server, "trivet_cache_shared_stores_total", 'outcome="ok"') >= 1
    assert metric(server, "trivet_cache_shared_up", 'model="echo"') == 1


def test_metrics_statistics_and_rows_tell(server: ServerProcess, folder: Path) -> None:
    before = metric(server, "trivet_cache_hits_total", 'kind="exact"', 'model="echo"')
    for _ in range(4):
        ask(server, 12)
    assert metric(server, "trivet_cache_hits_total", 'kind="exact"', 'model="echo"') == before + 3
    assert metric(server, "nv_cache_num_hits_per_model", 'model="echo"') == before + 3
    assert metric(server, "nv_cache_hit_duration_per_model", 'model="echo"') > 0
    client = triton.InferenceServerClient(server.address)
    stats = client.get_inference_statistics("echo")["model_stats"][0]["inference_stats"]
    client.close()
    assert stats["cache_hit"]["count"] == before + 3
    assert stats["cache_miss"]["count"] == metric(server, "nv_cache_num_misses_per_model", 'model="echo"')


def test_an_answer_in_chunks_is_given_again_in_chunks(server: ServerProcess) -> None:
    def chunks() -> tuple[str | None, list[float]]:
        connection = http.client.HTTPConnection(server.host, server.port)
        connection.request("POST", "/v2/models/talk/infer", body(1, "[1]"))
        answer = connection.getresponse()
        lines = [json.loads(line) for line in answer.read().splitlines()]
        connection.close()
        assert {line["parameters"]["cache"] for line in lines} == {answer.headers["X-Trivet-Cache"]}
        return answer.headers["X-Trivet-Cache"], [line["outputs"][0]["data"][0] for line in lines]

    assert [chunks() for _ in range(3)] == [
        ("miss", [1.0, 2.0, 3.0]),
        ("exact", [1.0, 2.0, 3.0]),
        ("exact", [1.0, 2.0, 3.0]),
    ]


def test_a_store_that_dies_under_load_costs_no_answer(folder: Path) -> None:
    with RedisServer() as redis, ServerProcess(["echo.yaml", "--cache-url", redis.url], folder) as server:

        def client(number: int) -> list[tuple[float, str]]:
            return [ask(server, 100 * number + i // 2) for i in range(60)]

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(client, number) for number in range(8)]
            while metric(server, "nv_cache_num_hits_per_model") < 20:
                pass
            redis.kill()
            for number, one in enumerate(asked):
                assert [value for value, _ in one.result()] == [100.0 * number + i // 2 for i in range(60)]
        assert [ask(server, 5000), ask(server, 5000)] == [(5000.0, "miss"), (5000.0, "exact")]
        assert "going on without the shared store" in server.read_until("going on without")
        assert metric(server, "trivet_cache_shared_up") == 0
        success = metric(server, "nv_inference_request_success")
        assert success == 8 * 60 + 2
        redis.start()
        server.read_until("answers again")
        assert ask(server, 6000) == (6000.0, "miss")
        assert metric(server, "trivet_cache_shared_up") == 1


def test_an_address_that_is_none_is_told_at_once(folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"cache_url is no address.*redis://HOST:PORT") as caught:
        ServerProcess(["echo.yaml", "--cache-url", "redis://x:secret@y:z/0"], folder)
    assert "secret" not in str(caught.value)


def test_rows_say_which_cache_has_answered(folder: Path) -> None:
    arguments = ["echo.yaml", "--rows", "few", "--rows-share", "1"]
    with ServerProcess(arguments, folder) as server:
        for value in (1, 1, 2, 1):
            ask(server, value)
    columns = ["cache", "instead", "upstream", "attempts", "cost_nano", "batch_size", "compute_ns", "outcome"]
    table = ds.dataset(folder / "few", format="parquet").to_table(columns=columns).to_pydict()
    assert sorted(table["cache"]) == ["exact", "exact", "miss", "miss"]
    for place, cache in enumerate(table["cache"]):
        hit = cache == "exact"
        assert (table["batch_size"][place] == 0) == (table["compute_ns"][place] == 0) == hit
        assert [
            table[name][place] for name in ("instead", "upstream", "attempts", "cost_nano", "outcome")
        ] == [
            "",
            "",
            -1,
            -1,
            "ok",
        ]
