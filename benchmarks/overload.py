"""What is still answered in time when more is offered than the machine can do: goodput over what it could do at best."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import (
    NS_PER_S,
    OUT,
    Comparison,
    Measurement,
    Sides,
    compare,
    comparison_table,
    measure_server,
    server_and_client_core,
)
from benchmarks._in_process import measure_best
from benchmarks._options import parser
from benchmarks._overloaded import CAPACITY, Subject
from benchmarks._processes import Server
from benchmarks._tables import Goal, Report
from benchmarks._wrk import maximum
from trivet.load.arrivals import Poisson
from trivet.load.job import HttpRequest

QUESTION = "How much goodput is left at 1.5, 3 and 10 times the capacity (deadline 100 ms), one server core?"
SHORT = False
IN_PROCESS, CLOSED_LOOP = "in process", "closed loop"
_WARM_UP_NS = 2 * NS_PER_S
_PATIENCE_NS = 10 * NS_PER_S  # a closed loop asks for the maximum, not for answers in time


def main(args: Sequence[str] = ()) -> int:
    made = parser("overload", QUESTION, blocks=5, seconds=6, peers=True)
    made.add_argument("--model", choices=["text", "busy"], default="text")
    made.add_argument("--multiples", type=float, nargs="*", default=[1.5, 3, 10])
    made.add_argument("--deadline-ms", type=float, default=100)
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    deadline_ns = int(options.deadline_ms * 1e6)
    subject = Subject(options.model, server_core, deadline_ns, options.peers)

    def sides(calibrated: Mapping[str, Any]) -> Sides:
        model = subject.model(calibrated)

        def limit(_seed: int) -> Measurement:
            return measure_best(options.model, model, server_core, seconds=2.0, max_batch_ns=deadline_ns // 2)

        def closed_loop(_seed: int) -> Measurement:
            with subject.start(calibrated) as server:
                return _closed_loop(
                    server.target, subject.requests(_PATIENCE_NS), client_core, options.seconds
                )

        def offered(multiple: float) -> Callable[[int], Measurement]:
            arrivals = Poisson(
                rate_rps=multiple * calibrated[CAPACITY],
                duration_ns=_WARM_UP_NS + int(options.seconds * NS_PER_S),
            )

            def measure(seed: int) -> Measurement:
                with subject.start(calibrated) as server:
                    job = subject.job(server, arrivals, seed, _WARM_UP_NS)
                    before_ns = _loops_ns(server)
                    measured = measure_server(server, job, client_core)
                    spent_ns = _loops_ns(server) - before_ns
                num_offered = multiple * calibrated[CAPACITY] * (arrivals.duration_ns / NS_PER_S)
                measured.values["loop_ns_per_request"] = spent_ns / num_offered
                return measured

            return measure

        loads = {f"{multiple:g}x": offered(multiple) for multiple in options.multiples}
        return {IN_PROCESS: limit, CLOSED_LOOP: closed_loop, **loads}

    comparison = compare(
        f"overload-{options.model}",
        sides,
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "model": options.model,
            "deadline": f"{options.deadline_ms:g} ms",
            "warm-up": "2 s",
            "measured": f"{options.seconds:g} s",
            "multiples": options.multiples,
        },
        calibrate=subject.calibrated,
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def _loops_ns(server: Server) -> int:
    """Processor time of the workers' event loops so far: where requests are read, refused and answered. Engines have
    threads or processes of their own."""
    found_ns = 0
    for pid in server.members():
        if b"trivet.serve.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found_ns += int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])
    return found_ns


def _closed_loop(target: str, requests: Sequence[HttpRequest], core: int, seconds: float) -> Measurement:
    """The maximum as goodput: whoever waits for each answer takes all of them."""
    folder = OUT / "sides" / "overload"
    found = maximum(target, requests, core=core, seconds=seconds, folder=folder)
    found.values["goodput_rps"] = found.values["max_rps"]
    return found


def report(comparison: Comparison) -> Report:
    tables = [comparison_table(comparison, "goodput_rps", IN_PROCESS, unit="in time/s")]
    goals: list[Goal] = []
    if comparison.is_empty():
        return Report(comparison, tables, goals)
    loads = [side for side in comparison.sides() if side not in (IN_PROCESS, CLOSED_LOOP)]
    for metric, what in (("refused_p50_ns", "refused"), ("dropped_p50_ns", "dropped")):
        if any(comparison.has(load, metric) for load in loads):
            tables.append(comparison_table(comparison, metric, "", unit=f"ms until {what}", scale=1e6))
    tables.append(comparison_table(comparison, "refused_share", "", unit="of requests"))
    tables.append(comparison_table(comparison, "dropped_share", "", unit="of requests"))
    if any(comparison.has(load, "loop_ns_per_request") for load in loads):
        tables.append(
            comparison_table(comparison, "loop_ns_per_request", "", unit="µs of the event loop", scale=1e3)
        )
    for load in sorted(loads, key=lambda side: float(side[:-1])):
        for base, at_least in ((IN_PROCESS, 0.85), (CLOSED_LOOP, 0.90)):
            ratio = None
            if min(comparison.values(load, "goodput_rps")) > 0:
                ratio = comparison.ratio(load, base, "goodput_rps")
            goals.append(
                Goal(f"goodput at {load} / {base}", ratio, at_least=at_least, reason="missed: 0 in a block")
            )
        refused = None
        if comparison.has(load, "refused_p50_ns"):
            refused = comparison.mean(load, "refused_p50_ns", 1e6)
        goals.append(
            Goal(
                f"median time until a refusal at {load}",
                refused,
                at_most=5,
                unit="ms",
                reason="a block had none",
            )
        )
    return Report(comparison, tables, goals)
