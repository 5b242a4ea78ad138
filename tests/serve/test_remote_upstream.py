"""A server in front of another one, both real: V2 of any datatype, metrics, an outage and its end."""

import http.client
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from tests.support.server import ServerProcess
from trivet.spec.dtypes import NUMPY_OF_DATATYPE

MODELS = ("tiny", "two", "bytes", "fp16")
NEAR = """
name: near-{model}
models: {{far: {{remote: {{protocol: v2, model: {model}, upstreams: ["http://{address}"]}}}}}}
slo: {{deadline: 5s}}
"""
AWAY = """
name: away
models:
  far:
    remote:
      protocol: v2
      model: bytes
      inputs: [{{name: x, datatype: BYTES, shape: [-1, -1]}}]
      outputs: [{{name: y, datatype: BYTES, shape: [-1, -1]}}]
      upstreams: ["http://127.0.0.1:{port}"]
pipeline:
  - model: far
    failures: {{breaker: {{failures: 1, open: 20ms, max_open: 20ms}}, fallback: [{{answer: {{y: [busy]}}}}]}}
slo: {{deadline: 5s}}
"""


@pytest.fixture(scope="module")
def far(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(
        [str(models / f"{name}.onnx") for name in MODELS], tmp_path_factory.mktemp("far")
    ) as one:
        yield one


@pytest.fixture(scope="module")
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def near(
    far: ServerProcess, free_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("near")
    for model in MODELS:
        (folder / f"{model}.yaml").write_text(NEAR.format(model=model, address=far.address))
    (folder / "away.yaml").write_text(AWAY.format(port=free_port))
    with ServerProcess([*(f"{model}.yaml" for model in MODELS), "away.yaml"], folder) as one:
        yield one


def signature(server: ServerProcess, model: str) -> Any:
    with urllib.request.urlopen(f"http://{server.address}/v2/models/{model}") as answer:
        found = json.load(answer)
    return found["inputs"], found["outputs"]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_answers_through_another_server_as_it_does_there(
    far: ServerProcess, near: ServerProcess, model: str
) -> None:
    rng = np.random.default_rng(3)
    assert signature(near, f"near-{model}") == signature(far, model)
    inputs = []
    for spec in signature(far, model)[0]:
        shape = [3 if size < 0 else size for size in spec["shape"]]
        values = rng.integers(0, 9, shape)
        dtype = np.dtype(NUMPY_OF_DATATYPE[spec["datatype"]])
        array = values.astype(str).astype(object) if dtype.kind == "O" else values.astype(dtype)
        tensor = triton.InferInput(spec["name"], shape, spec["datatype"])
        tensor.set_data_from_numpy(array, binary_data=True)
        inputs.append(tensor)
    asked = ((far, model), (near, f"near-{model}"))
    told = [triton.InferenceServerClient(one.address).infer(name, inputs) for one, name in asked]
    for spec in signature(far, model)[1]:
        assert np.array_equal(told[0].as_numpy(spec["name"]), told[1].as_numpy(spec["name"]))


def test_an_outage_is_bridged_and_its_end_is_seen(
    near: ServerProcess, free_port: int, models: Path, tmp_path: Path
) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}]})

    def ask() -> str:
        connection = http.client.HTTPConnection(near.address, timeout=20)
        connection.request("POST", "/v2/models/away/infer", body)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, said
        return str(said["outputs"][0]["data"][0])

    assert {ask() for _ in range(5)} == {"busy"}
    with ServerProcess(["--port", str(free_port), str(models / "bytes.onnx")], tmp_path):
        said = [ask()]
        while said[-1] == "busy" and len(said) < 2000:
            said.append(ask())
        assert said[-1] == "a"
    with urllib.request.urlopen(f"http://{near.control}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    labels = f'stage="far",upstream="127.0.0.1:{free_port}"'
    answered = [line for line in lines if labels in line and 'outcome="answered"' in line]
    assert [float(line.split()[-1]) >= 1 for line in answered] == [True]
    assert any(line.startswith("trivet_fallbacks_total{") and 'by="answer"' in line for line in lines)
