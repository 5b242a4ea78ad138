"""Steps of a pipeline in a process of their own: the same answers as in the loop, and faults that stay alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import models as build
from tests.support.runtime import Served, prepared, serve, text
from trivet.errors import BadRequestError, DeadlineError, EngineError, SpecError
from trivet.runtime.preparing.resolving import StepProfile, step_execution
from trivet.runtime.steps import StepStage
from trivet.spec.service import Stage

CODE = """
import ctypes, os
import numpy as np
from trivet.errors import BadRequestError

def letters(inputs):
    word = inputs["text"][0].decode()
    match word:
        case "": raise BadRequestError("input 'text' is empty")
        case "raise": raise ValueError("no such word")
        case "abort": os.abort()
        case "shape": return {"x": np.zeros((1, 3, 1), np.float32)}
        case "hang": ctypes.PyDLL(None).pause()  # holds the interpreter lock for ever
    return {"x": np.array([[len(word), word.count("a")]], np.float32)}

class Double:
    def load(self): self.factor = np.float32(2)
    def predict(self, inputs): return {"twice": inputs["x"] * self.factor}

async def later(inputs): return {"x": np.ones((1, 2), np.float32)}
"""
SERVICE = """
inputs: [{{name: text, datatype: BYTES, shape: [1]}}]
outputs: [{{name: twice, datatype: FP32, shape: [-1, 2]}}]
models: {{m: {{file: m.onnx, batching: off}}}}
pipeline:
  - {{preprocess: "steps.py:{step}", execution: {execution}, outputs: [{{name: x, datatype: FP32, shape: [-1, 2]}}]}}
  - model: m
  - {{postprocess: "steps.py:Double", execution: {execution}, inputs: {{x: y}}}}
slo: {{deadline: 20s}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build.write(build.identity(), tmp_path / "m.onnx")
    return tmp_path


def service(execution: str = "process", step: str = "letters") -> str:
    return SERVICE.format(execution=execution, step=step)


@pytest.mark.parametrize("execution", ["inline", "process", "auto"])
def test_a_step_gives_the_same_wherever_it_runs(folder: Path, execution: str) -> None:
    async def work(served: Served) -> None:
        answer = await served.ask(text("banana"))
        np.testing.assert_array_equal(answer["twice"], [[12, 6]])
        with pytest.raises(BadRequestError, match=r"^input 'text' is empty$"):
            await served.ask(text(""))

    ready = prepared(folder, service(execution), CODE)
    assert [stage.resolution.execution for stage in ready.stages][::2] == [
        "process" if execution == "process" else "inline"
    ] * 2
    serve(ready, work)


def test_a_fault_fails_its_own_request_and_the_process_comes_back(folder: Path) -> None:
    said: list[str] = []

    async def work(served: Served) -> None:
        for word, kind, message in (
            ("raise", EngineError, "ValueError: no such word"),
            ("shape", EngineError, "output 'x'"),
            ("abort", EngineError, "SIGABRT"),
        ):
            with pytest.raises(kind, match=message):
                await served.ask(text(word))
            np.testing.assert_array_equal((await served.ask(text("aa")))["twice"], [[4, 4]])

    serve(prepared(folder, service(), CODE), work, said.append)
    assert any("SIGABRT" in line and "starting another" in line for line in said)


def test_a_hang_is_answered_at_the_requests_deadline(folder: Path) -> None:
    async def work(served: Served) -> None:
        with pytest.raises(DeadlineError, match="deadline passed while the model was running"):
            await served.ask(text("hang"), timeout_ns=100_000_000)

    serve(prepared(folder, service(), CODE), work)


def test_a_step_in_its_own_process_is_a_waiting_stage(folder: Path) -> None:
    """It has a queue, its service time is learned, and what the stages behind it need is kept of the deadline."""

    async def work(served: Served) -> None:
        step, model, last = served.live.models
        answers = [served.submit(text(word), timeout_ns=10**10) for word in ("a", "bb", "ccc")]
        waiting = step.scheduled.classes[2]
        assert (waiting.num_waiting, step.service_time.curve().num_observed) == (3, 0)
        kept_ns = model.expected_ns() + last.expected_ns()
        assert kept_ns > 0
        for job in next(iter(step.scheduled.queues.values())).jobs:
            assert job.deadline_ns == job.arrival_ns + 10**10 - kept_ns
        for answer, length in zip(answers, (1, 2, 3), strict=True):
            await answer.done.wait()
            assert answer.outputs is not None
            assert answer.outputs["twice"][0, 0] == 2 * length
        assert waiting.num_finished == 3
        assert step.service_time.curve().num_observed == 3

    serve(prepared(folder, service(), CODE), work)


def test_requests_wait_for_a_process_that_died_between_them(folder: Path) -> None:
    async def work(served: Served) -> None:
        executor: Any = served.live.models[0].idle[0]
        executor._process.kill("it was killed by a test")
        while executor._ready:  # until the loop has heard of it
            await _turn()
        np.testing.assert_array_equal((await served.ask(text("abc")))["twice"], [[6, 2]])

    serve(prepared(folder, service(), CODE), work)


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0)


def test_an_undeclared_step_in_its_own_process_is_refused_with_what_to_write(folder: Path) -> None:
    bare = service().replace(", outputs: [{name: x, datatype: FP32, shape: [-1, 2]}]", "")
    with pytest.raises(SpecError, match="declare `inputs` and `outputs` in the service file"):
        prepared(folder, bare, CODE)


def test_ends_that_differ_from_what_the_code_says_are_refused(folder: Path) -> None:
    own = (
        CODE
        + """
letters.inputs = [{"name": "txt", "datatype": "BYTES", "shape": [1]}]
letters.outputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
"""
    )
    bare = service().replace(", outputs: [{name: x, datatype: FP32, shape: [-1, 2]}]", "")
    with pytest.raises(SpecError, match=r"yaml:2: \['text BYTES'\] here, but the code takes \['txt BYTES'\]"):
        prepared(folder, bare, own)


def test_an_async_step_needs_a_process(folder: Path) -> None:
    with pytest.raises(SpecError, match="write `execution: process`"):
        prepared(folder, service("auto", "later"), CODE)

    async def work(served: Served) -> None:
        np.testing.assert_array_equal((await served.ask(text("x")))["twice"], [[2, 2]])

    serve(prepared(folder, service("process", "later"), CODE), work)


def test_a_step_goes_where_its_time_on_data_says() -> None:
    auto = Stage(preprocess="steps.py:f")
    slow, fast = (StepProfile([ns] * 3, (), "3 rows of data") for ns in (1_000_000, 999_999))
    assert [step_execution(auto, profile) for profile in (None, fast, slow)] == [
        "inline",
        "inline",
        "process",
    ]
    pinned = Stage(preprocess="steps.py:f", execution="inline")
    assert step_execution(pinned, slow) == "inline"


def ticking(step_ns: int) -> Callable[[], int]:
    """Time that passes only by being asked for."""
    now_ns = 0

    def tick() -> int:
        nonlocal now_ns
        now_ns += step_ns
        return now_ns

    return tick


@pytest.mark.parametrize(("step_ns", "execution"), [(1_000, "inline"), (2_000_000, "process")])
def test_auto_is_decided_on_rows_of_data(folder: Path, step_ns: int, execution: str) -> None:
    (folder / "data.csv").write_text("t\nabc\nbanana\n" + f"x{step_ns}\n")
    said: list[str] = []
    data = "data: {path: data.csv, columns: {text: t}}\n"
    undeclared = service("auto").replace(", outputs: [{name: x, datatype: FP32, shape: [-1, 2]}]", "")
    ready = prepared(folder, undeclared + data, CODE, said.append, ticking(step_ns))
    first = ready.stages[0]
    assert first.resolution.execution == execution
    assert isinstance(first, StepStage) == (execution == "inline")
    assert "profiling step steps.py:letters on 3 rows of data" in said

    async def work(served: Served) -> None:
        np.testing.assert_array_equal((await served.ask(text("banana")))["twice"], [[12, 6]])

    serve(ready, work)


@pytest.mark.parametrize("execution", ["auto", "process"])
def test_rows_that_a_step_refuses_are_left_out_and_none_left_is_an_error(
    folder: Path, execution: str
) -> None:
    data = "data: {path: data.csv, columns: {text: t}}\n"
    (folder / "data.csv").write_text('t,n\n"",1\nabc,2\n')

    only_first = service(execution).replace(f'Double", execution: {execution}', 'Double"')

    async def work(served: Served) -> None:
        model = next(model for model in served.live.models if model.name == "m")
        assert model.resolution.profiled_on == "1 row of data of length 2"

    serve(prepared(folder, only_first + data, CODE), work)
    (folder / "data.csv").write_text('t,n\n"",1\n')
    with pytest.raises(SpecError, match="refuses every row of the data: input 'text' is empty"):
        prepared(folder, only_first + data, CODE)
