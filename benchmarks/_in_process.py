"""What the machine could do without a server: a model called in a plain loop, in a process of its own on one core."""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._measurement import NS_PER_S, Measurement
from benchmarks._payloads import FEATURES
from benchmarks._processes import run_on_core

BATCHES = (1, 2, 4, 8, 16, 32)

Run = Callable[[Mapping[str, Any]], object]


class Best(msgspec.Struct, frozen=True):
    """The highest rate, rows a second, and the batch that had it; `singles_rps`: of batches of one."""

    rps: float
    batch: int
    singles_rps: float


def best_rate(kind: str, model: Path, core: int, *, seconds: float, max_batch_ns: int = 0) -> Best:
    """The best rate on `core` over batches that take at most `max_batch_ns` each; 0: however long they take."""
    command = [
        sys.executable,
        "-m",
        "benchmarks._in_process",
        kind,
        str(model),
        str(seconds),
        str(max_batch_ns),
    ]
    return msgspec.json.decode(run_on_core(command, core), type=Best)


def measure_best(kind: str, model: Path, core: int, *, seconds: float, max_batch_ns: int = 0) -> Measurement:
    """The same as one side of a block, as what a server would have answered: all of it in time."""
    best = best_rate(kind, model, core, seconds=seconds, max_batch_ns=max_batch_ns)
    return Measurement(values={"max_rps": best.rps, "goodput_rps": best.rps, "batch": best.batch})


def measure(
    run: Run, kind: str, seconds: float, max_batch_ns: int, now_s: Callable[[], float] = time.perf_counter
) -> Best:
    """Each batch size gets an equal share of `seconds`; the best one is then measured anew for as long as all together.

    What it showed while it was chosen does not count: the best of several looks better than it is.
    """
    generator = np.random.default_rng(0)
    rates: dict[int, float] = {}
    for rows in BATCHES:
        rate = _rate(run, kind, rows, seconds / len(BATCHES), generator, now_s)
        if not rates or not max_batch_ns or rows / rate * NS_PER_S <= max_batch_ns:
            rates[rows] = rate
    batch = max(rates, key=lambda rows: rates[rows])
    return Best(_rate(run, kind, batch, seconds, generator, now_s), batch, rates[1])


def _rate(
    run: Run,
    kind: str,
    rows: int,
    seconds: float,
    generator: np.random.Generator,
    now_s: Callable[[], float],
) -> float:
    """Rows a second, in batches of `rows`."""
    batches = [_batch(kind, rows, generator) for _ in range(16)]
    run({"x": batches[0]})
    begun, runs = now_s(), 0
    while (spent := now_s() - begun) < seconds:
        run({"x": batches[runs % len(batches)]})
        runs += 1
    return rows * runs / spent


def _batch(kind: str, rows: int, generator: np.random.Generator) -> "np.typing.NDArray[Any]":
    if kind == "text":
        return generator.integers(1000, 30000, (rows, FEATURES[kind]))
    return generator.normal(size=(rows, FEATURES[kind])).astype(np.float32)


def _runner(model: Path) -> Run:
    """A model file in onnxruntime on one thread, or the function `busy` of a Python file."""
    if model.suffix == ".py":
        spec = importlib.util.spec_from_file_location("busy", model)
        assert spec is not None  # a .py file always has one
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Run = module.busy
        return found
    from trivet.engine.onnx import OnnxEngine

    return OnnxEngine(model).run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks._in_process", description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("model", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("max_batch_ns", type=int)
    options = parser.parse_args()
    best = measure(_runner(options.model), options.kind, options.seconds, options.max_batch_ns)
    print(msgspec.json.encode(best).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
