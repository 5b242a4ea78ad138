"""How many answers a second a server gives at most, one server core, and against others on the same file."""

from collections.abc import Callable, Sequence

from benchmarks._harness import (
    NS_PER_S,
    OUT,
    Comparison,
    Measurement,
    compare,
    comparison_table,
    server_and_client_core,
)
from benchmarks._in_process import measure_best
from benchmarks._options import add_sides, parser
from benchmarks._payloads import payloads, with_timeout
from benchmarks._sides import SIDES, Side, available, model_file, start
from benchmarks._tables import Goal, Report
from benchmarks._wrk import maximum

QUESTION = "How many answers a second at most, one server core (closed loop, 32 connections)?"
SHORT = True
IN_PROCESS = "in process"
_PATIENCE_NS = 10 * NS_PER_S  # a closed loop asks for the maximum, not for answers in time


def main(args: Sequence[str] = ()) -> int:
    made = parser("maximum", QUESTION, seconds=2, peers=True)
    made.add_argument("--model", choices=["tiny", "text"], default="tiny")
    add_sides(made, ["trivet", "trivet-binary"], (IN_PROCESS,))
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    model = model_file(options.model, options.peers)

    def measured(side: Side) -> Callable[[int], Measurement]:
        requests = payloads(options.model, side.speaks)
        if options.model == "text" and side.name == "trivet":
            requests = [with_timeout(request, _PATIENCE_NS) for request in requests]

        def measure(_seed: int) -> Measurement:
            folder = OUT / "sides" / side.name
            with start(side, options.model, model, server_core, options.peers) as server:
                return maximum(
                    server.target, requests, core=client_core, seconds=options.seconds, folder=folder
                )

        return measure

    def limit(_seed: int) -> Measurement:
        return measure_best(options.model, model, server_core, seconds=options.seconds)

    names = [name for name in options.sides if name in SIDES]
    sides = {side.name: measured(side) for side in available(names, options.peers)}
    if IN_PROCESS in options.sides:
        sides[IN_PROCESS] = limit
    comparison = compare(
        f"maximum-{options.model}",
        sides,
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "model": options.model,
            "warm-up": "1 s",
            "measured": f"{options.seconds:g} s by wrk, 32 connections",
        },
        resume=options.resume,
    )
    print(report(comparison, options.base))
    return 0


def report(comparison: Comparison, base: str | None = None) -> Report:
    base = base or comparison.sides()[-1]
    table = comparison_table(comparison, "max_rps", base, unit="answers/s")
    if "trivet" not in comparison.sides():
        return Report(comparison, [table], [])
    peers = [side for side in comparison.sides() if side in SIDES and SIDES[side].peer]
    if comparison.settings["model"] == "text":
        goals = [
            _goal(comparison, "the best peer's maximum", best(comparison, peers), 0.95),
            _goal(comparison, "in process at its best batch", IN_PROCESS, 0.90),
        ]
    else:
        mosec = [side for side in peers if side.startswith("mosec")]
        goals = [
            _goal(comparison, "mosec at its best delay", best(comparison, mosec), 1.45),
            _goal(comparison, "the bare design that speaks V2", "sketch-v2", 0.65),
        ]
    return Report(comparison, [table], goals)


def best(comparison: Comparison, sides: Sequence[str], metric: str = "max_rps") -> str:
    """The side with the highest mean; nothing where there is no side."""
    if comparison.is_empty():
        return ""
    return max(sides, key=lambda side: comparison.mean(side, metric).estimate, default="")


def _goal(comparison: Comparison, what: str, base: str, at_least: float) -> Goal:
    name = f"trivet / {what}" + (f" ({base})" if base not in ("", IN_PROCESS) else "")
    if base not in comparison.sides() or comparison.is_empty():
        return Goal(name, None, at_least=at_least)
    return Goal(name, comparison.ratio("trivet", base, "max_rps"), at_least=at_least)
