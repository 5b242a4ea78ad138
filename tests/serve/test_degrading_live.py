"""A model and one that stands in for it, served: answers, who gave them, rows and metrics.

Both take next to nothing; kept profiles say that the declared one takes a second: half a second is too short for it.
"""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from benchmarks import models as build
from tests.support.exits import times
from tests.support.server import ServerProcess
from trivet.runtime.preparing import profile as profiles
from trivet.runtime.preparing.profile import Batching, Profile
from trivet.runtime.preparing.resolving import profile_path
from trivet.spec.service_file import load_configuration

SERVICE = """
name: ladder
models:
  full: {file: full.onnx, levers: {max_batch_size: 4, execution: inline}}
  small: {file: small.onnx, levers: {max_batch_size: 4, execution: inline}}
degrade:
  to: [{model: small, loss: 2 points}]
  max_loss: 1 point
  window: 8
slo: {deadline: 60s}
"""
SECOND_US = 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ladder")
    build.write(times(10), folder / "full.onnx")
    build.write(times(1), folder / "small.onnx")
    (folder / "service.yaml").write_text(SERVICE)
    configuration = load_configuration(folder / "service.yaml")
    for rung, one_ns in ((None, 10**9), ("small", 10**6)):
        samples = {0: {rows: [rows * one_ns] * 8 for rows in (1, 2, 4)}}
        kept = Profile(samples, Batching(True, 0.0), "the test")
        profiles.write(profile_path(configuration, 0, "", rung), kept)
    return folder


def ask(server: ServerProcess, timeout_us: int = 0) -> tuple[dict[str, Any], Any]:
    tensor = {"name": "h", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    body = json.dumps({"inputs": [tensor], "parameters": {"timeout": timeout_us}}).encode()
    url = f"http://{server.address}/v2/models/ladder/infer"
    with urllib.request.urlopen(
        urllib.request.Request(url, body, {"X-Trivet-Timing": "1"}), timeout=60
    ) as answer:
        return json.load(answer), answer.headers


def metric(server: ServerProcess, name: str, labels: str = "") -> float:
    with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith(f"{name}{{") and labels in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_who_stood_in_is_told_counted_and_bounded(folder: Path) -> None:
    with ServerProcess(
        [str(folder / "service.yaml"), "--rows", "kept", "--rows-share", "1"], folder
    ) as server:
        for _ in range(8):  # eight points ahead, and each of these costs one more than an answer may
            answer, headers = ask(server, SECOND_US // 2)
            assert answer["outputs"][0]["data"] == [1.0, 2.0]
            assert answer["parameters"]["instead"] == "degraded:small"
            assert headers["X-Trivet-Instead"] == "degraded:small"
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(server, SECOND_US // 2)
        refused.value.close()
        assert refused.value.code in (429, 503)
        answer, headers = ask(server)
        assert answer["outputs"][0]["data"] == [10.0, 20.0]
        assert "instead" not in answer["parameters"]
        assert headers["X-Trivet-Instead"] is None
        assert metric(server, "trivet_degraded_rows_total", 'to="small"') == 8.0
        assert metric(server, "trivet_accuracy_paid_total", 'to="small"') == pytest.approx(0.16)
        assert metric(server, "trivet_refused_total") == 1.0
    said = ds.dataset(folder / "kept").to_table(columns=["instead", "done_ns", "outcome"]).sort_by("done_ns")
    assert said["instead"].to_pylist() == ["degraded:small"] * 8 + ["", ""]
    assert said["outcome"].to_pylist() == ["ok"] * 8 + ["refused", "ok"]
