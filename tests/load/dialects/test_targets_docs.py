"""The page on targets: its examples run, against a server that has the model they speak of."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.load.dialects.speakers import reply, speaker
from trivet.judge.metric import figure
from trivet.load.inputs.perf_analyzer import json_rows
from trivet.spec.signature import Signature, TensorSpec

PAGE = (Path(__file__).parents[3] / "docs" / "targets.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
METADATA = {
    "name": "intent",
    "inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 77]}],
}


@pytest.mark.parametrize("example", EXAMPLES[:-1])
def test_an_example_makes_requests(example: str) -> None:
    names: dict[str, Any] = {}
    with speaker({"GET /v2/models/intent": reply(METADATA)}) as server:
        exec(example.replace("127.0.0.1:8000", server.name), names)
    assert all(json.loads(request.body) for request in names["requests"])
    assert len(names["requests"]) in (1, 100)


def test_the_metric_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "metrics.py").write_text(EXAMPLES[-1])
    assert figure("metrics.py:overlap", ["a", "b c"], ["a", "b d"], root=tmp_path).estimate == 0.75


def test_the_json_of_the_page(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "d.json").write_text(example)
    specs = (TensorSpec("input_ids", "INT64", (-1, -1)), TensorSpec("image", "UINT8", (-1, -1)))
    rows = json_rows(tmp_path / "d.json", Signature(specs, (), True), 10)
    assert [row["input_ids"].shape for row in rows] == [(1, 3), (1, 2)]
    assert rows[0]["image"].tolist() == [[0, 0, 0]]
