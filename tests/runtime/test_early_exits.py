"""Rows that leave early through a real runtime: who answers what, however requests and batches are cut."""

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from benchmarks import models as build
from tests.support.exits import (
    RULE,
    SURE,
    TWO,
    UNSURE,
    expected,
    model,
    outputs,
    rows,
    run,
    word,
    write_parts,
)
from tests.support.runtime import Served, prepared, serve
from trivet.errors import EngineError, SpecError
from trivet.pipeline.exits import confidences
from trivet.runtime.preparing.preparing import Prepared
from trivet.spec.exit import Exit, ExitCalibration


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("exits"))


@pytest.fixture
def two(folder: Path) -> Prepared:
    return prepared(folder, TWO)


def test_a_row_leaves_where_it_is_sure_and_goes_on_where_it_is_not(two: Prepared) -> None:
    sure, unsure = run(two, [rows(SURE), rows(UNSURE)])
    np.testing.assert_array_equal(outputs(sure), rows(SURE))
    np.testing.assert_array_equal(outputs(unsure), 10 * rows(UNSURE))
    assert (word(sure), word(unsure)) == ("front", "rest")


def test_the_answer_has_only_the_outputs_of_the_last_model(two: Prepared) -> None:
    async def work(served: Served) -> None:
        assert [spec.name for spec in served.live.signature.outputs] == ["y"]
        assert list(await served.ask({"x": rows(SURE)})) == ["y"]

    serve(two, work)


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(
        st.lists(st.tuples(st.floats(-4, 4, width=32), st.floats(-4, 4, width=32)), min_size=1, max_size=9),
        min_size=1,
        max_size=6,
    )
)
def test_answers_are_those_of_each_row_alone_however_rows_come_together(
    folder: Path, requests: list[list[tuple[float, float]]]
) -> None:
    """Batches of 4: requests of up to 9 rows are split at the front, part at the exit, and are split again behind."""
    arrays = [np.array(one, np.float32) for one in requests]
    for x, answer in zip(arrays, run(prepared(folder, TWO), arrays), strict=True):
        np.testing.assert_array_equal(outputs(answer), expected(x))
        sure = confidences(RULE, x) >= RULE.at_least
        assert answer.request is not None
        names = answer.request.exit
        by_row = [names] * len(x) if isinstance(names, str) else names
        assert by_row == ["front" if one else "rest" for one in sure]


def test_rows_of_one_request_part_and_come_back_in_their_order(two: Prepared) -> None:
    [answer] = run(two, [rows(UNSURE, SURE, UNSURE)])
    np.testing.assert_array_equal(outputs(answer), [[10, 0], [3, 0], [10, 0]])
    assert word(answer) == "rest+front"


def test_counts_and_the_share_are_of_rows(two: Prepared) -> None:
    async def work(served: Served) -> None:
        point = served.live.models[0].exit
        assert point is not None
        before = served.live.chain.start(10**9).deadline_ns
        await served.ask({"x": rows(SURE, UNSURE, SURE)})
        await served.ask({"x": rows(SURE)})
        assert (point.num_left, point.num_on) == (3, 1)
        assert point.share_on == (8 + 1) / (8 + 4)
        rest_ns = served.live.models[1].expected_ns()
        assert served.live.chain.start(10**9).deadline_ns == 10**9 - round(point.share_on * rest_ns)
        assert before == 10**9 - rest_ns

    serve(two, work)


THREE = """
models:
  front: {file: front.onnx, levers: {max_batch_size: 4}}
  middle: {file: middle.onnx}
  rest: {file: rest.onnx}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.95}
  - model: middle
    exit: {output: y, at_least: 0.9, calibration: {temperature: 0.25}}
  - model: rest
    inputs: {h: k}
slo: {deadline: 10s}
"""


def test_two_exits_one_after_the_other(folder: Path) -> None:
    """The middle answers half of x and is sure earlier; a request may leave its rows at all three places."""
    requests = [rows([4, 0], [2, 0], [0.5, 0]), rows([2, 0]), rows([0.5, 0], [2, 0]), rows([4, 0], [0.5, 0])]
    answers = run(prepared(folder, THREE), requests)
    wanted = [[[4, 0], [1, 0], [5, 0]], [[1, 0]], [[5, 0], [1, 0]], [[4, 0], [5, 0]]]
    for answer, array in zip(answers, wanted, strict=True):
        np.testing.assert_array_equal(outputs(answer), array)
    assert [word(answer) for answer in answers] == [
        "front+middle+rest",
        "middle",
        "rest+middle",
        "front+rest",
    ]
    assert answers[0].request is not None
    assert answers[0].request.exit == ["front", "middle", "rest"]


STEPS = """
import numpy as np

def double(inputs):
    return {"x": 2 * inputs["x"], "rows": np.array([len(inputs["x"])])}

def last(inputs):
    assert sorted(inputs) == ["n", "y"], sorted(inputs)
    return {"total": inputs["y"].sum(axis=1), "rows": inputs["n"]}
"""
WITH_STEPS = """
inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]
outputs: [{name: total, datatype: FP32, shape: [-1]}, {name: rows, datatype: INT64, shape: [1]}]
models: {front: {file: front.onnx}, rest: {file: rest.onnx}}
pipeline:
  - preprocess: steps.py:double
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: rest
  - postprocess: steps.py:last
    inputs: {y: y, n: rows}
slo: {deadline: 10s}
"""


def test_steps_behind_the_last_model_see_no_difference(folder: Path) -> None:
    answers = run(prepared(folder, WITH_STEPS, STEPS), [rows([2, 0]), rows([1, 0], [2, 0]), rows([1, 0])])
    assert [answer.error for answer in answers] == [None] * 3
    found = [(answer.outputs["total"].tolist(), answer.outputs["rows"].tolist()) for answer in answers]  # type: ignore[index]
    assert found == [([4.0], [1]), ([20.0, 4.0], [2]), ([20.0], [1])]
    assert [word(answer) for answer in answers] == ["front", "rest+front", "rest"]


BETWEEN = WITH_STEPS.replace("  - model: rest", "  - preprocess: steps.py:through\n  - model: rest")


def test_rows_stay_together_where_a_step_stands_between(folder: Path) -> None:
    """Python code may look at all rows at once: who is sure goes on with the others."""
    code = STEPS + "\ndef through(inputs):\n    return {'h': inputs['h']}\n"
    answers = run(prepared(folder, BETWEEN, code), [rows([1, 0], [2, 0]), rows([2, 0], [2, 0])])
    found = [answer.outputs["total"].tolist() for answer in answers]  # type: ignore[index]
    assert (found, [word(answer) for answer in answers]) == ([[20.0, 40.0], [4.0, 4.0]], ["rest", "front"])


PYTHON = """
class Front:
    def predict(self, inputs):
        return {"y": inputs["x"], "h": inputs["x"]}
"""
PYTHON_FRONT = """
inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]
models:
  front: {python: "steps.py:Front"}
  rest: {file: rest.onnx}
pipeline:
  - model: front
    outputs: [{name: y, datatype: FP32, shape: [-1, 2]}, {name: h, datatype: FP32, shape: [-1, 2]}]
    exit: {output: y, at_least: 0.9}
  - model: rest
slo: {deadline: 60s}
"""


def test_a_python_model_may_stand_in_front(folder: Path) -> None:
    requests = [rows(SURE), rows(UNSURE, SURE), rows(UNSURE)]
    answers = run(prepared(folder, PYTHON_FRONT, PYTHON), requests)
    for x, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(outputs(answer), expected(x))


RAGGED = """
models:
  front:
    file: ragged_front.onnx
    ragged: {x: {axis: 1, pad: 0}, mask: {axis: 1, pad: 0}}
    cut: {h: {axis: 1, like: x}}
  rest:
    file: ragged_rest.onnx
    ragged: {h: {axis: 1, pad: 0}, mask: {axis: 1, pad: 0}}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: rest
slo: {deadline: 10s}
"""


def ragged_front() -> ModelProto:
    """x [n, l], mask [n, l] -> h = x * mask; y: its sum, and 0."""
    nodes = [
        helper.make_node("Mul", ["x", "mask"], ["h"]),
        helper.make_node("ReduceSum", ["h", "one"], ["s"], keepdims=1),
        helper.make_node("Mul", ["s", "unit"], ["y"]),
    ]
    inputs = [build.tensor(name, "FP32", ["n", "l"]) for name in ("x", "mask")]
    outputs = [build.tensor("y", "FP32", ["n", 2]), build.tensor("h", "FP32", ["n", "l"])]
    weights = {"one": np.array([1]), "unit": np.array([[1.0, 0.0]], np.float32)}
    return build.build("front", nodes, inputs, outputs, weights)


def ragged_rest() -> ModelProto:
    """h, mask [n, l] -> y: ten times the sum of h * mask, and 0."""
    nodes = [
        helper.make_node("Mul", ["h", "mask"], ["m"]),
        helper.make_node("ReduceSum", ["m", "one"], ["s"], keepdims=1),
        helper.make_node("Mul", ["s", "unit"], ["y"]),
    ]
    inputs = [build.tensor(name, "FP32", ["n", "l"]) for name in ("h", "mask")]
    weights = {"one": np.array([1]), "unit": np.array([[10.0, 0.0]], np.float32)}
    return build.build("rest", nodes, inputs, [build.tensor("y", "FP32", ["n", 2])], weights)


def test_ragged_inputs_go_on_in_their_own_lengths_beside_what_the_request_brought(folder: Path) -> None:
    build.write(ragged_front(), folder / "ragged_front.onnx")
    build.write(ragged_rest(), folder / "ragged_rest.onnx")
    ready = prepared(folder, RAGGED)
    lengths_and_values = [(9, [0.1, 0.5]), (10, [0.5]), (9, [0.2]), (10, [0.1, 0.1, 0.6]), (3, [1.0, 0.1])]
    requests = [
        {
            "x": np.array([[value] * length for value in values], np.float32),
            "mask": np.ones((len(values), length), np.float32),
        }
        for length, values in lengths_and_values
    ]
    found: list[Any] = []

    async def work(served: Served) -> None:
        found.extend(await served.ask_all(requests))

    serve(ready, work)
    for request, answer in zip(requests, found, strict=True):
        score = np.stack([request["x"].sum(axis=1), np.zeros(len(request["x"]))], axis=1).astype(np.float32)
        np.testing.assert_allclose(answer["y"], expected(score), rtol=1e-5)


FAILS = """
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
models: {front: {file: front.onnx}, rest: {python: "steps.py:Rest"}}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: rest
    inputs: [{name: h, datatype: FP32, shape: [-1, 2]}]
slo: {deadline: 60s}
"""


def test_a_failure_further_on_is_told_to_who_went_there(folder: Path) -> None:
    code = """
class Rest:
    def predict(self, inputs):
        if (inputs["h"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["h"] * 10}
"""
    ready = prepared(folder, FAILS, code)
    leaves, fails, parts = run(ready, [rows(SURE), rows([-1, 0]), rows(SURE, [-1, 0])])
    np.testing.assert_array_equal(outputs(leaves), rows(SURE))
    for answer in (fails, parts):
        assert isinstance(answer.error, EngineError)
        assert "negative" in str(answer.error)


def test_a_generator_behind_an_exit_is_refused(folder: Path) -> None:
    code = "class Rest:\n    def predict(self, inputs):\n        yield {'y': inputs['h']}\n"
    with pytest.raises(SpecError, match=r"yaml:6: 'rest' answers in chunks, and an exit gives whole answers"):
        prepared(folder, FAILS, code)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("output: y", "output: z", r"yaml:7: model 'front' has no output 'z'; known: y, h"),
        ("rest.onnx", "wide.onnx", r"yaml:7: an exit answers as 'rest' does, which gives 'w' FP32 \[-1, 2\]"),
    ],
)
def test_what_does_not_fit_is_told_at_load_with_its_line(
    folder: Path, old: str, new: str, message: str
) -> None:
    build.write(model("h", ["w"], [helper.make_node("Identity", ["h"], ["w"])], {}), folder / "wide.onnx")
    with pytest.raises(SpecError, match=message):
        prepared(folder, TWO.replace(old, new))


PAGE = (Path(__file__).parents[2] / "docs" / "early-exit.md").read_text()


def test_the_pages_example_runs(tmp_path: Path) -> None:
    example = re.findall(r"```yaml\n(models:.*?)```", PAGE, re.DOTALL)[0]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in ("logits", "hidden")]
    build.write(model("x", ["logits", "hidden"], nodes, {}), tmp_path / "front.onnx")
    nodes = [helper.make_node("Mul", ["hidden", "f"], ["logits"])]
    build.write(model("hidden", ["logits"], nodes, {"f": np.float32(10)}), tmp_path / "rest.onnx")
    sure, unsure = run(prepared(tmp_path, example), [rows(SURE), rows(UNSURE)])
    assert (word(sure), word(unsure)) == ("front", "rest")


def test_every_key_of_an_exit_is_on_the_page() -> None:
    keys = [field.encode_name for kind in (Exit, ExitCalibration) for field in msgspec.structs.fields(kind)]
    assert [
        key for key in keys if key != "calibration" and f"`{key}`" not in PAGE and f".{key}`" not in PAGE
    ] == []


def test_rows_that_cannot_be_put_together_fail_their_request_alone(folder: Path) -> None:
    """Python code whose answers are wider than the front's, which no declaration has told."""
    code = (
        "class Rest:\n    def predict(self, inputs):\n        return {'y': inputs['h'].repeat(2, axis=1)}\n"
    )
    text = FAILS.replace(
        "{name: y, datatype: FP32, shape: [-1, 2]}", "{name: y, datatype: FP32, shape: [-1, -1]}"
    )
    parted, unsure = run(prepared(folder, text, code), [rows(SURE, UNSURE), rows(UNSURE)])
    assert isinstance(parted.error, EngineError)
    assert "a row of output 'y' has the shape [2] at exit 'front' and [4] further on" in str(parted.error)
    assert outputs(unsure).tolist() == [[1.0, 1.0, 0.0, 0.0]]
