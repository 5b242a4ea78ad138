"""A poisoned request fails alone: the others of its batch are run again, one by one, in the time they have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.runtime import Answer, Served, prepared, serve
from trivet.clock import FakeClock
from trivet.errors import BadRequestError, DeadlineError, EngineError, RequestError
from trivet.runtime.executors import Done, Outcome, Work
from trivet.runtime.preparing.preparing import Prepared

CODE = """
import os
import numpy as np
from trivet.errors import BadRequestError

def f(inputs):
    x = inputs["x"]
    if (x == 101).any(): raise ValueError("no hundred and one")
    if (x == 102).any(): os.abort()
    if (x == 103).any(): raise BadRequestError("input 'x' holds 103")
    if (x == 104).any(): return {"y": x[:, :1]}
    return {"y": x * 2}

f.inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
f.outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
"""
SERVICE = (
    "models: {f: {python: 'steps.py:f', levers: {max_batch_size: 8, instances: 1}}}\nslo: {deadline: 30s}\n"
)


def row(value: float) -> dict[str, NDArray[Any]]:
    return {"x": np.array([[value, 0]], np.float32)}


def make_one_batch(served: Served) -> None:
    """Whatever the profile found on this machine: eight together are much faster than eight alone."""
    curve = served.live.models[0].service_time.curve()
    curve.seed({1: [1_000_000] * 3, 8: [1_100_000] * 3})


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (101, EngineError, "ValueError: no hundred and one"),
        (102, EngineError, "SIGABRT"),
        (103, BadRequestError, "^input 'x' holds 103$"),
        (104, EngineError, "output 'y'"),
    ],
)
def test_one_bad_request_of_eight_fails_alone(
    tmp_path: Path, bad: float, kind: type[RequestError], message: str
) -> None:
    async def work(served: Served) -> None:
        make_one_batch(served)
        values = [1.0, 2.0, 3.0, bad, 5.0, 6.0, 7.0, 8.0]
        answers = await served.ask_all([row(value) for value in values])
        failed = answers.pop(3)
        with pytest.raises(kind, match=message):
            raise failed  # type: ignore[misc]
        assert [2 * value for value in values if value != bad] == [answer["y"][0, 0] for answer in answers]  # type: ignore[call-overload]
        model = served.live.models[0]
        assert (model.counters.retried, model.counters.executions) == (8, 7)
        # The engine is back at its place, and its core is free.
        assert (await served.ask(row(9)))["y"][0, 0] == 18
        assert (len(model.idle), model.scheduled.num_running) == (1, 0)

    serve(prepared(tmp_path, SERVICE, CODE), work)


def test_a_request_that_came_alone_is_not_tried_again(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        with pytest.raises(EngineError, match="no hundred and one"):
            await served.ask(row(101))
        assert served.live.models[0].counters.retried == 0

    serve(prepared(tmp_path, SERVICE, CODE), work)


class Scripted:
    """An executor whose `outcome` says what becomes of each batch's values."""

    def __init__(self, clock: FakeClock, outcome: Callable[[list[float]], Outcome]) -> None:
        self.batches: list[list[float]] = []
        self._clock = clock
        self._outcome = outcome

    def start(self, build: Work, done: Done, answer_by_ns: int) -> None:
        values = build()["x"][:, 0].tolist()
        self.batches.append(values)
        self._clock.advance_ns(1_000_000)
        done(self._outcome(values))

    def when_back(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self) -> None: ...


@pytest.fixture
def ready(tmp_path: Path) -> Prepared:
    """An inline identity model, whose executor the tests replace."""
    from benchmarks import models as build

    build.write(build.identity(), tmp_path / "m.onnx")
    service = (
        "models: {m: {file: m.onnx, levers: {max_batch_size: 8, execution: inline}}}\nslo: {deadline: 1s}\n"
    )
    return prepared(tmp_path, service)


def scripted(
    ready: Prepared, clock: FakeClock, outcome: Callable[[list[float]], Outcome], timeouts_ns: list[int]
) -> tuple[list[Answer], list[list[float]]]:
    """The answers of requests 0, 1, ..., offered together, and the batches that were run."""
    answers: list[Answer] = []
    executor = Scripted(clock, outcome)

    async def work(served: Served) -> None:
        served.live.models[0].idle[:] = [executor]
        served.live.models[0].service_time.curve(2).seed({1: [1_000_000] * 3, 8: [1_100_000] * 3})
        for place, timeout_ns in enumerate(timeouts_ns):
            answers.append(served.submit(row(place), timeout_ns))
        for answer in answers:
            await answer.done.wait()

    serve(ready, work, now_ns=clock.now_ns)
    return answers, executor.batches


def fails(clock: FakeClock, lost: bool, error: RequestError) -> Callable[[list[float]], Outcome]:
    return lambda _: Outcome(None, error, clock.now_ns(), clock.now_ns(), executor_lost=lost)


def test_who_has_no_time_left_is_told_the_batches_error(ready: Prepared) -> None:
    """The batch and each try take 1 ms: of deadlines at 2.5 ms only the first can be tried again."""
    clock = FakeClock()
    answers, batches = scripted(ready, clock, fails(clock, False, EngineError("broken")), [2_500_000] * 3)
    assert batches == [[0, 1, 2], [0]]
    assert [str(answer.error) for answer in answers] == ["broken"] * 3


def test_a_passed_deadline_is_not_tried_again(ready: Prepared) -> None:
    clock = FakeClock()
    _, batches = scripted(ready, clock, fails(clock, True, DeadlineError("late")), [10**9] * 4)
    assert batches == [[0, 1, 2, 3]]


def test_an_engine_that_is_lost_a_third_time_is_spared_the_rest(ready: Prepared) -> None:
    clock = FakeClock()
    answers, batches = scripted(ready, clock, fails(clock, True, EngineError("gone")), [10**9] * 5)
    assert batches == [[0, 1, 2, 3, 4], [0], [1]]
    assert [str(answer.error) for answer in answers] == ["gone"] * 5
