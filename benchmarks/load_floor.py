"""The load generator against a target that answers at once: the floor under every figure."""

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks._harness import (
    NS_PER_S,
    Comparison,
    Measurement,
    compare,
    markdown_table,
    measurement_of,
    server_and_client_core,
)
from benchmarks._tables import Goal, goal_table
from trivet.load.arrivals import Poisson
from trivet.load.job import ClosedLoop, Job, OpenLoop
from trivet.load.null_target import REQUEST, null_target
from trivet.load.process import offer_from
from trivet.load.result import Result
from trivet.spec.row import ABSENT
from trivet.stats.mean import mean_of_blocks
from trivet.stats.percentile import percentile_ns

QUESTION = "What does the load generator itself cost, and how fast can it offer load?"
SHORT = True

WARMUP_NS = NS_PER_S // 2
GOAL_RPS, GOAL_LAG_MS = 20_000, 1.0


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks load_floor", description=QUESTION)
    parser.add_argument("--rates", type=float, nargs="*", default=[1_000, 10_000, GOAL_RPS, 30_000])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    server_core, client_core = server_and_client_core()
    duration_ns = WARMUP_NS + int(options.seconds * NS_PER_S)
    loads: dict[str, OpenLoop | ClosedLoop] = {
        _side(rate): OpenLoop(arrivals=Poisson(rate_rps=rate, duration_ns=duration_ns))
        for rate in options.rates
    }
    loads["closed, 32 users"] = ClosedLoop(num_users=32, duration_ns=duration_ns)
    with null_target(server_core) as target:

        def side(load: OpenLoop | ClosedLoop) -> Callable[[int], Measurement]:
            def measure(seed: int) -> Measurement:
                job = Job(
                    target=target,
                    requests=[REQUEST],
                    load=load,
                    seed=seed,
                    warmup_ns=WARMUP_NS,
                    server_cores=(server_core,),
                )
                return _measured(offer_from(client_core, job))

            return measure

        comparison = compare(
            "load_floor",
            {name: side(load) for name, load in loads.items()},
            num_blocks=options.blocks,
            seed=options.seed,
            settings={
                "warm-up": "0.5 s",
                "measured": f"{options.seconds:g} s",
                "body": f"{len(REQUEST.body)} bytes",
            },
        )
    print(f"# {QUESTION}\n\n{comparison.preface()}\n")
    print(table(comparison))
    print(f"\n{goal_table([goal(comparison)])}")
    return 0


def _measured(result: Result) -> Measurement:
    """The usual figures, but every request's lag counts: at a target that answers at once nobody else made it wait."""
    found = measurement_of(result)
    rows = result.measured()
    left_ns = np.where(rows["sent_ns"] == ABSENT, rows["done_ns"], rows["sent_ns"])
    if rows.num_rows:
        found.values["send_lag_p99_ns"] = percentile_ns(left_ns - rows["intended_ns"], 0.99)
    return found


def goal(comparison: Comparison) -> Goal:
    """Every block counts, the invalid ones too: a late generator is what is looked for."""
    lags_ms = [
        record.measurement.values["send_lag_p99_ns"] / 1e6
        for record in comparison.records
        if record.side == _side(GOAL_RPS)
    ]
    figure = mean_of_blocks(lags_ms) if len(lags_ms) > 1 else None
    what = f"p99 send lag of one client core at {GOAL_RPS:,}/s, mean of {len(lags_ms)} blocks"
    return Goal(what, figure, at_most=GOAL_LAG_MS, unit="ms", reason="cannot tell: one block")


def _side(rate_rps: float) -> str:
    return f"{rate_rps:,.0f}/s"


def table(comparison: Comparison) -> str:
    sides = list(dict.fromkeys(record.side for record in comparison.records))
    rows = []
    for record in sorted(comparison.records, key=lambda record: (sides.index(record.side), record.block)):
        values = record.measurement.values
        rows.append(
            [
                record.side,
                record.block,
                f"{values['throughput_rps']:,.0f}",
                f"{values['p50_ns'] / 1e3:.0f}",
                f"{values['p99_ns'] / 1e3:.0f}",
                f"{values['send_lag_p99_ns'] / 1e3:.0f}",
                f"{values['client_busy_share']:.0%}",
                "no" if record.measurement.invalid else "yes",
            ]
        )
    header = ["offered", "block", "answered/s", "p50 µs", "p99 µs", "p99 send lag µs", "client busy", "valid"]
    return markdown_table(header, rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
