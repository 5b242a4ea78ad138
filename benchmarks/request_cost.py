"""The budget of a small request on the server's core, phase by phase: what of it is ours, the model's, the kernel's."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import OUT, Comparison, Measurement, compare, server_and_client_core
from benchmarks._options import parser
from benchmarks._payloads import payloads
from benchmarks._sides import SIDES, model_file, start
from benchmarks._tables import Report, markdown_table
from benchmarks._wrk import maximum
from trivet.clock import MonotonicClock
from trivet.load.http import request_bytes
from trivet.runtime.installing import install
from trivet.runtime.live import LiveModel
from trivet.runtime.preparing.preparing import prepare
from trivet.runtime.results import Results
from trivet.runtime.runtime import Runtime
from trivet.runtime.table import LiveTable
from trivet.schedule import Scheduler
from trivet.serve.http.answer import encode_answer
from trivet.serve.http.connection import Connection
from trivet.serve.http.router import Router
from trivet.spec.deployment import Limits, Statuses
from trivet.spec.service_file import load_configuration

QUESTION = "Where does the time of a small request go, phase by phase, one server core?"
SHORT = False
_SIDES = {"JSON": "trivet", "binary": "trivet-binary"}
_BATCH = 32
_ROUNDS = 40
_REPEATS = 30
# What is measured, in the order of a request's way; the rest is found by subtraction.
_PHASES = {
    "decode_us": "decode: body to tensor",
    "request_us": "the request, its queue and deadline",
    "schedule_us": "schedule: admit, form the batch, learn",
    "build_us": "build the batch",
    "compute_us": "compute: the model",
    "encode_us": "encode: tensor to answer",
    "count_us": "count: phases, latency",
    "rest_us": "connection, head, and the calls between",
    "sockets_us": "event loop, sockets, kernel",
}


class _Transport:
    """Throws away what is written."""

    def write(self, data: bytes) -> None:
        pass


class _Front:
    """A whole worker in this process but for sockets."""

    def __init__(self, side: str, model: Path) -> None:
        now_ns = MonotonicClock.now_ns
        loop = asyncio.get_running_loop()
        self.runtime = Runtime(loop, Scheduler(1))
        prepared = prepare(load_configuration(model), "1", now_ns, lambda _: None)
        self.live = install(prepared, self.runtime.scheduler, loop, now_ns, lambda _: None)
        self.runtime.add(self.live)
        self.router = Router(self.runtime, Limits(), Statuses())
        self.router.add_service("m", "1", LiveTable([(self.live, 1.0)]), default_version=True)
        speaks = SIDES[side].speaks
        self.requests = [
            (request_bytes(one.method, one.path, "localhost", one.headers, one.body), one)
            for one in payloads("tiny", speaks)[:_BATCH]
        ]
        self.connections = [Connection(self.router) for _ in range(_BATCH)]
        for connection in self.connections:
            connection.connection_made(_Transport())  # type: ignore[arg-type]  # all that is used of one

    async def turns(self, num: int) -> None:
        """So many turns of the loop, each with a request on every connection."""
        for _ in range(num):
            for connection, (whole, _) in zip(self.connections, self.requests, strict=True):
                connection.data_received(whole)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def whole_us(self) -> float:
        await self.turns(50)
        best_ns = float("inf")
        for _ in range(_REPEATS):
            begun_ns = time.perf_counter_ns()
            await self.turns(_ROUNDS)
            best_ns = min(best_ns, (time.perf_counter_ns() - begun_ns) / _ROUNDS / _BATCH)
        return best_ns / 1e3

    def phases_us(self) -> dict[str, float]:
        live, model, scheduler = self.live, self.live.models[0], self.runtime.scheduler
        assert isinstance(model, LiveModel)
        bodies = [one.body for _, one in self.requests]
        sizes = [one.headers.get("Inference-Header-Content-Length") for _, one in self.requests]
        json_size = None if sizes[0] is None else int(sizes[0])
        messages = [live.decoder.decode(body, json_size) for body in bodies]
        reply: Any = self.connections[0]

        def request(message: Any) -> Any:
            now_ns = self.runtime.now_ns()
            return live.request(message, now_ns, now_ns, 0, 0, reply)

        requests = [request(message) for message in messages]

        def schedule() -> None:
            now_ns = self.runtime.now_ns()
            for one in requests:
                one.arrival_ns, one.deadline_ns = now_ns, now_ns + 10**8
                scheduler.offer(one, now_ns)
            for batch in scheduler.poll(now_ns):
                scheduler.finished(batch, now_ns, 40_000)  # type: ignore[arg-type]  # nothing is dropped

        inputs = [message.inputs for message in messages]
        built = model.builder.build(inputs, _BATCH)
        engine = model.idle[0]._engine  # type: ignore[attr-defined]  # inline: the model is small
        results = Results(engine.run(built), True, _BATCH)

        def encode() -> None:
            fresh = Results(results.outputs, True, _BATCH)
            for place, one in enumerate(requests):
                encode_answer(one, fresh, place, 0)

        return {
            "decode_us": _best_us(lambda: [live.decoder.decode(body, json_size) for body in bodies]),
            "request_us": _best_us(lambda: [request(message) for message in messages]),
            "schedule_us": _best_us(schedule),
            "build_us": _best_us(lambda: model.builder.build(inputs, _BATCH)),
            "compute_us": _best_us(lambda: engine.run(built)),
            "encode_us": _best_us(encode),
            "count_us": _best_us(lambda: [model.counters.answered(one, 0, 1) for one in requests]),
        }


def _best_us(call: Callable[[], object]) -> float:
    """Microseconds a request of the fastest repeat; `call` does the work of a batch."""
    best_ns = float("inf")
    for _ in range(_REPEATS):
        begun_ns = time.perf_counter_ns()
        for _ in range(_ROUNDS):
            call()
        best_ns = min(best_ns, (time.perf_counter_ns() - begun_ns) / _ROUNDS / _BATCH)
    return best_ns / 1e3


def main(args: Sequence[str] = ()) -> int:
    options = parser("request_cost", QUESTION, seconds=2, blocks=5).parse_args(args)
    server_core, client_core = server_and_client_core()
    model = model_file("tiny", None)

    async def in_process(side: str) -> dict[str, float]:
        front = _Front(side, model)
        phases = front.phases_us()
        return phases | {"whole_us": await front.whole_us()}

    def measure(side: str) -> Measurement:
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {server_core})
        try:
            values = asyncio.run(in_process(side))
        finally:
            os.sched_setaffinity(0, cores)
        with start(SIDES[side], "tiny", model, server_core, None) as server:
            load = maximum(
                server.target,
                payloads("tiny", SIDES[side].speaks),
                core=client_core,
                seconds=options.seconds,
                folder=OUT / "sides" / side,
            )
        values["rest_us"] = values["whole_us"] - sum(values[key] for key in values if key != "whole_us")
        values["served_us"] = 1e6 / load.values["max_rps"]
        values["sockets_us"] = values["served_us"] - values["whole_us"]
        return Measurement(values=values, invalid=load.invalid)

    comparison = compare(
        "request_cost",
        {name: lambda _seed, side=side: measure(side) for name, side in _SIDES.items()},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "phases": f"in process, {_BATCH} requests a turn, the fastest of {_REPEATS} times {_ROUNDS} turns",
            "served": f"{options.seconds:g} s by wrk, 32 connections",
        },
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    lines = {**_PHASES, "whole_us": "**without sockets**", "served_us": "**served, at the maximum**"}
    rows = [
        [title, *(f"{comparison.mean(side, key).estimate:.2f}" for side in _SIDES)]
        for key, title in lines.items()
        if not comparison.is_empty()
    ]
    return Report(comparison, [markdown_table(["phase, µs a request", *_SIDES], rows)], [])
