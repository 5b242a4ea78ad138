"""How far from the best is what a tune finds, with few live trials? Beside other searches, on the same truth."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import _kept_rows, _tuning_page
from benchmarks._kept import KeptRecords
from benchmarks._other_searches import SEARCHES, Found, Truth
from benchmarks._records import OUT
from benchmarks._simulated_bench import SMALL, SimulatedBench
from benchmarks._simulated_services import hidden
from trivet.catalog.study import Goal, Study
from trivet.load.arrivals import NS
from trivet.simulate.setup import Setup
from trivet.tune.bench import Bench
from trivet.tune.choice import Choice
from trivet.tune.goals import goal_of
from trivet.tune.recommending.hypervolume import REFERENCE_FACTOR, dominated_volume
from trivet.tune.space import Space
from trivet.tune.study import tune
from trivet.tune.verify import MAX_TRIALS

QUESTION = "How far from the best are 12 live trials of a tune, and of TPE, NSGA-II and random search?"
SHORT = False
Record = dict[str, Any]
MANY_TRIALS = 60


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tune_regret --", description=QUESTION)
    parser.add_argument("--services", type=int, default=4, help="hidden services [4]")
    parser.add_argument("--seeds", type=int, default=3, help="tunes and searches of each [3]")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of each tune [300]")
    parser.add_argument("--requests", type=int, default=6_000, help="of each simulation of the truth [6000]")
    parser.add_argument("--live", type=Path, help="rows kept by tune_truth: regret on them, too")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, help="draw the page of all tuning benchmarks")
    options = parser.parse_args(args)
    kept = KeptRecords(
        OUT / "tuning" / "regret.jsonl", options.processes, lambda task: 1.0, lambda record: record["told"]
    )
    tasks = [(number, options.seeds, options.budget, options.requests) for number in range(options.services)]
    records = kept.all_of(simulated_service, tasks)
    if options.live:
        records.append(live_rows(options.live, options.seeds, options.budget))
        (OUT / "tuning" / "regret-live.json").write_bytes(msgspec.json.encode(records[-1]))
    print(_tuning_page.regret_section(records))
    if options.write:
        options.write.write_text(_tuning_page.page())
    return 0


def simulated_service(number: int, seeds: int, budget_s: float, num_requests: int) -> Record:
    """The whole truth of one hidden service, then every search on it."""
    service = hidden(number)
    with tempfile.TemporaryDirectory(prefix="trivet-tune-") as folder:
        first = SimulatedBench(service, Path(folder), 0, SMALL)
        goal = goal_of(first.base.service, None, service.slo_ns)
        truth = truth_of(first, goal, num_requests)
        return searched(
            service.name,
            truth,
            goal,
            lambda seed: _bench_and_space(SimulatedBench(service, Path(folder), seed, SMALL)),
            seeds,
            budget_s,
        )


def _bench_and_space(bench: SimulatedBench) -> tuple[Bench, Space]:
    return bench, bench.space


def live_rows(path: Path, seeds: int, budget_s: float) -> Record:
    """The same on rows that were measured live."""
    rows = _kept_rows.read(path)
    return searched(rows.name, rows.truth(), rows.goal, rows.bench, seeds, budget_s)


def searched(
    name: str,
    truth: Truth,
    goal: Goal,
    bench_of: Callable[[int], tuple[Bench, Space]],
    seeds: int,
    budget_s: float,
) -> Record:
    """Regret and share of the hypervolume of each search, one of each a seed."""
    found: dict[str, list[Record]] = {"trivet tune": []}
    for seed in range(seeds):
        bench, space = bench_of(seed)
        truth = _as_judged(truth, bench)
        study = tune(bench, space, goal, int(budget_s * NS), seed)
        found["trivet tune"].append(of_study(study, truth, goal))
        for search, run in SEARCHES.items():
            for num in (MAX_TRIALS, MANY_TRIALS):
                key = f"{search}, {num} trials"
                found.setdefault(key, []).append(of_found(run(truth, goal, num, seed), truth, goal))
    best = found["trivet tune"]
    regrets = ", ".join(f"{one['regret']:.1%}" for one in best)
    told = f"{name}: regret {regrets} of {len(truth.figures)} configurations"
    return {"service": name, "configurations": len(truth.figures), "searches": found, "told": told}


def _as_judged(truth: Truth, bench: Bench) -> Truth:
    """What is allowed is told by the labelled sample that this seed's searches see."""
    judged = {choice: bench.accuracy(choice) for choice in truth.figures}
    return replace(truth, accuracies={choice: found for choice, found in judged.items() if found is not None})


def truth_of(bench: SimulatedBench, goal: Goal, num_requests: int) -> Truth:
    """Largest rate, p99 at the reference rate and accuracy of every configuration; those that run the same once."""
    known: dict[Setup, float] = {}
    rates: dict[Choice, float] = {}
    for choice in bench.space.choices():
        setup = bench.truth_of(choice)[1]
        if setup not in known:
            known[setup] = bench.true_rate_rps(choice, num_requests=num_requests, seed=77)
        rates[choice] = known[setup]
    default = bench.space.default
    reference = rates[default] / 2 or max(rates.values()) / 4
    latencies: dict[Setup, float] = {}
    figures = {}
    for choice, rate in rates.items():
        setup = bench.truth_of(choice)[1]
        if setup not in latencies:
            block = bench.block_of(choice, reference, num_requests / reference, (77, 1))
            latencies[setup] = block.figures.get("latency_p99_ms", float("inf"))
        figures[choice] = (rate, latencies[setup], bench.true_accuracy(choice))
    accuracies = {choice: bench.accuracy(choice) for choice in figures}
    return Truth(bench.space, figures, {c: a for c, a in accuracies.items() if a is not None}, default)


def of_study(study: Study, truth: Truth, goal: Goal) -> Record:
    """A tune by its recommendation and its front."""
    trials = {trial.id: Choice(trial.levers) for trial in study.trials}
    chosen = study.recommendation
    choice = None if chosen is None or not chosen.meets else trials[chosen.trial]
    measured = [trials[trial.id] for trial in study.trials if trial.measured]
    record = of_found(Found(choice, measured), truth, goal)
    return record | {"live_trials": len(measured), "spent_s": sum(study.spent_ns.values()) / NS}


def of_found(found: Found, truth: Truth, goal: Goal) -> Record:
    best = max(truth.worth(choice, goal) for choice in truth.figures)
    chosen = truth.worth(found.chosen, goal) if found.chosen is not None else 0.0
    whole = volume(truth, truth.figures)
    return {
        "regret": 1 - chosen / best if best else 0.0,
        "volume": volume(truth, {choice: truth.figures[truth.like(choice)] for choice in found.tried})
        / whole,
    }


def volume(truth: Truth, figures: Mapping[Choice, tuple[float, float, float]]) -> float:
    """As `hypervolume` has it, of figures that are known."""
    usable = [one for one in figures.values() if one[0] > 0 and np.isfinite(one[1])]
    rate, latency, accuracy = truth.figures[truth.default]
    if not usable or not rate:
        return float("nan")
    points = [(np.log(p99), -np.log(rps), -right) for rps, p99, right in usable]
    reference = (
        np.log(latency * REFERENCE_FACTOR),
        -np.log(rate / REFERENCE_FACTOR),
        -accuracy / REFERENCE_FACTOR,
    )
    return dominated_volume(points, reference)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
