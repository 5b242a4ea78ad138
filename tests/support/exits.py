"""A model in two or three parts with exits between them, whose answers tell where they come from.

The front answers x and hands x on; what follows answers ten times as much. A row is sure where its two numbers are far
enough apart.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from benchmarks import models as build
from tests.support.runtime import Answer, Served, serve
from trivet.pipeline.exits import confidences
from trivet.runtime.live_exits import exit_word
from trivet.runtime.preparing.preparing import Prepared
from trivet.spec.exit import Exit

RULE = Exit(output="y", at_least=0.9)
SURE, UNSURE = [3.0, 0.0], [1.0, 0.0]
TWO = """
models:
  front: {file: front.onnx, levers: {max_batch_size: 4, execution: inline, threads: 1}}
  rest: {file: rest.onnx, levers: {max_batch_size: 4, execution: inline, threads: 1}}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: rest
slo: {deadline: 10s}
"""


def model(name: str, outputs: Sequence[str], nodes: Sequence[Any], weights: dict[str, Any]) -> ModelProto:
    inputs = [build.tensor(name, "FP32", ["n", 2])]
    return build.build("m", nodes, inputs, [build.tensor(one, "FP32", ["n", 2]) for one in outputs], weights)


def front() -> ModelProto:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["h"])]
    return model("x", ["y", "h"], nodes, {})


def times(factor: float, *, also: Sequence[str] = ()) -> ModelProto:
    """h -> y, `factor` times as much; further outputs are h again."""
    nodes = [helper.make_node("Mul", ["h", "f"], ["y"])]
    nodes += [helper.make_node("Identity", ["h"], [name]) for name in also]
    return model("h", ["y", *also], nodes, {"f": np.float32(factor)})


def write_parts(folder: Path) -> Path:
    """front.onnx, middle.onnx (half of x, and x again as k) and rest.onnx."""
    build.write(front(), folder / "front.onnx")
    build.write(times(10), folder / "rest.onnx")
    build.write(times(0.5, also=["k"]), folder / "middle.onnx")
    return folder


def expected(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The offline computation: the rule on the front's scores, row by row."""
    sure = confidences(RULE, x) >= RULE.at_least
    return np.where(sure[:, None], x, 10 * x)


def rows(*values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def word(answer: Answer) -> str:
    assert answer.request is not None
    return exit_word(answer.request)


def outputs(answer: Answer) -> NDArray[np.float32]:
    assert answer.outputs is not None, answer.error
    assert list(answer.outputs) == ["y"]
    return answer.outputs["y"]


def run(ready: Prepared, requests: Sequence[NDArray[np.float32]], **inputs: NDArray[Any]) -> list[Answer]:
    """All requests at once, each with `inputs` beside x; their answers."""
    answers: list[Answer] = []

    async def work(served: Served) -> None:
        answers.extend(served.submit({"x": x, **inputs}) for x in requests)
        for answer in answers:
            await answer.done.wait()

    serve(ready, work)
    return answers
