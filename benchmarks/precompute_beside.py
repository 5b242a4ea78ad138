"""What a batch job does to the tail of the server beside it: both on one core, the job at idle priority."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import _open_loop as open_loop
from benchmarks import models
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
from benchmarks._pooled import pooled_p99_ratio
from benchmarks._sides import SIDES, model_file, start
from benchmarks._tables import Goal, Report

QUESTION = "How much does the p99 of serving grow while `trivet precompute` runs on the same core?"
_ALONE, _BESIDE = "alone", "beside a job"
_ROWS = 400_000  # more than any block lets it answer


def main(args: Sequence[str] = ()) -> int:
    made = parser("precompute_beside", QUESTION)
    made.add_argument("--model", choices=["tiny", "text"], default="tiny")
    made.add_argument("--rate", type=float, default=1000.0, help="requests a second [1000]")
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    model = model_file(options.model, None)
    arrivals = open_loop.poisson(options.rate, options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        command = _job(Path(folder), server_core)

        def measure(seed: int, *, beside: bool) -> Measurement:
            with start(SIDES["trivet"], options.model, model, server_core, None) as server:
                job = open_loop.job(server.target, payloads(options.model, "v2"), arrivals, seed)
                with _running(command) if beside else contextlib.nullcontext():
                    return measure_server(
                        server, job, client_core, keep_latencies=True, failed_ns=job.timeout_ns
                    )

        comparison = compare(
            f"precompute-beside-{options.model}-{options.rate:g}",
            {
                _ALONE: lambda seed: measure(seed, beside=False),
                _BESIDE: lambda seed: measure(seed, beside=True),
            },
            num_blocks=options.blocks,
            seed=options.seed,
            settings={"model": options.model} | open_loop.settings(f"{options.rate:g}/s", options.seconds),
            resume=options.resume,
        )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    tables = [comparison_table(comparison, "p99_ns", _ALONE, unit="ms", scale=1e6)]
    if comparison.is_empty():
        return Report(comparison, tables, [])
    ratio = pooled_p99_ratio(
        comparison.samples(_BESIDE, "latency_ns"), comparison.samples(_ALONE, "latency_ns")
    )
    return Report(
        comparison, tables, [Goal("p99 beside a job / alone, pooled over blocks", ratio, at_most=1.1)]
    )


def _job(folder: Path, core: int) -> list[str]:
    """The command of a job that answers rows without end; what a killed one has done is not gone on with."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    models.write(models.busy(num_layers=4), folder / "busy.onnx")
    rows = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    repeated = pa.table({"x": [row.tolist() for row in rows]}).take(np.arange(_ROWS) % len(rows))
    pq.write_table(repeated, folder / "inputs.parquet")
    trivet = [sys.executable, "-m", "trivet.cli.main", "precompute"]
    return ["taskset", "-c", str(core), *trivet, str(folder / "busy.onnx"), str(folder / "inputs.parquet")]


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[None]:
    """The job, from its first answers on, until the block ends."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if " rows, " in line:
                break
        yield
    finally:
        process.kill()
        process.communicate()
