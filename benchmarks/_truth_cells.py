"""The live runs that the simulator is judged by: three models, how each is served, and what it is offered."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import models
from benchmarks._records import OUT
from trivet.errors import UserError
from trivet.load.arrivals import NS, Instants, Poisson
from trivet.load.traces import read_trace
from trivet.simulate.arrivals import spread
from trivet.simulate.host import Host
from trivet.simulate.mgk import batched
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.simulate.times import mean_ns, sizes_up_to
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration

FOLDER = OUT / "simulator_truth"
SHARED = Path(os.environ.get("BENCH_SHARED", Path(__file__).resolve().parents[2] / "shared"))
TRACES = {
    "azure": "azure-llm-traces/AzureLLMInferenceTrace_conv.csv",
    "mooncake": "mooncake-traces/conversation_trace.jsonl.gz",
}
LOADS = (0.3, 0.7, 0.85)
TRACE_LOAD = 0.5  # their bursts make the rest
DEADLINE = "1s"


@dataclass(frozen=True, slots=True)
class Cell:
    """One way of serving one model, and one load: a share of what it can do at its best batch."""

    model: str
    max_batch_size: int
    threads: int
    instances: int
    load: float
    arrivals: str = "poisson"

    def __str__(self) -> str:
        return (
            f"{self.model}, batch {self.max_batch_size}, {self.threads} threads, {self.instances} instances, "
            f"{self.arrivals} {self.load:g}"
        )

    @property
    def name(self) -> str:
        """Of its configuration."""
        return f"{self.model}-{self.max_batch_size}-{self.threads}-{self.instances}"


def cells() -> list[Cell]:
    """24: batches of one and of several at three loads, two threads, two instances, and two traces."""
    names = ("quick", "dense", "magika")
    found = [Cell(name, batch, 1, 1, load) for name in names for batch in (1, 8) for load in LOADS]
    found += [Cell("dense", 8, 2, 1, 0.7), Cell("magika", 8, 2, 1, 0.7)]
    found += [Cell("dense", 8, 1, 2, 0.7), Cell("magika", 8, 1, 2, 0.7)]
    return [*found, *(Cell("dense", 8, 1, 1, TRACE_LOAD, trace) for trace in TRACES)]


def configuration_of(cell: Cell, *, slo: str = "") -> Configuration:
    """Its service, written beside the records; the model files are made once."""
    folder = FOLDER / "services"
    path = folder / f"{cell.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"name: {cell.model}\n"
        f"models:\n  {cell.model}:\n    file: {model_file(cell.model, folder).name}\n"
        f"    levers: {{threads: {cell.threads}, instances: {cell.instances}, max_batch_size: {cell.max_batch_size}}}\n"
        f"slo: {{deadline: {DEADLINE}{slo and f', latency: {slo}'}}}\n"
    )
    return load_configuration(path)


def model_file(name: str, folder: Path) -> Path:
    """quick: 0.1 ms or so, inline; dense: some ms in a thread; magika: Google's, or as much work where it is missing."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        if name == "magika" and importlib.util.find_spec("magika") is not None:
            from demo.file_types import FileTypes

            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FileTypes().path.read_bytes())
        else:
            models.write(models.busy({"quick": 12, "dense": 200, "magika": 500}[name]), path)
    return path


def formula_p99_ms(profile: ServiceProfile, setup: Setup, rate_rps: float) -> float | None:
    """What M/G/k says, with batches as effective servers and the loop's work in every batch; None: no steady state."""
    stage = setup.stages[0]
    times, host = profile.models[stage.key], profile.host
    request_ns, batch_ns = sum(host.per_request_ns), sum(host.per_batch_ns)
    sizes = np.arange(1, stage.max_batch_size + 1)
    factors = Host(host, np.random.default_rng(0)).busy_factors(stage.max_batch_size)
    batch_times = np.array(
        [mean_ns(times, int(rows)) * factors[rows] + batch_ns + rows * request_ns for rows in sizes]
    )
    lone = np.array(times.samples[max(times.samples)][1], np.float64)
    engines = min(stage.instances, max(1, setup.engine_cores // stage.threads))
    try:
        found = batched(rate_rps / NS, batch_times, engines, float(lone.var() / lone.mean() ** 2))
    except UserError:
        return None
    return (found.latency_percentile(0.99) + float(np.mean(host.per_wake_ns or [0]))) / 1e6


def capacity_rps(profile: ServiceProfile, setup: Setup) -> float:
    """The most that its best batch can do: engine and loop one after the other where they share a core."""
    stage = setup.stages[0]
    times, host = profile.models[stage.key], profile.host
    shared = stage.execution == "inline" or setup.cores == 1
    engines = 1 if shared else min(stage.instances, max(1, setup.engine_cores // stage.threads))

    factors = Host(host, np.random.default_rng(0)).busy_factors(stage.max_batch_size)

    def best_of(rows: int) -> float:
        busy_ns = mean_ns(times, rows) * factors[rows]
        if shared:
            busy_ns += sum(host.per_batch_ns) + rows * sum(host.per_request_ns)
        return engines * rows / busy_ns * NS

    return max(best_of(rows) for rows in sizes_up_to(stage.max_batch_size))


def instants_of(cell: Cell, rate_rps: float, num: int, seed: int) -> Instants:
    """So many arrivals at about the rate; of a trace its first, closer together or farther apart.

    Raises: SpecError: the trace is not there.
    """
    rng = np.random.default_rng(seed)
    if cell.arrivals == "poisson":
        return Poisson(rate_rps=rate_rps, duration_ns=int(num / rate_rps * NS)).instants_ns(rng)
    stamps = read_trace(SHARED / "data" / TRACES[cell.arrivals])[: num + 1]
    if len(np.unique(stamps)) < len(stamps) // 2:
        stamps = spread(stamps, rng)
    own_rps = (len(stamps) - 1) / float(stamps[-1]) * NS
    return np.asarray(stamps[:num] * (own_rps / rate_rps), np.int64)
