"""Tables, tenants and budgets in a real server of two workers, over real sockets, with the command that writes the table."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.server import ServerProcess

SERVICE = """
name: shop
inputs: [{name: user, datatype: INT64, shape: [-1]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
models: {identity: {file: identity.onnx, levers: {execution: inline}}}
pipeline:
  - features: {table: users.parquet, key: user, columns: {x: [age, score]}}
  - {model: identity, inputs: {x: x}}
  - {postprocess: "steps.py:same"}
precomputed: {table: answers.parquet}
cost: {core_hour: 1}
"""
STEPS = "def same(tensors):\n    return {'y': tensors['y']}\n"
DEPLOYMENT = """
services: [service.yaml]
workers: 2
tenants:
  anne: {key_env: ANNES_KEY}
  bert: {key_sha256: %s, budget: {hard: 1e-9}}
"""


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "identity.onnx").write_bytes((models / "fp32.onnx").read_bytes())
    (folder / "steps.py").write_text(STEPS)
    (folder / "service.yaml").write_text(SERVICE)
    (folder / "deployment.yaml").write_text(DEPLOYMENT % sha256(b"berts").hexdigest())
    users = {"user": range(100), "age": np.arange(100.0), "score": np.arange(100) / 2}
    pq.write_table(pa.table(users), folder / "users.parquet")
    pq.write_table(pa.table({"user": [[7], [8]]}), folder / "inputs.parquet")
    return folder


def precompute(folder: Path) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "trivet.cli.main",
        "precompute",
        "service.yaml",
        "inputs.parquet",
        "--json",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    published: dict[str, Any] = json.loads(done.stdout)
    return published


def ask(server: ServerProcess, user: int, key: str) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    body = {"inputs": [{"name": "user", "shape": [1], "datatype": "INT64", "data": [user]}]}
    connection.request("POST", "/v2/models/shop/infer", json.dumps(body), {"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read()), answer.headers
    connection.close()
    return found


def metrics(server: ServerProcess) -> dict[str, float]:
    """Sums over all labels but those that are told apart here."""
    host, _, port = server.control.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, float] = {}
    for name, labels, value in re.findall(r"^(trivet_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        told = re.findall(r'(?:outcome|reason|tenant|way)="([^"]*)"', labels)
        key = " ".join([name, *told])
        found[key] = found.get(key, 0.0) + float(value)
    return found


def test_answers_features_keys_and_budgets_in_one_server(folder: Path) -> None:
    published = precompute(folder)
    assert (published["rows"], published["failed"]) == (2, 0)
    with ServerProcess(["--config", "deployment.yaml"], folder, ANNES_KEY="annes") as server:
        for user, cache in ((7, "precomputed"), (9, "miss"), (8, "precomputed")):
            status, answer, headers = ask(server, user, "annes")
            assert (status, answer["outputs"][0]["data"]) == (200, [user, user / 2])
            assert headers["X-Trivet-Cache"] == cache
        status, answer, _ = ask(server, 1234, "annes")
        assert (status, "has no features of user '1234'" in answer["error"]) == (400, True)
        assert ask(server, 7, "nobodys")[0] == 401
        assert ask(server, 20, "berts")[0] == 200
        status, answer, headers = ask(server, 7, "berts")
        assert (status, "the budget of 1e-09 a day is spent" in answer["error"]) == (429, True)
        assert 0 < int(headers["Retry-After"]) <= 86_400
        found = metrics(server)
    assert found["trivet_precomputed_lookups_total hit"] == 2
    assert found["trivet_precomputed_lookups_total miss"] == 3
    assert found["trivet_precomputed_rows"] == 2 * 2
    assert found["trivet_feature_lookups_total hit"] == 2
    assert found["trivet_feature_lookups_total missing"] == 1
    assert found["trivet_budget_refused_total bert"] == 1
    assert found["trivet_cost_total anne pipeline"] > 0
    assert found["trivet_cost_requests_total anne precomputed"] == 2


def test_a_job_that_is_killed_goes_on_and_its_table_is_as_if_it_had_not_been(
    folder: Path, tmp_path: Path
) -> None:
    for file in ("identity.onnx", "steps.py", "service.yaml", "users.parquet"):
        (tmp_path / file).symlink_to(folder / file)
    slow = SERVICE.replace("steps.py:same", "slow.py:same")
    (tmp_path / "slow.py").write_text(
        "import os, threading\n"
        + STEPS.replace(
            "    return",
            "    calls.append(1)\n"
            "    if len(calls) > 2048 and os.path.exists('stop'):\n"
            "        threading.Event().wait()  # for ever\n"
            "    return",
        )
        + "calls = []\n"
    )
    (tmp_path / "stop").touch()
    (tmp_path / "slow.yaml").write_text(slow)
    pq.write_table(pa.table({"user": [[i % 100] for i in range(4 * 1024)]}), tmp_path / "inputs.parquet")
    command = [sys.executable, "-m", "trivet.cli.main", "precompute", "slow.yaml", "inputs.parquet", "--json"]
    command.append("--normal-priority")
    job = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stderr is not None
    for line in job.stderr:
        if line.startswith("1024 of"):
            break
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    (tmp_path / "stop").unlink()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    published = json.loads(done.stdout)
    assert published["rows"] == 4 * 1024
    assert 1024 <= published["resumed"] < 4 * 1024
    assert (published["distinct"], pq.read_table(tmp_path / "answers.parquet").num_rows) == (100, 100)
