"""A model in two parts with an exit between them, served: answers, who gave them, rows, metrics, and what clients see."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from onnx import ModelProto, helper

from benchmarks import models as build
from tests.support.server import ServerProcess
from trivet.engine.onnx import OnnxEngine
from trivet.load.server_timing import phase_columns
from trivet.pipeline.exits import confidences
from trivet.spec.exit import Exit

RULE = Exit(output="y", at_least=0.7)
SERVICE = """
name: two
models: {front: {file: front.onnx}, rest: {file: rest.onnx}}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.7}
  - model: rest
slo: {deadline: 10s}
"""


def part(seed: int, takes: str, outputs: dict[str, int]) -> ModelProto:
    """A product with random weights for each output."""
    rng = np.random.default_rng(seed)
    nodes = [helper.make_node("MatMul", [takes, f"w_{name}"], [name]) for name in outputs]
    weights = {f"w_{name}": rng.normal(size=(4, size)).astype(np.float32) for name, size in outputs.items()}
    tensors = [build.tensor(name, "FP32", ["n", size]) for name, size in outputs.items()]
    return build.build("part", nodes, [build.tensor(takes, "FP32", ["n", 4])], tensors, weights)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    build.write(part(1, "x", {"y": 3, "h": 4}), folder / "front.onnx")
    build.write(part(2, "h", {"y": 3}), folder / "rest.onnx")
    (folder / "two.yaml").write_text(SERVICE)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess([str(folder / "two.yaml")], folder) as running:
        yield running


X: NDArray[np.float32] = np.random.default_rng(3).normal(size=(300, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def offline(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What the two files and the rule give, without a server."""
    front, rest = (OnnxEngine(folder / f"{name}.onnx") for name in ("front", "rest"))
    given = front.run({"x": X})
    sure = confidences(RULE, given["y"]) >= RULE.at_least
    answers = np.where(sure[:, None], given["y"], rest.run({"h": given["h"]})["y"])
    assert 50 < np.count_nonzero(sure) < 250
    return answers, sure


def tensor(rows: NDArray[np.float32], *, binary: bool = True) -> triton.InferInput:
    one = triton.InferInput("x", list(rows.shape), "FP32")
    one.set_data_from_numpy(rows, binary_data=binary)
    return one


def test_clients_get_the_offline_answers_and_are_told_who_gave_them(
    server: ServerProcess, offline: tuple[NDArray[np.float32], NDArray[np.bool_]]
) -> None:
    answers, sure = offline
    client = triton.InferenceServerClient(server.address, concurrency=16)
    pending = [client.async_infer("two", [tensor(row[None], binary=i % 2 == 0)]) for i, row in enumerate(X)]
    results = [one.get_result() for one in pending]
    found = np.concatenate([result.as_numpy("y") for result in results])
    np.testing.assert_allclose(found, answers, rtol=1e-5, atol=1e-6)
    said = [result.get_response()["parameters"]["exit"] for result in results]
    assert said == ["front" if one else "rest" for one in sure]


@pytest.mark.parametrize("binary", [True, False])
def test_rows_of_a_large_client_batch_part_and_meet_again(
    server: ServerProcess, offline: tuple[NDArray[np.float32], NDArray[np.bool_]], binary: bool
) -> None:
    """300 rows: more than any batch of either model."""
    answers, sure = offline
    client = triton.InferenceServerClient(server.address)
    result = client.infer("two", [tensor(X, binary=binary)])
    np.testing.assert_allclose(result.as_numpy("y"), answers, rtol=1e-5, atol=1e-6)
    names = result.get_response()["parameters"]["exit"].split(",")
    assert names == ["front" if one else "rest" for one in sure]


def test_it_looks_like_the_model_that_it_came_from(server: ServerProcess) -> None:
    client = triton.InferenceServerClient(server.address)
    metadata = client.get_model_metadata("two")
    assert [one["name"] for one in metadata["inputs"]] == ["x"]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]
    assert client.get_model_config("two")["max_batch_size"] > 1


def ask(server: ServerProcess, row: NDArray[np.float32], **headers: str) -> Any:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row.tolist()}]}
    request = urllib.request.Request(
        f"http://{server.address}/v2/models/two/infer", json.dumps(body).encode(), headers
    )
    return urllib.request.urlopen(request, timeout=60)


def test_the_load_generator_reads_the_exit_from_the_answers_header(
    server: ServerProcess, offline: tuple[NDArray[np.float32], NDArray[np.bool_]]
) -> None:
    headers = []
    for row in X[:20]:
        with ask(server, row, **{"X-Trivet-Timing": "1"}) as answer:
            headers.append(answer.headers["Server-Timing"].encode())
    assert phase_columns(headers)["exit"] == ["front" if one else "rest" for one in offline[1][:20]]


def test_metrics_count_the_rows_of_each_way(server: ServerProcess) -> None:
    def counts() -> dict[str, int]:
        with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        lines = re.findall(r'trivet_exit_rows_total\{.*stage="front",.*way="(\w+)".*\} (\S+)', text)
        return {way: int(float(value)) for way, value in lines}

    before = counts()
    for row in X[:20]:
        ask(server, row).close()
    after = counts()
    gained = {way: after[way] - before[way] for way in ("left", "on")}
    client = triton.InferenceServerClient(server.address)
    names = client.infer("two", [tensor(X[:20])]).get_response()["parameters"]["exit"].split(",")
    assert gained == {"left": names.count("front"), "on": names.count("rest")}


def test_every_row_in_a_file_says_who_answered(folder: Path) -> None:
    with ServerProcess([str(folder / "two.yaml"), "--rows", "kept", "--rows-share", "1"], folder) as running:
        said = []
        for row in X[:12]:
            with ask(running, row) as answer:
                said.append(json.load(answer)["parameters"]["exit"])
        client = triton.InferenceServerClient(running.address)
        client.infer("two", [tensor(X[:12])])
    table = ds.dataset(folder / "kept").to_table(columns=["exit", "done_ns"])
    exits = table.sort_by("done_ns")["exit"].to_pylist()
    assert exits[:12] == said
    assert sorted(exits[12].split("+")) == ["front", "rest"]
