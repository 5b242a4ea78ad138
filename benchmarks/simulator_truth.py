"""Forecasts beside live runs: what the simulator says of a run's own arrivals and inputs, from a profile made before it."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from benchmarks._truth_cells import FOLDER, Cell, capacity_rps, cells, configuration_of, instants_of
from benchmarks._truth_page import RateRecord, TruthRecord, page
from trivet.experiment.measured import measure
from trivet.experiment.placement import place
from trivet.experiment.simulating.checking import check
from trivet.experiment.simulating.live_points import asked, served
from trivet.experiment.simulating.profiling import profile_service
from trivet.experiment.simulating.simulated import setup_of
from trivet.load.arrivals import NS, Poisson, Recorded
from trivet.load.job import Job, OpenLoop
from trivet.load.knee import Ramp, find_knee
from trivet.load.process import offer_from
from trivet.simulate.forecast import largest_rate
from trivet.simulate.profile import ServiceProfile
from trivet.spec.levers import Slo

QUESTION = "Does the simulator forecast the p99 and attainment of live runs?"
SHORT = False
WARMUP_NS = NS
MOST_REQUESTS = 60_000  # of a quick model, in so many seconds: each is simulated dozens of times
Kept = TypeVar("Kept", bound=msgspec.Struct)
SLO_OF_ONE = 5.0  # the latency that attainment counts by, in times of a batch of one
# Of the sends 99 % are less late than this part of that latency: it counts from the intended send, so that a late one
# makes a run look slower, never faster.
LAG_PER_SLO = 10


def main(args: Sequence[str] = ()) -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks simulator_truth --", description=QUESTION)
    made.add_argument("--requests", type=int, default=5_000, help="of each run [5000]")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument(
        "--least-seconds", type=float, default=20, help="of one run: a hiccup is to be one of many [20]"
    )
    made.add_argument(
        "--most-seconds", type=float, default=180, help="of one run, whatever it has then [180]"
    )
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--only", default="", help="cells whose name holds this text")
    made.add_argument("--record", type=Path, default=FOLDER / "records.jsonl", help="goes on where it ended")
    made.add_argument("--page", type=Path, help="only write the page from the record")
    made.add_argument(
        "--rates", action="store_true", help="largest rates within an SLO, too: some minutes a model"
    )
    made.add_argument("--list", action="store_true", help="name the cells")
    options = made.parse_args(args)
    chosen = [cell for cell in cells() if options.only in str(cell)]
    if options.list:
        print("\n".join(map(str, chosen)))
        return 0
    records = read_lines(options.record, TruthRecord)
    if options.page is None:
        for repeat in range(options.repeats):
            measure_repeat(repeat, chosen, records, options)
    rates_path = options.record.with_name("rates.jsonl")
    if options.rates:
        measure_rates(sorted({cell.model for cell in chosen}), rates_path, options)
    text = page(records, read_lines(rates_path, RateRecord))
    if options.page is None:
        print(text)
    else:
        options.page.write_text(text + "\n")
    return 0


def read_lines(path: Path, kind: type[Kept]) -> list[Kept]:
    """What was measured already; a last line that was cut off was being written."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [msgspec.json.decode(line, type=kind) for line in lines if line.endswith(b"\n")]


def keep(path: Path, record: msgspec.Struct) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(record) + b"\n")


def measure_repeat(
    repeat: int, chosen: Sequence[Cell], records: list[TruthRecord], options: argparse.Namespace
) -> None:
    """All cells once, in drawn order, each profiled just before its run: a machine that is shared changes by the minute."""
    known = {(str(record.cell), record.repeat) for record in records}
    missing = [cell for cell in chosen if (str(cell), repeat) not in known]
    rng = np.random.default_rng((options.seed, repeat))
    for index in rng.permutation(len(missing)):
        record = measured(missing[index], repeat, profile_of(missing[index], repeat, options), options)
        records.append(record)
        keep(options.record, record)
        sys.stderr.write(
            f"{time.strftime('%H:%M:%S')} repeat {repeat + 1}, {record.cell}: {record.words()}\n"
        )


def profile_of(cell: Cell, repeat: int, options: argparse.Namespace) -> ServiceProfile:
    path = options.record.parent / f"profile-{cell.model}-{repeat}-{int(time.time())}.json"
    return profile_service([configuration_of(cell)], place(), path=path, seed=options.seed + repeat)


def measured(cell: Cell, repeat: int, profile: ServiceProfile, options: argparse.Namespace) -> TruthRecord:
    """One live run, then its forecast. All repeats of a cell have the same arrivals: their spread is the machine's."""
    placement = place()
    num_cores = len(placement.server)
    plain = setup_of(configuration_of(cell), profile, workers=1, num_cores=num_cores)
    capacity = capacity_rps(profile, plain)
    # The rate is the first repeat's in all: they must be the same run.
    rate = first_rate(cell, options) or cell.load * capacity
    one_ms = max(1.0, round(SLO_OF_ONE * profile_one_ms(profile, plain.stages[0].key), 1))
    configuration = configuration_of(cell, slo=f"{one_ms:g}ms")
    setup = setup_of(configuration, profile, workers=1, num_cores=num_cores)
    num = max(options.requests, min(MOST_REQUESTS, int(rate * options.least_seconds)))
    num = min(num, max(1_000, int(rate * options.most_seconds)))
    instants = instants_of(cell, rate, num + int(rate * WARMUP_NS / NS), options.seed)
    with served(configuration, placement, asked()) as made:
        job = Job(
            target=made.target,
            requests=list(made.requests),
            load=OpenLoop(arrivals=Recorded.of(instants)),
            seed=options.seed,
            warmup_ns=WARMUP_NS,
            server_cores=placement.server,
            max_send_lag_ns=max(NS // 1000, int(one_ms * NS / 1000 / LAG_PER_SLO)),
        )
        run = measure(job, processes=made.started.processes, core=placement.generator, is_pinned=True)
    found = check(run, profile, setup, seed=options.seed)
    return TruthRecord.of(cell, repeat, rate, capacity, found, profile, setup, run.rows, WARMUP_NS)


def measure_rates(names: Sequence[str], path: Path, options: argparse.Namespace) -> None:
    """The knee of each model with batches of 8, live and forecast; its SLO is five times a lone request's time."""
    known = {record.model for record in read_lines(path, RateRecord)}
    placement = place()
    for name in names:
        if name in known:
            continue
        cell = Cell(name, 8, 1, 1, 0.7)
        profile = profile_of(cell, 0, options)
        plain = setup_of(configuration_of(cell), profile, workers=1, num_cores=len(placement.server))
        slo_ms = max(1.0, round(SLO_OF_ONE * profile_one_ms(profile, plain.stages[0].key), 1))
        configuration = configuration_of(cell, slo=f"{slo_ms:g}ms")
        setup = setup_of(configuration, profile, workers=1, num_cores=len(placement.server))
        capacity = capacity_rps(profile, setup)
        load = Poisson(rate_rps=capacity / 2, duration_ns=NS)
        predicted = largest_rate(
            profile, setup, load, seed=options.seed, replications=6, num_requests=options.requests
        )
        with served(configuration, placement, asked()) as made:
            base = Job(
                target=made.target,
                requests=list(made.requests),
                load=OpenLoop(arrivals=load),
                seed=options.seed,
                warmup_ns=WARMUP_NS // 2,
                server_cores=placement.server,
            )
            ramp = Ramp(min_rps=capacity / 8, max_rps=2 * capacity, step_ns=int(4 * NS), num_searches=3)
            slo = Slo(latency_ns=round(slo_ms * 1e6))
            found = find_knee(ramp, base, lambda job: offer_from(placement.generator, job), slo)
        live = (found.rate_rps, found.low_rps or 0.0, found.high_rps or 0.0)
        forecast = (predicted.estimate, predicted.low, predicted.high)
        record = RateRecord(model=name, slo_ms=slo_ms, live=live, forecast=forecast, invalid=found.invalid)
        keep(path, record)
        sys.stderr.write(
            f"{time.strftime('%H:%M:%S')} {name}: {live[0]:.0f}/s live, {forecast[0]:.0f}/s forecast\n"
        )


def first_rate(cell: Cell, options: argparse.Namespace) -> float | None:
    """The rate that the cell's first run had."""
    rates = [
        record.rate_rps for record in read_lines(options.record, TruthRecord) if str(record.cell) == str(cell)
    ]
    return rates[0] if rates else None


def profile_one_ms(profile: ServiceProfile, key: str) -> float:
    samples = profile.models[key].samples
    return float(np.median(samples[max(samples)][1])) / 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
