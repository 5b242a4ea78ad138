"""Rows that leave early through a real runtime: who answers what, however requests and batches are cut.

The front answers x and hands x on; what follows answers ten times as much, so that an answer tells where it came from. A
row is sure where its two numbers are far enough apart.
"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper

from benchmarks import models as build
from tests.support.runtime import Answer, Served, prepared, serve
from trivet.errors import DeadlineError, EngineError, RefusedError, SpecError
from trivet.pipeline.exits import confidences
from trivet.runtime.live import LiveModel
from trivet.runtime.live_exits import exit_word
from trivet.runtime.preparing import Prepared, PreparedModel
from trivet.runtime.profile import Profile
from trivet.schedule.job import DROPPED
from trivet.spec.exit import Exit, ExitCalibration

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exits")
    build.write(front(), folder / "front.onnx")
    build.write(times(10), folder / "rest.onnx")
    build.write(times(0.5, also=["k"]), folder / "middle.onnx")
    return folder


@pytest.fixture
def two(folder: Path) -> Prepared:
    return prepared(folder, TWO)


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


THREADS = TWO.replace("execution: inline", "execution: thread")


def test_a_request_that_is_cancelled_between_its_models_is_not_answered(folder: Path) -> None:
    async def work(served: Served) -> None:
        gone, other = (served.submit({"x": rows(UNSURE, SURE)}) for _ in range(2))
        assert gone.request is not None
        while gone.request.split is None:  # until its rows have parted
            await asyncio.sleep(0)
        assert served.runtime.cancel(gone.request)
        assert not served.runtime.cancel(gone.request)
        np.testing.assert_array_equal((await served.ask({"x": rows(UNSURE)}))["y"], 10 * rows(UNSURE))
        await other.done.wait()
        assert served.live.num_unanswered() == 0
        assert not gone.done.is_set()
        assert served.live.models[0].counters.failed == {"CANCELED": 1}

    serve(prepared(folder, THREADS), work)


class Held:
    """An executor whose batches begin when they are let go."""

    def __init__(self, model: LiveModel) -> None:
        [self._executor] = model.idle
        model.idle[:] = [self]
        self._waiting: list[tuple[Any, Any, int]] = []

    def start(self, build: Any, done: Any, answer_by_ns: int) -> None:
        self._waiting.append((build, done, answer_by_ns))

    def let_go(self) -> None:
        self._executor.start(*self._waiting.pop(0))

    def when_back(self, callback: Any) -> None:
        callback()

    def close(self) -> None:
        self._executor.close()


# The front in the loop, the rest beside it: one may run while the other does.
BESIDE = TWO.replace(
    "rest.onnx, levers: {max_batch_size: 4, execution: inline",
    "rest.onnx, levers: {max_batch_size: 4, execution: thread",
)


async def turns(num: int = 5) -> None:
    for _ in range(num):
        await asyncio.sleep(0)


@pytest.mark.parametrize("leaves", ["cancelled", "dropped"])
def test_rows_that_wait_for_the_rest_are_taken_out_with_their_request(folder: Path, leaves: str) -> None:
    clock = [10**9]

    async def work(served: Served) -> None:
        rest = served.live.models[1]
        held = Held(rest)
        first = served.submit({"x": rows(UNSURE)})
        await turns()
        parted = served.submit({"x": rows(UNSURE, SURE)}, timeout_ns=10**9)
        await turns()
        assert sum(len(queue) for queue in rest.scheduled.queues.values()) == 1
        if leaves == "cancelled":
            assert parted.request is not None
            assert served.runtime.cancel(parted.request)
        else:
            clock[0] += 2 * 10**9
            await served.ask({"x": rows(SURE)})  # somebody else's turn
            assert isinstance(parted.error, DeadlineError)
            assert parted.request is not None
            assert parted.request.state == DROPPED
        assert sum(len(queue) for queue in rest.scheduled.queues.values()) == 0
        held.let_go()
        await first.done.wait()
        assert outputs(first).tolist() == [[10.0, 0.0]]
        assert parted.outputs is None

    serve(prepared(folder, BESIDE), work, now_ns=lambda: clock[0])


def test_what_is_ready_too_late_is_an_error_for_the_whole_request(folder: Path) -> None:
    clock = [10**9]

    async def work(served: Served) -> None:
        held = Held(served.live.models[1])
        parted = served.submit({"x": rows(UNSURE, SURE)}, timeout_ns=10**9)
        await turns()
        clock[0] += 2 * 10**9
        held.let_go()
        await parted.done.wait()
        assert isinstance(parted.error, DeadlineError)

    serve(prepared(folder, BESIDE), work, now_ns=lambda: clock[0])


def test_time_is_kept_for_those_who_go_on_and_nobody_is_answered_late(folder: Path) -> None:
    """The rest takes a second by its profile, and 500 ms are given: hopeless for all who might go on, at first."""
    ready = prepared(folder, TWO)
    rest = ready.stages[1]
    assert isinstance(rest, PreparedModel)
    rest.profile = Profile({0: {1: [10**9], 4: [2 * 10**9]}}, rest.profile.batching, "a second")

    async def work(served: Served) -> None:
        with pytest.raises(RefusedError, match="deadline cannot be met by an idle server either"):
            await served.ask({"x": rows(SURE)}, timeout_ns=500_000_000)
        point = served.live.models[0].exit
        assert point is not None
        point.learn(100_000, 0)  # nearly everybody leaves
        answer = await served.ask({"x": rows(SURE)}, timeout_ns=500_000_000)
        np.testing.assert_array_equal(answer["y"], rows(SURE))
        for unsure in (rows(UNSURE), rows(SURE, UNSURE)):
            with pytest.raises(RefusedError, match="by an idle server either"):
                await served.ask({"x": unsure}, timeout_ns=500_000_000)
        assert (await served.ask({"x": rows(UNSURE)}))["y"].tolist() == [[10.0, 0.0]]

    serve(ready, work)


FAILS = """
inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]
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
    ready = prepared(
        folder, FAILS.replace("inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]\n", "", 1), code
    )
    leaves, fails, parts = run(ready, [rows(SURE), rows([-1, 0]), rows(SURE, [-1, 0])])
    np.testing.assert_array_equal(outputs(leaves), rows(SURE))
    for answer in (fails, parts):
        assert isinstance(answer.error, EngineError)
        assert "negative" in str(answer.error)


CHUNKS = FAILS.replace("inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]\n", "", 1)


def test_a_generator_behind_an_exit_is_refused(folder: Path) -> None:
    code = "class Rest:\n    def predict(self, inputs):\n        yield {'y': inputs['h']}\n"
    with pytest.raises(SpecError, match=r"yaml:6: 'rest' answers in chunks, and an exit gives whole answers"):
        prepared(folder, CHUNKS, code)


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
