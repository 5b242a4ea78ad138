"""What recording a run costs, and how fast ten thousand runs are listed. SQLite on this machine's disk."""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import fingerprint
from trivet.catalog.records import Figure, RunDraft, RunFilter
from trivet.catalog.schema import run_documents, run_tags, runs
from trivet.catalog.writer import Writer
from trivet.host import processor
from trivet.spec.row import RowColumns, RowsHeader

QUESTION = "What does recording a run cost, and how fast are 10,000 runs listed?"
SHORT = True

NUM_RUNS = 10_000
NUM_ROWS = 200_000  # of a run: ten seconds at 20,000 requests a second
FIGURES = {
    f"latency_p{p}_ms": Figure(estimate=1.5 + p / 100, low=1.4, high=2.7, unit="ms")
    for p in (50, 90, 95, 99, 999)
} | {
    name: Figure(estimate=0.5, low=0.4, high=0.6, unit=name)
    for name in ("throughput_rps", "goodput_rps", "slo_attainment", "error_share", "memory_mib", "accuracy")
}
GOALS_MS = {"list all": 200, "list one service": 200, "list by tag": 200}


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks catalog_cost --", description=QUESTION)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog.open(folder)
        draft = _draft()
        fill(catalog, draft)
        print(f"# {QUESTION}\n")
        print(
            f"- {processor()}, CPython {platform.python_version()}, SQLite; {NUM_RUNS:,} runs with "
            f"{len(FIGURES)} figures each; seed {options.seed}; one call first that is not counted, then "
            f"{options.repeats}\n"
        )
        print("| | median ms | slowest ms | goal ms | |\n|---|---|---|---|---|")
        missed = 0
        for name, call in calls(catalog, draft, options.seed).items():
            times_ms = sorted(_times_ms(call, options.repeats))
            goal = GOALS_MS.get(name)
            verdict = "" if goal is None else "met" if statistics.median(times_ms) < goal else "MISSED"
            missed += verdict == "MISSED"
            print(
                f"| {name} | {statistics.median(times_ms):.1f} | {times_ms[-1]:.1f} | {goal or ''} | {verdict} |"
            )
    return 1 if missed else 0


def fill(catalog: Catalog, draft: RunDraft) -> None:
    """The rows that `begin` and `finish` write, of all runs in one transaction: one by one takes minutes."""
    figures, writer = msgspec.json.encode(FIGURES).decode(), msgspec.json.encode(Writer.current()).decode()
    document = msgspec.json.encode(draft).decode()
    numbers = range(1, NUM_RUNS + 1)
    with catalog._database.writing() as connection:
        connection.execute(
            runs.insert(),
            [
                {
                    "number": number,
                    "id": f"r{number:09d}",
                    "kind": "bench",
                    "service": f"service-{number % 20}",
                    "state": "complete",
                    "configuration_hash": f"{number % 100:064x}",
                    "group_name": "",
                    "begun": f"2026-11-22T09:00:00.{number % 1000:03d}+00:00",
                    "ended": "2026-11-22T09:01:00.000+00:00",
                    "reason": "",
                    "figures": figures,
                    "tags": f'{{"pr":"{number % 50}"}}',
                    "writer": writer,
                }
                for number in numbers
            ],
        )
        connection.execute(
            run_documents.insert(), [{"number": n, "draft": document, "artifacts": "{}"} for n in numbers]
        )
        connection.execute(
            run_tags.insert(), [{"number": n, "name": "pr", "value": str(n % 50)} for n in numbers]
        )


def calls(catalog: Catalog, draft: RunDraft, seed: int) -> dict[str, Callable[[], object]]:
    rows = _rows(seed)

    def record() -> None:
        catalog.finish(catalog.begin(draft), "complete", figures=FIGURES)

    return {
        "list all": lambda: catalog.runs(RunFilter()),
        "list the newest 50": lambda: catalog.runs(RunFilter(limit=50)),
        "list one service": lambda: catalog.runs(RunFilter(service="service-7")),
        "list by tag": lambda: catalog.runs(RunFilter(tags=(("pr", "7"),))),
        "one run by its id": lambda: catalog.run("r000000777"),
        "open": lambda: Catalog.open(str(Path(str(catalog)).parent)),
        "begin and finish": record,
        f"rows to Parquet, {NUM_ROWS:,}": lambda: catalog.put_rows(rows),
        "fingerprint of the environment": lambda: fingerprint(Path.cwd()),
        "append to the audit log": lambda: catalog.audit.append("ann", "approve", "release", {"share": 0.1}),
    }


def _draft() -> RunDraft:
    return RunDraft(
        kind="bench",
        service="service-1",
        configuration_hash="0" * 64,
        configuration={"levers": {"max_batch_size": 8}},
        workload={"rate_rps": 1000},
        seeds={"arrivals": 1},
        dataset={},
        environment=fingerprint(Path.cwd()),
        command=["trivet", "bench"],
    )


def _rows(seed: int) -> RowColumns:
    rng = np.random.default_rng(seed)
    intended_ns = np.cumsum(rng.exponential(50_000, NUM_ROWS)).astype(np.int64)
    latency_ns = rng.gamma(4, 300_000, NUM_ROWS).astype(np.int64)
    return RowColumns.of(
        RowsHeader(writer="benchmark"),
        NUM_ROWS,
        intended_ns=intended_ns,
        sent_ns=intended_ns + 1000,
        first_byte_ns=intended_ns + latency_ns,
        done_ns=intended_ns + latency_ns + 1000,
        status=200,
        item=rng.integers(0, 1000, NUM_ROWS),
        service="service-1",
    )


def _times_ms(call: Callable[[], object], repeats: int) -> list[float]:
    call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - begun) / 1e6)
    return times


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
