"""A model with two that stand in for it: answers tell who gave them, and how long each takes is up to the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import models as build
from tests.support.exits import times
from tests.support.runtime import Answer, Served, prepared, serve
from trivet.runtime.executors import Outcome
from trivet.runtime.live import LiveModel
from trivet.runtime.preparing.preparing import Prepared, PreparedModel
from trivet.runtime.preparing.profile import Profile

MS = 1_000_000
FACTORS = {"full": 10.0, "half": 5.0, "tiny": 1.0}
TAKES_MS = {"full": 100, "half": 50, "tiny": 10}
LADDER = """
models:
  full: {file: full.onnx, levers: {max_batch_size: 4, execution: inline}}
  half: {file: half.onnx, levers: {max_batch_size: 4, execution: inline}}
  tiny: {file: tiny.onnx, levers: {max_batch_size: 4, execution: inline}}
degrade:
  to:
    - {model: half, loss: 1 point}
    - {model: tiny, loss: 4 points}
  max_loss: 5 points
slo: {deadline: 10s}
"""
ROW: NDArray[np.float32] = np.array([[1.0, 2.0]], np.float32)


def write_ladder(folder: Path) -> Path:
    for name, factor in FACTORS.items():
        build.write(times(factor), folder / f"{name}.onnx")
    return folder


def ladder(folder: Path, text: str = LADDER) -> Prepared:
    """The service with profiles in which a row takes what TAKES_MS says, in every batch."""
    ready = prepared(folder, text)
    for stage in (*ready.stages, *ready.rungs):
        if isinstance(stage, PreparedModel) and stage.name in TAKES_MS:
            one_ns = TAKES_MS[stage.name] * MS
            samples = {0: {rows: [rows * one_ns] * 8 for rows in (1, 2, 4)}}
            stage.profile = Profile(samples, stage.profile.batching, "the test")
    return ready


class Paced:
    """An executor whose batches end when the test says so: by then the time that they take must have passed."""

    def __init__(self, model: LiveModel, clock: list[int]) -> None:
        [self._executor] = model.idle
        model.idle[:] = [self]
        self._clock = clock
        self.running: list[tuple[Any, Any, int, int]] = []

    def start(self, build: Any, done: Any, answer_by_ns: int) -> None:
        self.running.append((build, done, answer_by_ns, self._clock[0]))

    def end(self) -> None:
        build, done, answer_by_ns, started_ns = self.running.pop(0)

        def ended(outcome: Outcome) -> None:
            done(Outcome(outcome.outputs, outcome.error, started_ns, self._clock[0]))

        self._executor.start(build, ended, answer_by_ns)

    def when_back(self, callback: Any) -> None:
        callback()

    def close(self) -> None:
        self._executor.close()


class Stood:
    """A live ladder under a clock that stands until a batch is run to its end."""

    def __init__(self, served: Served, clock: list[int]) -> None:
        self.served = served
        self.clock = clock
        self.paced = {model.name: Paced(model, clock) for model in served.live.models}

    def submit(self, timeout_ms: int, rows: int = 1) -> Answer:
        return self.served.submit({"h": np.repeat(ROW, rows, 0)}, timeout_ns=timeout_ms * MS)

    def turn(self) -> None:
        self.served.runtime._turn()

    def end_all(self) -> None:
        """Run what is there to its end, batch by batch, each in the time of its profile."""
        self.turn()
        while busy := [name for name, one in self.paced.items() if one.running]:
            for name in busy:
                rows = self.served.live.ladder.rungs[0].scheduled.lane.running[0].rows  # type: ignore[union-attr]
                self.clock[0] += rows * TAKES_MS[name] * MS
                self.paced[name].end()
            self.turn()


def stood(ready: Prepared, work: Callable[[Stood], None]) -> None:
    clock = [10**9]

    async def run(served: Served) -> None:
        work(Stood(served, clock))

    serve(ready, run, now_ns=lambda: clock[0])


def who(answer: Answer) -> str:
    """Who answered, by what the answer says and by its values; the error's kind where there is one."""
    if answer.error is not None:
        return type(answer.error).__name__
    assert answer.outputs is not None
    assert answer.request is not None
    notes = answer.request.notes
    said = notes.instead.removeprefix("degraded:") if notes is not None and notes.instead else "full"
    rows = len(answer.outputs["y"])
    np.testing.assert_array_equal(answer.outputs["y"], FACTORS[said] * np.repeat(ROW, rows, 0))
    return said
