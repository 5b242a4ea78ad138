"""Python engines behind the server: what they do to their own batch, and to nobody else."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ServerProcess

CODE = """
import ctypes, os
import numpy as np

def f(inputs):
    x = inputs["x"]
    match int(x[0, 0]) - 100:
        case 1: raise ValueError("no ones")
        case 2: os.abort()
        case 3: os._exit(3)
        case 4: return {"y": x[:, :1]}
        case 5: ctypes.PyDLL(None).pause()  # holds the interpreter lock for ever
    return {"y": x * 2}

f.inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
f.outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
"""


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("python")
    (folder / "model.py").write_text(CODE)
    (folder / "service.yaml").write_text(
        "name: double\nmodels: {f: {python: 'model.py:f'}}\nslo: {deadline: 5s}\n"
    )
    with ServerProcess([str(folder / "service.yaml"), str(models / "tiny.onnx")], folder) as running:
        yield running


def ask(server: ServerProcess, value: float, timeout_us: int = 0) -> tuple[int, dict[str, Any]]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, 0]}
    return post(server, "double", {"inputs": [tensor], "parameters": {"timeout": timeout_us}})


def post(server: ServerProcess, model: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    url = f"http://{server.address}/v2/models/{model}/infer"
    try:
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize(
    ("value", "status", "message"),
    [
        (101, 500, "ValueError: no ones"),
        (102, 500, "SIGABRT"),
        (103, 500, "3"),
        (104, 500, "'y'"),
    ],
)
def test_a_fault_fails_its_own_request_and_the_next_is_answered(
    server: ServerProcess, value: float, status: int, message: str
) -> None:
    code, answer = ask(server, value)
    assert (status, True) == (code, message in answer["error"]), answer
    assert ask(server, 10)[1]["outputs"][0]["data"] == [20.0, 0.0]


def test_a_hang_is_answered_at_its_deadline_and_killed(server: ServerProcess) -> None:
    code, answer = ask(server, 105, timeout_us=200_000)
    assert (code, "deadline passed" in answer["error"]) == (504, True), answer
    zeros = {"name": "x", "datatype": "FP32", "shape": [1, 30], "data": [0.0] * 30}
    assert post(server, "tiny", {"inputs": [zeros]})[0] == 200  # the other model feels nothing
    assert ask(server, 10)[1]["outputs"][0]["data"] == [20.0, 0.0]


def test_requests_of_a_failed_batch_that_were_run_again_are_counted(server: ServerProcess) -> None:
    with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    assert re.search(r'^trivet_retried_total\{.*model="double".*\} \d', text, re.MULTILINE)


def test_code_that_fails_on_import_ends_the_start_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "service.yaml").write_text("models: {f: {python: 'model.py:f'}}\n")
    with pytest.raises(RuntimeError, match="nothing_of_that_name"):
        ServerProcess([str(tmp_path / "service.yaml")], tmp_path)
