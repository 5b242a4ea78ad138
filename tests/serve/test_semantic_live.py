"""A real server with a semantic cache: its threads, its metrics, its way out."""

import http.client
import json
import urllib.request
from contextlib import closing
from pathlib import Path

from benchmarks import models as build
from tests.support.server import ServerProcess

_STEPS = """
import numpy as np

def score(inputs):
    scores = np.zeros((1, 5), np.float32)
    scores[0, "abcde".index(inputs["text"][0].decode()[-1])] = 1
    return {"x": scores}
"""
_SERVICE = """
name: letters
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models: {m: {file: identity.onnx}}
pipeline: [{preprocess: steps.py:score, outputs: [{name: x, datatype: FP32, shape: [-1, 5]}]}, {model: m}]
decode: argmax
semantic_cache: {input: text, max_wrong: 5%, topic: answer}
"""
_MOST = 3_000


def _ask(connection: http.client.HTTPConnection, text: str) -> str:
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    connection.request("POST", "/v2/models/letters/infer", json.dumps(body))
    answer = connection.getresponse()
    scores = json.loads(answer.read())["outputs"][0]["data"]
    assert "abcde"[scores.index(max(scores))] == text[-1] or answer.headers["X-Trivet-Cache"] == "semantic"
    return answer.headers["X-Trivet-Cache"] or ""


def test_a_server_learns_to_answer_from_its_cache(tmp_path: Path) -> None:
    build.write(build.identity(), tmp_path / "identity.onnx")
    (tmp_path / "steps.py").write_text(_STEPS)
    service = tmp_path / "letters.yaml"
    service.write_text(_SERVICE)
    with (
        ServerProcess([str(service)], tmp_path) as server,
        closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection,
    ):
        said = "miss"
        for number in range(_MOST):
            letter = "abcde"[number * 7 % 5]
            said = _ask(
                connection, f"all of {letter * 9} in {letter}" if number % 2 else f"number {number} {letter}"
            )
            if said == "semantic":
                break
        assert said == "semantic"
        with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=30) as page:
            metrics = page.read().decode()
    assert 'trivet_cache_hits_total{configuration="' in metrics
    assert 'kind="semantic"' in metrics
    assert "trivet_semantic_topic_hits_total{" in metrics
