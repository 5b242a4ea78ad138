"""What a second worker costs: processor time a request at a fixed load, all workers on the same core."""

from collections.abc import Callable, Sequence

from benchmarks import _open_loop as open_loop
from benchmarks._harness import (
    Comparison,
    Measurement,
    compare,
    comparison_table,
    measure_server,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._payloads import payloads
from benchmarks._sides import as_m, model_file
from benchmarks._tables import Goal, Report
from benchmarks._trivet import Trivet

QUESTION = "How much more processor time does a request take with two workers than with one (small model)?"
SHORT = False
_ONE, _TWO = "1 worker", "2 workers"
# The question is processor time: a client whose timers are late by milliseconds still offers the same requests.
_MAX_SEND_LAG_NS = 20_000_000


def main(args: Sequence[str] = ()) -> int:
    made = parser("two_workers", QUESTION, seconds=8)
    made.add_argument("--rate", type=float, default=2000.0, help="requests a second [2000]")
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    model, requests = as_m(model_file("tiny", None), "two_workers"), payloads("tiny", "v2")
    arrivals = open_loop.poisson(options.rate, options.seconds)

    def measured(num_workers: int) -> Callable[[int], Measurement]:
        def measure(seed: int) -> Measurement:
            workers = ["--workers", str(num_workers)]
            with Trivet.serve(
                "two_workers", [model], cores=[server_core], first=requests[0], options=workers
            ) as server:
                job = open_loop.job(server.target, requests, arrivals, seed, _MAX_SEND_LAG_NS)
                return measure_server(server, job, client_core)

        return measure

    comparison = compare(
        "two_workers",
        {_ONE: measured(1), _TWO: measured(2)},
        num_blocks=options.blocks,
        seed=options.seed,
        settings=open_loop.settings(f"{options.rate:g}/s", options.seconds),
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    tables = [
        comparison_table(comparison, "cpu_ns_per_request", _ONE, unit="µs", scale=1e3),
        comparison_table(comparison, "p99_ns", _ONE, unit="ms", scale=1e6),
        comparison_table(comparison, "pss_mib", _ONE, unit="MiB"),
    ]
    ratio = None if comparison.is_empty() else comparison.ratio(_TWO, _ONE, "cpu_ns_per_request")
    goal = Goal("processor time a request, two workers / one", ratio, at_most=1.1, reason="no valid block")
    return Report(comparison, tables, [goal])
