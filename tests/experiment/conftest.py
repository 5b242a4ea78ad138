from pathlib import Path

import numpy as np
import pytest

from trivet.catalog.catalog import Catalog
from trivet.engine.onnx import OnnxEngine

NUM_ROWS, NUM_WRONG = 100, 10

SERVICE = """
name: tiny
models: {tiny: {file: tiny.onnx}}
slo: {latency: 50ms}
data: {path: rows.csv, columns: {x: [%s]}, label: label, cohort: site}
decode: argmax
metric: accuracy
"""


@pytest.fixture(scope="session")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service with labelled rows: the model is right about all but the first ten, which are all of one site."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "tiny.onnx").write_bytes((models / "tiny.onnx").read_bytes())
    engine = OnnxEngine(folder / "tiny.onnx")
    rows = np.random.default_rng(3).normal(size=(NUM_ROWS, 30)).astype(np.float32)
    (output,) = engine.run({engine.signature.inputs[0].name: rows}).values()
    engine.close()
    labels = output.argmax(axis=1)
    labels[:NUM_WRONG] = 1 - labels[:NUM_WRONG]
    names = [f"f{i}" for i in range(30)]
    lines = [",".join([*names, "label", "site"])]
    lines += [
        ",".join([*(repr(float(value)) for value in row), str(label), "north" if i < 20 else "south"])
        for i, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    (folder / "service.yaml").write_text(SERVICE % ", ".join(names))
    return folder / "service.yaml"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(str(tmp_path / "catalog"))
