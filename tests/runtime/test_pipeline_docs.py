"""The pipeline on the page on service.yaml runs as the page says."""

import re
from pathlib import Path

import numpy as np

from benchmarks import models as build
from tests.support.runtime import Served, prepared, serve, text

PAGE = (Path(__file__).parents[2] / "docs" / "service-yaml.md").read_text()
CODE = """
import numpy as np

def tokenize(inputs):
    ids = np.frombuffer(inputs["text"][0], np.uint8).astype(np.int64)[None]
    return {"ids": ids, "attention_mask": np.ones_like(ids)}

def pool(inputs):
    assert list(inputs) == ["hidden", "weights"]
    return {"vector": inputs["hidden"].mean(1), "num_tokens": inputs["weights"].sum(1)}
"""
SERVICE = """
inputs: [{name: text, datatype: BYTES, shape: [1]}]
outputs: [{name: vector, datatype: FP32, shape: [-1, -1]}, {name: num_tokens, datatype: INT64, shape: [-1]}]
models: {encoder: {file: encoder.onnx}}
slo: {deadline: 60s}  # the test is of names, not of how fast this machine is just now
"""


def test_the_example_of_inputs_by_name_runs(tmp_path: Path) -> None:
    build.write(build.encoder(pooled=False), tmp_path / "encoder.onnx")
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]

    async def work(served: Served) -> None:
        answer = await served.ask(text("hello"))
        np.testing.assert_array_equal(answer["num_tokens"], [5])

    serve(prepared(tmp_path, SERVICE + example, CODE), work)
