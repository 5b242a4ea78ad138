"""Two models on texts: the first answers easy ones as well as the last does, and hard ones wrongly."""

import csv
from pathlib import Path

import numpy as np
from onnx import helper

from benchmarks import models as build

STEPS = """
import numpy as np

def _vector(inputs, turns):
    words = inputs["text"][0].decode().split()
    sign = 1.0 if "yes" in words else -1.0
    return np.array([[0.0, -sign if turns and "hard" in words else sign]], np.float32)

def rough(inputs):
    return {"x": _vector(inputs, True)}

def exact(inputs):
    sum(range(5_000))  # what the dear model costs
    return {"z": _vector(inputs, False)}
"""
SERVICE = """
name: two
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models: {cheap: {file: cheap.onnx}, dear: {file: dear.onnx}}
pipeline:
  - {preprocess: "steps.py:rough"}
  - model: cheap
  - {preprocess: "steps.py:exact", inputs: [{name: text, datatype: BYTES, shape: [1]}]}
  - model: dear
route: {input: text, max_loss: 2%}
slo: {deadline: 10s}
data: {path: rows.csv, columns: {text: text}, label: label}
decode: argmax
metric: accuracy
"""


def write_routed(folder: Path, *, num_rows: int = 800) -> Path:
    """cheap.onnx (x -> y), dear.onnx (z -> y), steps.py, rows.csv, service.yaml."""
    for name, takes in (("cheap", "x"), ("dear", "z")):
        node = helper.make_node("Identity", [takes], ["y"])
        inputs, outputs = [build.tensor(takes, "FP32", ["n", 2])], [build.tensor("y", "FP32", ["n", 2])]
        build.write(build.build(name, [node], inputs, outputs), folder / f"{name}.onnx")
    (folder / "steps.py").write_text(STEPS)
    rng = np.random.default_rng(3)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for i in range(num_rows):
            words = ["hard" if i % 3 == 0 else "easy", f"word{rng.integers(50)}"]
            label = int(rng.integers(2))
            writer.writerow((" ".join([*words, "yes" if label else "no"]), label))
    path = folder / "service.yaml"
    path.write_text(SERVICE)
    return path
