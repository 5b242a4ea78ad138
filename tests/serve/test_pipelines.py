"""Pipelines, ragged inputs and large client batches through a real server."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from benchmarks import models as build
from tests.support.server import ServerProcess

STEPS = """
import os
import numpy as np
from trivet.errors import BadRequestError

def tokenize(inputs):
    text = inputs["text"][0].decode()
    if not text:
        raise BadRequestError("input 'text' is empty; expected at least one character")
    ids = np.frombuffer(text.encode(), np.uint8).astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

def first(inputs):
    return {"first": inputs["pooled"][:, :1]}

def first_of_many(inputs):
    if inputs["mask"].sum() > 60:
        os.abort()
    return first(inputs)
"""
SERVICE = """
name: sentences
inputs: [{name: text, datatype: BYTES, shape: [1]}]
outputs: [{name: first, datatype: FP32, shape: [1, 1]}]
models:
  encoder:
    file: encoder.onnx
    ragged: {input_ids: {axis: 1, pad: 0}, attention_mask: {axis: 1, pad: 0}}
pipeline:
  - preprocess: steps.py:tokenize
  - model: encoder
  - postprocess: steps.py:first
slo: {deadline: 10s}
"""
# The same with its steps in processes of their own, of which the last takes what the first gave under another name.
PROCESSES = """
name: processes
inputs: [{name: text, datatype: BYTES, shape: [1]}]
outputs: [{name: first, datatype: FP32, shape: [-1, 1]}]
models:
  encoder:
    file: encoder.onnx
    ragged: {input_ids: {axis: 1, pad: 0}, attention_mask: {axis: 1, pad: 0}}
pipeline:
  - preprocess: steps.py:tokenize
    execution: process
    outputs:
      - {name: input_ids, datatype: INT64, shape: [1, -1]}
      - {name: attention_mask, datatype: INT64, shape: [1, -1]}
  - model: encoder
  - postprocess: steps.py:first_of_many
    execution: process
    inputs: {pooled: pooled, mask: attention_mask}
slo: {deadline: 10s}
"""
HIDDEN = """
name: hidden
models:
  encoder:
    file: hidden.onnx
    ragged: {input_ids: {axis: 1, pad: 0}, attention_mask: {axis: 1, pad: 0}}
    cut: {hidden: {axis: 1, like: input_ids}}
slo: {deadline: 10s}
"""


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("pipelines")
    build.write(build.encoder(), folder / "encoder.onnx")
    build.write(build.encoder(pooled=False), folder / "hidden.onnx")
    (folder / "steps.py").write_text(STEPS)
    (folder / "sentences.yaml").write_text(SERVICE)
    (folder / "hidden.yaml").write_text(HIDDEN)
    (folder / "processes.yaml").write_text(PROCESSES)
    services = [str(folder / f"{name}.yaml") for name in ("sentences", "processes", "hidden")]
    paths = [*services, str(models / "matmul.onnx")]
    with ServerProcess(paths, folder) as running:
        yield running


def say(server: ServerProcess, text: str, service: str = "sentences") -> tuple[int, dict[str, Any]]:
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    url = f"http://{server.address}/v2/models/{service}/infer"
    try:
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_chain_of_steps_and_a_model(server: ServerProcess) -> None:
    code, answer = say(server, "hello")
    assert code == 200
    assert [(output["name"], output["shape"]) for output in answer["outputs"]] == [("first", [1, 1])]


def test_answers_do_not_depend_on_what_shares_the_batch(server: ServerProcess) -> None:
    texts = [("word " * (i % 7 + 1)).strip() for i in range(40)]
    alone = [say(server, text)[1]["outputs"][0]["data"] for text in texts]
    with ThreadPoolExecutor(16) as pool:
        together = [
            answer["outputs"][0]["data"] for _, answer in pool.map(lambda text: say(server, text), texts)
        ]
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-5)


def test_a_step_can_call_a_request_bad(server: ServerProcess) -> None:
    assert say(server, "") == (400, {"error": "input 'text' is empty; expected at least one character"})


def test_steps_in_processes_answer_as_those_in_the_loop_do(server: ServerProcess) -> None:
    texts = [("word " * (i % 7 + 1)).strip() for i in range(14)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: say(server, text, "processes"), texts))
    assert {code for code, _ in answers} == {200}
    together = [answer["outputs"][0]["data"] for _, answer in answers]
    inline = [say(server, text)[1]["outputs"][0]["data"] for text in texts]
    np.testing.assert_allclose(together, inline, rtol=1e-3, atol=1e-5)
    assert say(server, "", "processes") == say(server, "")


def test_a_step_that_aborts_fails_its_own_request(server: ServerProcess) -> None:
    code, answer = say(server, "w" * 61, "processes")
    assert (code, "SIGABRT" in answer["error"]) == (500, True)
    assert say(server, "w" * 60, "processes")[0] == 200


def test_outputs_as_long_as_the_input_are_cut_to_it(server: ServerProcess) -> None:
    client = triton.InferenceServerClient(server.address, concurrency=8)
    lengths = [3, 9, 5, 10, 4, 9, 10, 3]

    def start(length: int) -> Any:
        ids = np.arange(1, length + 1, dtype=np.int64)[None]
        inputs = []
        for name, array in (("input_ids", ids), ("attention_mask", np.ones_like(ids))):
            tensor = triton.InferInput(name, list(array.shape), "INT64")
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        return client.async_infer("hidden", inputs)

    results = [started.get_result().as_numpy("hidden") for started in [start(length) for length in lengths]]
    assert lengths == [result.shape[1] for result in results]
    alone = [start(length).get_result().as_numpy("hidden") for length in lengths]
    for one, other in zip(results, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_batch_larger_than_the_model_takes_is_split_and_answered_as_one(server: ServerProcess) -> None:
    client = triton.InferenceServerClient(server.address)
    most = client.get_model_config("matmul")["max_batch_size"]
    rows = np.random.default_rng(0).normal(size=(3 * most + 1, 8)).astype(np.float32)
    for binary in (True, False):
        tensor = triton.InferInput("x", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows, binary_data=binary)
        answer = client.infer("matmul", [tensor]).as_numpy("y")
        singles = []
        for row in rows[:: most // 2]:
            one = triton.InferInput("x", [1, 8], "FP32")
            one.set_data_from_numpy(row[None])
            singles.append(client.infer("matmul", [one]).as_numpy("y")[0])
        np.testing.assert_allclose(answer[:: most // 2], singles, rtol=1e-4, atol=1e-5)
