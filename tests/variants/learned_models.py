"""Small teachers with rows, for the tests of students and of pruned models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from benchmarks.models import build, tensor, write
from trivet.engine.onnx import OnnxEngine
from trivet.spec.service import Model
from trivet.variants.source import Source

Rows = Sequence[Mapping[str, NDArray[Any]]]


def source(path: Path, rows: Rows, **more: Any) -> Source:
    """The first three quarters of the rows to learn from, the others to choose by."""
    cut = len(rows) * 3 // 4
    return Source(
        model="m", path=path, signature=OnnxEngine(path).signature, declared=Model(file=path.name), rows=rows,
        calibration=range(cut), certification=range(cut, len(rows)), seed=7, **more,
    )  # fmt: skip


def text_teacher(path: Path) -> Path:
    """ids, mask INT64[b,s] -> scores FP32[b,3]: each word votes for one of three classes."""
    random = np.random.default_rng(11)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("Cast", ["mask"], ["weights"], to=1),
        helper.make_node("Unsqueeze", ["weights", "axis"], ["wide"]),
        helper.make_node("Mul", ["words", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "places"], ["votes"], keepdims=0),
        helper.make_node("Softmax", ["votes"], ["scores"], axis=-1),
    ]
    weights = {
        "table": random.standard_normal((40, 3)).astype(np.float32),
        "axis": np.array([2], np.int64),
        "places": np.array([1], np.int64),
    }
    ends = [tensor("ids", "INT64", ["b", "s"]), tensor("mask", "INT64", ["b", "s"])]
    return write(build("text", nodes, ends, [tensor("scores", "FP32", ["b", 3])], weights), path)


def text_rows(num: int) -> list[dict[str, NDArray[Any]]]:
    random, rows = np.random.default_rng(12), []
    for _ in range(num):
        length, padding = int(random.integers(1, 9)), int(random.integers(0, 3))
        ids = np.concatenate([random.integers(1, 40, length), np.zeros(padding, np.int64)])
        rows.append({"ids": ids[None], "mask": (np.arange(length + padding) < length).astype(np.int64)[None]})
    return rows


def bytes_teacher(path: Path) -> Path:
    """data INT32[b,128] -> vector FP32[b,4] of length 1: the table's mean over the first half, by byte."""
    random = np.random.default_rng(13)
    nodes = [
        helper.make_node("Slice", ["data", "start", "end", "axis"], ["half"]),
        helper.make_node("Gather", ["table", "half"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["vector"], axis=-1, p=2),
    ]
    weights = {
        "table": random.standard_normal((256, 4)).astype(np.float32),
        "start": np.array([0], np.int64),
        "end": np.array([64], np.int64),
        "axis": np.array([1], np.int64),
    }
    ends = [tensor("data", "INT32", ["b", 128])], [tensor("vector", "FP32", ["b", 4])]
    return write(build("bytes", nodes, *ends, weights), path)


def bytes_rows(num: int) -> list[dict[str, NDArray[Any]]]:
    random, rows = np.random.default_rng(14), []
    for _ in range(num):
        favourites = random.integers(0, 256, 4)
        rows.append({"data": random.choice(favourites, (1, 128)).astype(np.int32)})
    return rows


def layers(
    path: Path, weights: Sequence[NDArray[Any]], biases: Sequence[NDArray[Any]], *, gemm: bool = True
) -> Path:
    """x FP32[b,n] -> y: products with Relu between them, as Gemm or as MatMul and Add."""
    nodes, constants, given = [], {}, "x"
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        constants[f"w{i}"], constants[f"b{i}"] = weight.astype(np.float32), bias.astype(np.float32)
        last = i == len(weights) - 1
        answer = "y" if last else f"h{i}"
        if gemm:
            nodes.append(helper.make_node("Gemm", [given, f"w{i}", f"b{i}"], [answer]))
        else:
            nodes.append(helper.make_node("MatMul", [given, f"w{i}"], [f"p{i}"]))
            nodes.append(helper.make_node("Add", [f"b{i}", f"p{i}"], [answer]))
        if not last:
            nodes.append(helper.make_node("Relu", [answer], [f"r{i}"]))
            given = f"r{i}"
    ends = [tensor("x", "FP32", ["b", len(weights[0])])], [tensor("y", "FP32", ["b", weights[-1].shape[1]])]
    return write(build("layers", nodes, *ends, constants), path)


def number_rows(num: int, width: int, seed: int = 15) -> list[dict[str, NDArray[Any]]]:
    """Small integers, so that sums of products are exact."""
    random = np.random.default_rng(seed)
    return [{"x": random.integers(-3, 4, (1, width)).astype(np.float32)} for _ in range(num)]
