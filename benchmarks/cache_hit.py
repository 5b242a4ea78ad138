"""What a request costs that the exact cache answers, and what the cache costs one that it does not."""

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks._harness import (
    OUT,
    Comparison,
    Measurement,
    compare,
    comparison_table,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._payloads import payloads
from benchmarks._sides import SIDES, model_file
from benchmarks._tables import Goal, Report
from benchmarks._trivet import Trivet
from benchmarks._wrk import maximum
from trivet.clock import MonotonicClock
from trivet.load.http import request_bytes
from trivet.runtime.fronts.making import make_fronts
from trivet.runtime.installing import install
from trivet.runtime.preparing.preparing import prepare
from trivet.runtime.runtime import Runtime
from trivet.runtime.table import LiveTable
from trivet.schedule import Scheduler
from trivet.serve.http.connection import Connection
from trivet.serve.http.router import Router
from trivet.spec.deployment import Limits, Statuses
from trivet.spec.service_file import load_configuration
from trivet.stats.mean import mean_of_blocks

QUESTION = "What does a hit of the exact cache cost the worker, and what does a miss (small model, one core)?"
SHORT = False
_HITS, _MISSES, _WITHOUT = "hits", "misses", "no cache declared"
# The requests come in one order, again and again: where fewer are kept than there are, none is found.
_CACHE = {_HITS: "cache: {exact: {}}\n", _MISSES: "cache: {exact: {size: 8kB}}\n", _WITHOUT: ""}
_TURN = 32  # requests that one turn of the loop brings
_ROUNDS = 40
_REPEATS = 30
_SIDE = SIDES["trivet"]


class _Transport:
    """Throws away what is written."""

    def write(self, data: bytes) -> None:
        pass


async def _worker_us(service: Path) -> float:
    """Microseconds of processor time of one request in a whole worker but for sockets: the best of many repeats."""
    now_ns, loop = MonotonicClock.now_ns, asyncio.get_running_loop()
    runtime = Runtime(loop, Scheduler(1))
    ready = prepare(load_configuration(service), "1", now_ns, lambda _: None)
    live = install(ready, runtime.scheduler, loop, now_ns, lambda _: None)
    live.fronts = make_fronts(ready, live, runtime, loop)
    runtime.add(live)
    router = Router(runtime, Limits(), Statuses())
    router.add_service("m", "1", LiveTable([(live, 1.0)]), default_version=True)
    connections = [Connection(router) for _ in range(_TURN)]
    for connection in connections:
        connection.connection_made(_Transport())  # type: ignore[arg-type]  # all that is used of one
    asked = payloads("tiny", _SIDE.speaks)
    whole = [request_bytes(one.method, one.path, "localhost", one.headers, one.body) for one in asked]
    place = 0
    best_ns = float("inf")
    for _ in range(_REPEATS):
        begun_ns = time.thread_time_ns()
        for _ in range(_ROUNDS):
            for connection in connections:
                connection.data_received(whole[place])
                place = (place + 1) % len(whole)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        best_ns = min(best_ns, (time.thread_time_ns() - begun_ns) / _ROUNDS / _TURN)
    for model in live.models:
        for executor in model.idle:
            executor.close()
    return best_ns / 1e3


def main(args: Sequence[str] = ()) -> int:
    options = parser("cache_hit", QUESTION, seconds=2).parse_args(args)
    server_core, client_core = server_and_client_core()
    services = {name: _service(name) for name in _CACHE}

    def measure(name: str) -> Measurement:
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {server_core})
        try:
            worker_us = asyncio.run(_worker_us(services[name]))
        finally:
            os.sched_setaffinity(0, cores)
        requests = payloads("tiny", _SIDE.speaks)
        with Trivet.serve(_SIDE.name, [services[name]], cores=[server_core], first=requests[0]) as server:
            load = maximum(
                server.target,
                requests,
                core=client_core,
                seconds=options.seconds,
                folder=services[name].parent,
            )
        values = load.values | {"worker_us": worker_us, "served_us": 1e6 / load.values["max_rps"]}
        return Measurement(values=values, invalid=load.invalid)

    comparison = compare(
        "cache_hit",
        {name: lambda _seed, name=name: measure(name) for name in _CACHE},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "worker": f"in process, {_TURN} requests a turn, the fastest of {_REPEATS} times {_ROUNDS} turns",
            "served": f"1 s of warm-up, {options.seconds:g} s by wrk, 32 connections",
        },
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def _service(name: str) -> Path:
    """The small model as `m`, with or without a cache."""
    folder = OUT / "sides" / f"cache-{name.replace(' ', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model_file("tiny", None), folder / "tiny.onnx")
    path = folder / "m.yaml"
    path.write_text("name: m\nmodels: {tiny: {file: tiny.onnx}}\n" + _CACHE[name])
    return path


def report(comparison: Comparison) -> Report:
    tables = [
        comparison_table(comparison, key, _WITHOUT, unit=unit)
        for key, unit in (("max_rps", "answers/s"), ("worker_us", "µs a request, without sockets"))
    ]
    if comparison.is_empty():
        return Report(comparison, tables, [])
    hit_us = comparison.values(_HITS, "worker_us")
    return Report(
        comparison,
        tables,
        [
            Goal(
                "the worker's time for a hit, all of it but sockets",
                mean_of_blocks(hit_us) if len(hit_us) > 1 else None,
                at_most=15,
                unit="µs",
                reason="cannot tell: one block",
            ),
        ],
    )
