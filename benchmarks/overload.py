"""What is still answered in time when more is offered than the machine can do: goodput over what it could do at best."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks._harness import (
    NS_PER_S,
    Measurement,
    compare,
    comparison_table,
    measure_server,
    server_and_client_core,
)
from benchmarks._processes import run_on_core
from benchmarks._sides import SIDES, model_file, payloads, start
from trivet.load.arrivals import Poisson
from trivet.load.job import HttpRequest, Job, OpenLoop

QUESTION = "How much goodput is left at 1.5, 3 and 10 times the capacity (deadline 100 ms), one server core?"
SHORT = False
_WARM_UP_NS = 2 * NS_PER_S
_LIMIT_SECONDS = 2.0
_BATCHES = (1, 2, 4, 8, 16, 32)


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks overload", description=QUESTION)
    parser.add_argument("--model", choices=["text", "tiny"], default="text")
    parser.add_argument("--multiples", type=float, nargs="*", default=[1.5, 3, 10])
    parser.add_argument("--deadline-ms", type=float, default=100)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    model = model_file(options.model, options.peers)
    deadline_ns = int(options.deadline_ms * 1e6)
    if options.limit:
        print(in_process(model, options.model, deadline_ns))
        return 0
    server_core, client_core = server_and_client_core()

    def limit(_seed: int) -> Measurement:
        command = [sys.executable, "-m", "benchmarks", "overload", "--", "--limit", "--model", options.model]
        command += ["--deadline-ms", str(options.deadline_ms)]
        command += ["--peers", str(options.peers)] if options.peers else []
        return Measurement(values={"goodput_rps": float(run_on_core(command, server_core).split()[-1])})

    capacity_rps = statistics.median(limit(0).values["goodput_rps"] for _ in range(3))

    def offered(multiple: float) -> Callable[[int], Measurement]:
        arrivals = Poisson(
            rate_rps=multiple * capacity_rps, duration_ns=_WARM_UP_NS + int(options.seconds * NS_PER_S)
        )
        requests = [_with_timeout(request, deadline_ns) for request in payloads(options.model, "v2")]

        def measure(seed: int) -> Measurement:
            with start(SIDES["trivet"], options.model, model, server_core, options.peers) as server:
                job = Job(
                    target=server.target,
                    requests=requests,
                    load=OpenLoop(arrivals=arrivals),
                    seed=seed,
                    warmup_ns=_WARM_UP_NS,
                    deadline_ns=deadline_ns,
                    max_connections=1024,
                    max_send_lag_ns=deadline_ns // 20,  # a send that is late by a twentieth decides little
                )
                return measure_server(server, job, client_core)

        return measure

    comparison = compare(
        f"overload-{options.model}",
        {"in process": limit, **{f"{multiple:g}x": offered(multiple) for multiple in options.multiples}},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "model": options.model,
            "capacity": f"{capacity_rps:.0f}/s",
            "deadline": f"{options.deadline_ms:g} ms",
        },
    )
    print(
        f"{comparison.preface()}\n\n{comparison_table(comparison, 'goodput_rps', 'in process', unit='in time/s')}"
    )
    return 0


def in_process(model: Path, kind: str, deadline_ns: int) -> float:
    """The best rate over batch sizes whose batch takes at most half the deadline, rows a second."""
    from trivet.engine.onnx import OnnxEngine

    engine = OnnxEngine(model)
    generator = np.random.default_rng(0)
    best = 0.0
    for rows in _BATCHES:
        batches = [_batch(kind, rows, generator) for _ in range(16)]
        engine.run({"x": batches[0]})
        begun, runs = time.perf_counter(), 0
        while (spent := time.perf_counter() - begun) < _LIMIT_SECONDS / len(_BATCHES):
            engine.run({"x": batches[runs % len(batches)]})
            runs += 1
        if spent / runs * NS_PER_S <= deadline_ns / 2:
            best = max(best, rows * runs / spent)
    return best


def _batch(kind: str, rows: int, generator: np.random.Generator) -> "np.typing.NDArray[np.generic]":
    if kind == "text":
        return generator.integers(1000, 30000, (rows, 32))
    return generator.normal(size=(rows, 30)).astype(np.float32)


def _with_timeout(request: HttpRequest, deadline_ns: int) -> HttpRequest:
    values = msgspec.json.decode(request.body) | {"parameters": {"timeout": deadline_ns // 1000}}
    return msgspec.structs.replace(request, body=msgspec.json.encode(values))
