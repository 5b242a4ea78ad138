"""A small classifier with weights of very different sizes, and rows that it is right about but for a few."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from benchmarks.models import build, tensor, write
from trivet.engine.onnx import OnnxEngine
from trivet.spec.service import Model
from trivet.variants.source import Arrays, Source

collect_ignore = [] if find_spec("openvino") else ["test_openvino_bf16.py"]

NUM_ROWS, NUM_INPUTS, NUM_CLASSES = 900, 16, 4


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x FP32[N,16] -> three layers -> y FP32[N,4]; the second has outliers, which eight bits are bad at."""
    rng = np.random.default_rng(5)
    weights = {
        "w1": rng.normal(size=(NUM_INPUTS, 32)).astype(np.float32),
        "b1": rng.normal(size=(1, 32)).astype(np.float32),
        "w2": rng.normal(size=(32, 32)).astype(np.float32),
        "w3": rng.normal(size=(32, NUM_CLASSES)).astype(np.float32),
    }
    weights["w2"][0] *= 300
    weights["w1"][:, 0] *= 1e-3
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["h2"], name="second"),
        helper.make_node("Relu", ["h2"], ["r2"]),
        helper.make_node("MatMul", ["r2", "w3"], ["y"]),
    ]
    inputs, outputs = [tensor("x", "FP32", ["N", NUM_INPUTS])], [tensor("y", "FP32", ["N", NUM_CLASSES])]
    return write(
        build("classifier", nodes, inputs, outputs, weights), tmp_path_factory.mktemp("net") / "net.onnx"
    )


@pytest.fixture(scope="session")
def net_of_convolutions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(6)
    weights = {
        "k1": rng.normal(size=(8, 1, 3, 3)).astype(np.float32),
        "k2": rng.normal(size=(8, 8, 3, 3)).astype(np.float32),
        "w": rng.normal(size=(8, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "k2"], ["c"]),
        helper.make_node("Add", ["c", "c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    inputs, outputs = [tensor("x", "FP32", ["N", 1, 8, 8])], [tensor("y", "FP32", ["N", 3])]
    return write(
        build("convolutions", nodes, inputs, outputs, weights), tmp_path_factory.mktemp("net") / "conv.onnx"
    )


class Accuracy:
    """1 where the largest output is the label's."""

    def __init__(self, labels: Sequence[int]) -> None:
        self.labels = labels

    def __call__(self, answers: Sequence[Arrays], places: Sequence[int]) -> list[float]:
        return [
            float(answer["y"].argmax() == self.labels[place])
            for answer, place in zip(answers, places, strict=True)
        ]


def source_of(path: Path, rows: NDArray[np.float32], **changes: object) -> Source:
    """A source of a model with the input x, which is right on nine rows of ten. `rows` may be empty."""
    engine = OnnxEngine(path)
    labels = [int(engine.run({"x": row[None]})["y"].argmax()) for row in rows]
    labels = [(label + 1) % 3 if place % 10 == 0 else label for place, label in enumerate(labels)]
    num_fitting = len(rows) // 3
    settings = {
        "model": "net",
        "path": path,
        "signature": engine.signature,
        "declared": Model(file=path.name),
        "rows": [{"x": row[None]} for row in rows],
        "labels": labels or None,
        "calibration": range(num_fitting),
        "certification": range(num_fitting, len(rows)),
        "judge": Accuracy(labels) if labels else None,
    }
    engine.close()
    return Source(**(settings | changes))  # type: ignore[arg-type]  # a test's own settings


@pytest.fixture(scope="session")
def source(classifier: Path) -> Source:
    rows = np.random.default_rng(7).normal(size=(NUM_ROWS, NUM_INPUTS)).astype(np.float32)
    return source_of(classifier, rows)


@pytest.fixture(scope="session")
def bare(classifier: Path) -> Source:
    """The same without any data."""
    return source_of(classifier, np.empty((0, NUM_INPUTS), np.float32))
