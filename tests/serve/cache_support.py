"""A worker's HTTP front with what stands before its pipelines; loop, timers and time by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from benchmarks import models as build
from tests.serve.http_support import Front, HandLoop
from trivet.clock import MonotonicClock
from trivet.runtime.fronts.front import Front as Before
from trivet.runtime.fronts.front import Fronts
from trivet.runtime.fronts.making import make_fronts
from trivet.runtime.installing import install
from trivet.runtime.live import LiveService
from trivet.runtime.preparing.preparing import prepare
from trivet.runtime.table import LiveTable
from trivet.spec.service_file import load_configuration

ECHO = "models: {m: {file: identity.onnx, levers: {execution: inline, max_batch_size: 8, threads: 1}}}\n"


class Timers(HandLoop):
    """A loop whose timers fire when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[Timer] = []

    def call_later(self, _delay: float, callback: Callable[..., object], *arguments: Any) -> Any:
        self.timers.append(Timer(callback, arguments))
        return self.timers[-1]

    def fire(self) -> None:
        due, self.timers = self.timers, []
        for timer in due:
            if not timer.is_cancelled:
                timer.callback(*timer.arguments)
        self.run()


class Timer:
    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback = callback
        self.arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class CachedFront(Front):
    """One service. `more`: fronts that are asked behind its own."""

    def __init__(self, path: Path, more: Sequence[Before] = ()) -> None:
        super().__init__([])
        self.loop = Timers()
        self.runtime._loop = self.loop  # type: ignore[assignment]  # has what a runtime uses
        self.live = self.add(path, more)
        self.lives.append(self.live)

    def add(self, path: Path, more: Sequence[Before] = (), *, is_new: bool = True) -> LiveService:
        """Put another configuration to work."""
        loop: Any = self.loop
        ready = prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda _text: None)
        live = install(ready, self.runtime.scheduler, loop, self.clock.now_ns, self.complaints.append)
        live.fronts = make_fronts(ready, live, self.runtime, loop)
        if more:
            own = () if live.fronts is None else live.fronts.all
            live.fronts = Fronts([*own, *more], self.runtime, live.counts)
        self.runtime.add(live)
        if is_new:
            self.router.add_service(live.name, "1", LiveTable([(live, 1.0)]), default_version=True)
        return live

    def check_is_idle(self) -> None:
        """Nothing waits, runs or is held, and each request that was accepted has been answered."""
        assert self.live.num_unanswered() == 0
        assert self.router.answering.num_accepted == self.router.answering.num_answered

    @property
    def num_executed(self) -> int:
        """Batches that an engine ran."""
        return sum(model.counters.executions for model in self.live.models)

    def count(self, family: str, **labels: str) -> float:
        return self.live.counts.of(family, **labels).value


class Engine:
    """Stands between an executor and its engine: counts, and fails when told to."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.num_rows: list[int] = []
        self.errors: list[Exception] = []

    def run(self, inputs: Any) -> Any:
        self.num_rows.append(len(next(iter(inputs.values()))))
        if self.errors:
            raise self.errors.pop(0)
        return self._engine.run(inputs)

    def close(self) -> None:
        self._engine.close()


def watched(live: LiveService, place: int = 0) -> Engine:
    """The engine of a model that runs in the loop, from now on watched."""
    executor: Any = live.models[place].idle[0]
    executor._engine = engine = Engine(executor._engine)
    return engine


def write_service(folder: Path, text: str, name: str = "echo") -> Path:
    """A service over identity.onnx (x -> y, FP32[N,M]), twice.onnx (y -> z, twice as much) and code.py."""
    build.write(build.identity(), folder / "identity.onnx")
    inputs, outputs = ([build.tensor(one, "FP32", ["n", "m"])] for one in ("y", "z"))
    node = helper.make_node("Mul", ["y", "f"], ["z"])
    build.write(build.build("twice", [node], inputs, outputs, {"f": np.float32(2)}), folder / "twice.onnx")
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path
