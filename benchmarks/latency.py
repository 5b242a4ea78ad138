"""Latency at a fixed offered load, open loop, one server core, and against others on the same file."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._harness import (
    NS_PER_S,
    Measurement,
    compare,
    comparison_table,
    measure_server,
    server_and_client_core,
)
from benchmarks._sides import SIDES, Side, available, model_file, payloads, start
from trivet.load.arrivals import Poisson
from trivet.load.job import Job, OpenLoop

QUESTION = "What is the latency at a given offered load (open loop, Poisson arrivals), one server core?"
SHORT = True
_WARM_UP_NS = NS_PER_S


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks latency", description=QUESTION)
    parser.add_argument("--model", choices=["tiny", "text"], default="tiny")
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--sides", nargs="*", default=["trivet"], choices=sorted(SIDES))
    parser.add_argument("--base", help="the side that ratios are taken to (default: the last)")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    server_core, client_core = server_and_client_core()
    model = model_file(options.model, options.peers)
    arrivals = Poisson(rate_rps=options.rate, duration_ns=_WARM_UP_NS + int(options.seconds * NS_PER_S))

    def measured(side: Side) -> Callable[[int], Measurement]:
        requests = payloads(options.model, side.speaks)

        def measure(seed: int) -> Measurement:
            with start(side, options.model, model, server_core, options.peers) as server:
                job = Job(
                    target=server.target,
                    requests=requests,
                    load=OpenLoop(arrivals=arrivals),
                    seed=seed,
                    warmup_ns=_WARM_UP_NS,
                )
                return measure_server(server, job, client_core)

        return measure

    sides = available(options.sides, options.peers)
    comparison = compare(
        f"latency-{options.model}-{options.rate:g}",
        {side.name: measured(side) for side in sides},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "model": options.model,
            "offered": f"{options.rate:g}/s",
            "warm-up": "1 s",
            "measured": f"{options.seconds:g} s",
        },
    )
    base = options.base or sides[-1].name
    print(comparison.preface())
    for metric in ("p50_ns", "p99_ns"):
        print(f"\n{comparison_table(comparison, metric, base, unit='ms', scale=1e6)}")
    print(f"\n{comparison_table(comparison, 'pss_mib', base, unit='MiB')}")
    return 0
