"""Latency at a fixed offered load, open loop, one server core, and against others on the same file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import _open_loop as open_loop
from benchmarks._harness import (
    NS_PER_S,
    Comparison,
    Measurement,
    Sides,
    compare,
    comparison_table,
    measure_server,
    server_and_client_core,
)
from benchmarks._in_process import best_rate
from benchmarks._options import add_sides, parser
from benchmarks._payloads import payloads, with_timeout
from benchmarks._pooled import pooled_p99_ms, pooled_p99_ratio
from benchmarks._sides import SIDES, Side, available, model_file, start
from benchmarks._tables import Goal, Report, markdown_table
from trivet.load.arrivals import Poisson

QUESTION = "What is the latency at a given offered load (open loop, Poisson arrivals), one server core?"
SHORT = True
_PATIENCE_NS = 10 * NS_PER_S  # nobody else refuses or drops a request: here trivet has no reason to, either
_NS_PER_MS = 1e6
# A text request takes tens of milliseconds; and latency counts from the intended send, so that a late client never
# makes a server look better.
_MAX_SEND_LAG_NS = {"tiny": NS_PER_S // 1000, "text": 4 * NS_PER_S // 1000}
_RATE = "offered, requests/s"
_CALIBRATION_S = 6.0


def main(args: Sequence[str] = ()) -> int:
    made = parser("latency", QUESTION, peers=True)
    made.add_argument("--model", choices=["tiny", "text"], default="tiny")
    made.add_argument("--rate", type=float, default=1000.0, help="requests a second [1000]")
    made.add_argument(
        "--meant-for",
        type=float,
        metavar="RPS",
        help="the model's best rate in process on the machine that --rate is meant for: a slower one is offered "
        "less in proportion, so that it is as busy",
    )
    add_sides(made, ["trivet"])
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    model = model_file(options.model, options.peers)

    def calibrate() -> dict[str, float]:
        if options.meant_for is None:
            return {}
        capacity_rps = best_rate(options.model, model, server_core, seconds=_CALIBRATION_S).rps
        return {_RATE: round(options.rate * min(1, capacity_rps / options.meant_for), 1)}

    def sides_at(calibrated: Mapping[str, Any]) -> Sides:
        arrivals = open_loop.poisson(calibrated.get(_RATE, options.rate), options.seconds)
        return {side.name: measured(side, arrivals) for side in available(options.sides, options.peers)}

    def measured(side: Side, arrivals: Poisson) -> Callable[[int], Measurement]:
        requests = payloads(options.model, side.speaks)
        if options.model == "text" and side.name == "trivet":
            requests = [with_timeout(request, _PATIENCE_NS) for request in requests]

        def measure(seed: int) -> Measurement:
            with start(side, options.model, model, server_core, options.peers) as server:
                job = open_loop.job(server.target, requests, arrivals, seed, _MAX_SEND_LAG_NS[options.model])
                return measure_server(server, job, client_core, keep_latencies=True, failed_ns=job.timeout_ns)

        return measure

    comparison = compare(
        f"latency-{options.model}-{options.rate:g}",
        sides_at,
        num_blocks=options.blocks,
        seed=options.seed,
        settings={"model": options.model}
        | open_loop.settings(f"{options.rate:g}/s{_meant_for(options.meant_for)}", options.seconds),
        calibrate=calibrate,
        resume=options.resume,
    )
    print(report(comparison, options.base))
    return 0


def _meant_for(rps: float | None) -> str:
    return "" if rps is None else f" where {rps:g}/s is the best rate in process, in proportion here"


def report(comparison: Comparison, base: str | None = None) -> Report:
    base = base or comparison.sides()[-1]
    tables = [
        comparison_table(comparison, "p50_ns", base, unit="ms", scale=_NS_PER_MS),
        comparison_table(comparison, "p99_ns", base, unit="ms", scale=_NS_PER_MS),
        comparison_table(comparison, "error_share", "", unit="of requests without a result"),
        comparison_table(comparison, "pss_mib", base, unit="MiB"),
    ]
    if comparison.is_empty() or "trivet" not in comparison.sides():
        return Report(comparison, tables, [])
    tables.append(_pooled_table(comparison))
    return Report(comparison, tables, _goals(comparison))


def _goals(comparison: Comparison) -> list[Goal]:
    """What was promised for this model at this load; nothing was for others."""
    match comparison.question:
        case "latency-tiny-1000":
            pooled = pooled_p99_ms(comparison.samples("trivet", "latency_ns"))
            return [
                _median_goal(comparison, "granian-null", 1.5),
                Goal("trivet's p99, pooled over blocks", pooled, at_most=1, unit="ms"),
            ]
        case "latency-text-50":
            return [_median_goal(comparison, "granian", 1.1)]
        case "latency-text-150":
            return [_tail_goal(comparison, 1.15)]
    return []


def _median_goal(comparison: Comparison, base: str, at_most: float) -> Goal:
    name = f"trivet's median / {base}'s"
    if base not in comparison.sides():
        return Goal(name, None, at_most=at_most)
    return Goal(name, comparison.ratio("trivet", base, "p50_ns"), at_most=at_most)


def _tail_goal(comparison: Comparison, at_most: float) -> Goal:
    peers = {
        side: pooled_p99_ms(comparison.samples(side, "latency_ns")).estimate
        for side in comparison.sides()
        if side in SIDES and SIDES[side].peer
    }
    if not peers:
        return Goal("trivet's p99, pooled over blocks / the best peer's", None, at_most=at_most)
    best = min(peers, key=lambda side: peers[side])
    ratio = pooled_p99_ratio(
        comparison.samples("trivet", "latency_ns"), comparison.samples(best, "latency_ns")
    )
    return Goal(f"trivet's p99, pooled over blocks / the best peer's ({best})", ratio, at_most=at_most)


def _pooled_table(comparison: Comparison) -> str:
    rows = []
    for side in comparison.sides():
        p99 = pooled_p99_ms(comparison.samples(side, "latency_ns"))
        rows.append([side, f"{p99.estimate:,.4g}", f"[{p99.low:,.4g}, {p99.high:,.4g}]"])
    return markdown_table(["p99 of all blocks together, ms", "estimate", "95 %"], rows)
