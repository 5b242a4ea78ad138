"""What it costs to say where a request's time went: the maximum with and without `Server-Timing`."""

from collections.abc import Callable, Sequence

import msgspec

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
from benchmarks._sides import SIDES, model_file, start
from benchmarks._tables import Goal, Report
from benchmarks._wrk import maximum

QUESTION = "What does asking for Server-Timing cost (small model, closed loop)?"
SHORT = False
_ASKED, _PLAIN = "Server-Timing", "without"


def main(args: Sequence[str] = ()) -> int:
    options = parser("server_timing", QUESTION, seconds=2).parse_args(args)
    server_core, client_core = server_and_client_core()
    model, side = model_file("tiny", None), SIDES["trivet"]

    def measured(headers: dict[str, str]) -> Callable[[int], Measurement]:
        requests = [
            msgspec.structs.replace(request, headers=request.headers | headers)
            for request in payloads("tiny", side.speaks)
        ]

        def measure(_seed: int) -> Measurement:
            with start(side, "tiny", model, server_core, None) as server:
                return maximum(
                    server.target,
                    requests,
                    core=client_core,
                    seconds=options.seconds,
                    folder=OUT / "sides" / side.name,
                )

        return measure

    comparison = compare(
        "server_timing",
        {_ASKED: measured({"X-Trivet-Timing": "1"}), _PLAIN: measured({})},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={"warm-up": "1 s", "measured": f"{options.seconds:g} s by wrk, 32 connections"},
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    table = comparison_table(comparison, "max_rps", _PLAIN, unit="answers/s")
    ratio = None if comparison.is_empty() else comparison.ratio(_ASKED, _PLAIN, "max_rps")
    goal = Goal("maximum with Server-Timing / without", ratio, at_least=0.97, reason="no valid block")
    return Report(comparison, [table], [goal])
