"""A cascade of two small models: the front sees a noisy copy of what the rest sees clearly."""

import csv
from pathlib import Path

import msgspec
import numpy as np
from onnx import helper

from benchmarks import models as build
from trivet.spec.certified import Certificate, CertifiedPoint, certificate_text
from trivet.spec.service_file import load_configuration

SERVICE = """
name: two
models:
  front: {file: front.onnx}
  rest: {file: rest.onnx}
pipeline:
  - model: front
    exit: {output: y, max_loss: 2%}
  - model: rest
cascade: {audit: AUDIT, confidence: 95%}
slo: {deadline: 10s}
data: {path: rows.csv, columns: {x: [a, b, c, d]}, label: label, split: part}
decode: argmax
metric: accuracy
"""


def write_cascade(folder: Path, *, sign: float = 1.0, audit: str = "2%", num_rows: int = 1500) -> Path:
    """front.onnx (x -> y: its first two numbers), rest.onnx (the last two, times `sign`), rows.csv, service.yaml."""
    cut = {"zero": np.array([0], np.int64), "two": np.array([2], np.int64), "four": np.array([4], np.int64)}
    axis = {"one": np.array([1], np.int64)}
    x, y = build.tensor("x", "FP32", ["n", 4]), build.tensor("y", "FP32", ["n", 2])
    nodes = [
        helper.make_node("Slice", ["x", "zero", "two", "one"], ["y"]),
        helper.make_node("Identity", ["x"], ["h"]),
    ]
    outputs = [y, build.tensor("h", "FP32", ["n", 4])]
    build.write(build.build("front", nodes, [x], outputs, {**cut, **axis}), folder / "front.onnx")
    nodes = [
        helper.make_node("Slice", ["h", "two", "four", "one"], ["clear"]),
        helper.make_node("Mul", ["clear", "sign"], ["y"]),
    ]
    inputs = [build.tensor("h", "FP32", ["n", 4])]
    weights = {**cut, **axis, "sign": np.float32(sign)}
    build.write(build.build("rest", nodes, inputs, [y], weights), folder / "rest.onnx")
    rng = np.random.default_rng(5)
    clear = rng.normal(scale=4, size=(num_rows, 2)).astype(np.float32)
    noisy = (clear + rng.normal(size=clear.shape)).astype(np.float32)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("a", "b", "c", "d", "label", "part"))
        for i, (one, other) in enumerate(zip(noisy, clear, strict=True)):
            writer.writerow((*one, *other, int(other.argmax()), "train" if i % 10 == 0 else "test"))
    path = folder / "service.yaml"
    path.write_text(SERVICE.replace("AUDIT", audit))
    return path


def write_certificate(path: Path, points: list[tuple[float, float]], max_loss: float = 0.02) -> Certificate:
    """By hand, for the service at `path`. Args: points: threshold, and the share of changed answers, of each."""
    file = path.with_name("certified.yaml")
    file.write_text("")  # the service can be read where there is one
    made = Certificate(
        stages=load_configuration(path).stages_digest(2),
        exits=("front",),
        max_loss=max_loss,
        confidence=0.95,
        loss="net",
        points=tuple(
            CertifiedPoint(thresholds=(threshold,), risk_bound=0.01, saving=0.5, rows=900, changed=changed)
            for threshold, changed in points
        ),
    )
    file.write_text(certificate_text(made))
    return made


def with_points(made: Certificate, *points: CertifiedPoint) -> Certificate:
    return msgspec.structs.replace(made, points=points)
