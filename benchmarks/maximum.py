"""How many answers a second a server gives at most, one server core, and against others on the same file."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._harness import OUT, Measurement, compare, comparison_table, server_and_client_core
from benchmarks._sides import SIDES, Side, available, model_file, payloads, start
from benchmarks._wrk import maximum

QUESTION = "How many answers a second at most, one server core (closed loop, 32 connections)?"
SHORT = True
_WARM_UP_S = 1


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks maximum", description=QUESTION)
    parser.add_argument("--model", choices=["tiny", "text"], default="tiny")
    parser.add_argument("--sides", nargs="*", default=["trivet", "trivet-binary"], choices=sorted(SIDES))
    parser.add_argument("--base", help="the side that ratios are taken to (default: the last)")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    server_core, client_core = server_and_client_core()
    model = model_file(options.model, options.peers)

    def measured(side: Side) -> Callable[[int], Measurement]:
        requests = payloads(options.model, side.speaks)

        def measure(_seed: int) -> Measurement:
            with start(side, options.model, model, server_core, options.peers) as server:
                folder = OUT / "sides" / side.name
                maximum(server.target, requests, core=client_core, seconds=_WARM_UP_S, folder=folder)
                return maximum(
                    server.target, requests, core=client_core, seconds=options.seconds, folder=folder
                )

        return measure

    sides = available(options.sides, options.peers)
    comparison = compare(
        f"maximum-{options.model}",
        {side.name: measured(side) for side in sides},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "model": options.model,
            "warm-up": f"{_WARM_UP_S} s",
            "measured": f"{options.seconds} s by wrk",
        },
    )
    base = options.base or sides[-1].name
    print(f"{comparison.preface()}\n\n{comparison_table(comparison, 'max_rps', base, unit='answers/s')}")
    return 0
