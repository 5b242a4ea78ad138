"""Does what a tune recommends keep its promise on a fresh run? Simulated services, so that the truth is known."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _tuning_page
from benchmarks._kept import KeptRecords
from benchmarks._records import OUT
from benchmarks._simulated_bench import SMALL, WHOLE, SimulatedBench
from benchmarks._simulated_services import hidden
from trivet.catalog.study import Study, Trial
from trivet.load.arrivals import NS, Poisson
from trivet.simulate.record import OK
from trivet.simulate.server import simulated
from trivet.stats.errors import TooFewError
from trivet.stats.quantile_interval import quantile_interval
from trivet.tune.choice import Choice
from trivet.tune.goals import goal_of
from trivet.tune.recommending.promises import promised_rate_rps
from trivet.tune.state import Origin
from trivet.tune.study import tune

QUESTION = "Does a recommendation keep its SLO and accuracy floor on a fresh, long run of the true service?"
SHORT = False
Record = dict[str, Any]
_NEVER_NS = 1 << 62


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tune_promises --", description=QUESTION)
    parser.add_argument("--services", type=int, default=10, help="hidden services [10]")
    parser.add_argument("--seeds", type=int, default=3, help="tunes of each [3]")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of virtual time for each [300]")
    parser.add_argument("--requests", type=int, default=60_000, help="of each fresh run [60000]")
    parser.add_argument(
        "--whole", action="store_true", help="every lever, instead of the space that tune_regret knows"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, help="draw the page of all tuning benchmarks")
    options = parser.parse_args(args)
    kept = KeptRecords(
        OUT / "tuning" / "promises.jsonl", options.processes, lambda task: 1.0, lambda record: record["told"]
    )
    tasks = [
        (number, seed, options.budget, options.requests, options.whole)
        for number in range(options.services)
        for seed in range(options.seeds)
    ]
    records = kept.all_of(one, tasks)
    print(_tuning_page.promises_section(records))
    if options.write:
        options.write.write_text(_tuning_page.page())
    return 1 if any(record["violated"] for record in records) else 0


def one(number: int, seed: int, budget_s: float, num_requests: int, whole: bool) -> Record:
    """One tune of one service, and what its recommendation does on a run that it never saw."""
    service = hidden(number)
    with tempfile.TemporaryDirectory(prefix="trivet-tune-") as folder:
        bench = SimulatedBench(service, Path(folder), seed, WHOLE if whole else SMALL)
        return judged(bench, studied(bench, budget_s, seed), num_requests, seed)


def studied(bench: SimulatedBench, budget_s: float, seed: int) -> Study:
    service = bench.service
    goal = goal_of(bench.base.service, None, service.slo_ns)
    origin = Origin(dataset={"rows": service.num_rows})
    return tune(bench, bench.space, goal, int(budget_s * NS), seed, origin=origin)


def judged(bench: SimulatedBench, study: Study, num_requests: int, seed: int) -> Record:
    """A recommendation against the truth.

    Violated: at the promised rate the true p99 is over the SLO beyond its own interval, or the true accuracy is under
    the floor. At the lower end of the stated interval, without the margin, it is told as well.
    """
    found = study.recommendation
    if found is None:
        raise RuntimeError(f"{study.service}: no recommendation; notes: {study.notes}")
    trial = next(one for one in study.trials if one.id == found.trial)
    record: Record = {
        "service": study.service,
        "seed": seed,
        "meets": found.meets,
        "binding": found.binding,
        "live_trials": sum(
            one.stage in ("default", "verified", "failed") and bool(one.blocks) for one in study.trials
        ),
        "spent_s": sum(study.spent_ns.values()) / NS,
        "violated": [],
        "told": f"{study.service}, seed {seed}: {'meets' if found.meets else found.binding[:60]}",
    }
    if not found.meets:
        return record
    record |= _fresh(bench, study, trial, num_requests, seed)
    if record["slo_low_ms"] > study.goal.slo_latency_ns / 1e6:
        record["violated"].append("latency")
    if study.goal.accuracy_floor is not None and record["true_accuracy"] < study.goal.accuracy_floor:
        record["violated"].append("accuracy")
    gain = (
        "no rate of the default holds"
        if record["gain"] is None
        else f"{record['gain']:.2f} times the default"
    )
    record["told"] += f", {gain}" + ", VIOLATED" * bool(record["violated"])
    return record


def _fresh(bench: SimulatedBench, study: Study, trial: Trial, num_requests: int, seed: int) -> Record:
    choice, default = Choice(trial.levers), bench.space.default
    promised = promised_rate_rps(trial.measured, study.goal)
    rate = trial.measured["max_rate_rps"]
    slo = slo_interval_ms(bench, choice, promised, num_requests, seed)
    at_low_end = slo_interval_ms(bench, choice, rate.low or promised, num_requests, seed)
    # As long as the fresh run: shorter ones end before the slow waves of a queue near its limit, and say too much.
    true_rps = bench.true_rate_rps(choice, num_requests=num_requests, seed=seed + 1_000, guess=rate.estimate)
    default_rps = bench.true_rate_rps(default, num_requests=num_requests // 3, seed=seed + 1_000)
    return {
        "promised_rps": promised,
        "stated": [rate.low, rate.estimate, rate.high],
        "true_rps": true_rps,
        "gain": true_rps / default_rps if default_rps else None,  # None: the default keeps the SLO at no rate
        "slo_ms": slo[1],
        "slo_low_ms": slo[0],
        "slo_at_low_end": at_low_end[0] <= study.goal.slo_latency_ns / 1e6,
        "true_accuracy": bench.true_accuracy(choice),
    }


def slo_interval_ms(
    bench: SimulatedBench, choice: Choice, rate_rps: float, num_requests: int, seed: int
) -> tuple[float, float]:
    """Lower end and estimate of the true latency at the SLO's percentile; a request without a result is infinitely late."""
    profile, setup = bench.truth_of(choice)
    arrivals, draws = np.random.default_rng((seed, 9, round(rate_rps * 1e3))).spawn(2)
    duration_ns = max(1, round(num_requests / rate_rps * NS))
    instants = Poisson(rate_rps=rate_rps, duration_ns=duration_ns).instants_ns(arrivals)
    run = simulated(profile, setup, instants, rng=draws)
    latencies = np.where(run.outcome == OK, run.latency_ns(), _NEVER_NS)
    try:
        found = quantile_interval(latencies, setup.slo_percentile / 100, intended_ns=instants)
    except TooFewError:
        share = float(np.quantile(latencies, setup.slo_percentile / 100, method="inverted_cdf"))
        return share / 1e6, share / 1e6
    return found.low / 1e6, found.estimate / 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
