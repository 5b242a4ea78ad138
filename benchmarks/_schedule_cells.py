"""Cells of the scheduler's grid: load x arrivals x SLO x service shape, in three layers of realism."""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivet.load.traces import read_trace
from trivet.schedule import Queue, Scheduler, ServiceTime
from trivet.simulate.arrivals import bursty, poisson, replayed, spread
from trivet.simulate.baselines import Aimd, Fifo, NexusWindow
from trivet.simulate.bound import WorkClock, clairvoyant
from trivet.simulate.driver import IN_TIME, Policy, Trajectory, simulate
from trivet.simulate.offline import Search, best_found
from trivet.simulate.workload import Machine, Shape, Workload, merged, workload

MS = 1_000_000
LOADS = (0.7, 1.0, 1.5, 3.0, 10.0)
FULL_SEARCH = Search()
SLOS = ("one", "mixed")


@dataclass(frozen=True, slots=True)
class Service:
    """A service shape with its SLO, and how long a run is (about as many batches for each shape)."""

    name: str
    shape: Shape
    slo_ns: int
    horizon_ns: int


SERVICES = (
    Service("cpu .3+.5b, 20 ms", Shape(300_000, 500_000), 20 * MS, 2_000 * MS),
    Service("gpu 4+.25b, 50 ms", Shape(4 * MS, 250_000), 50 * MS, 6_000 * MS),
    Service("long 2+20b, 100 ms", Shape(2 * MS, 20 * MS), 100 * MS, 25_000 * MS),
)


@dataclass(frozen=True, slots=True)
class Layer:
    name: str
    noise_cv: float
    hiccup_share: float
    slowdown: bool
    goal: float  # goodput over the bound, mean over seeds
    max_late: float  # share of executed requests


LAYERS = (
    Layer("deterministic", 0.0, 0.0, False, 0.95, 0.005),
    Layer("noise", 0.1, 0.0, False, 0.92, 0.01),
    Layer("hiccups", 0.1, 0.005, True, 0.85, 0.02),
)


@dataclass(frozen=True, slots=True)
class Cell:
    service: Service
    load: float
    arrivals: str
    slo: str

    @property
    def longest_ns(self) -> int:
        return self.service.slo_ns * (2 if self.slo == "mixed" else 1)

    @property
    def rows_per_ns(self) -> float:
        """Load 1.0: the best rate under the longest SLO."""
        return self.service.shape.best_rows_per_ns(self.longest_ns)


@functools.cache
def traces() -> dict[str, NDArray[np.int64]]:
    """Recorded arrivals that lie beside the repository, by name."""
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    azure = data / "azure-llm-traces" / "AzureLLMInferenceTrace_conv.csv"
    mooncake = data / "mooncake-traces" / "conversation_trace.jsonl.gz"
    found = {}
    if azure.exists():
        found["azure"] = read_trace(azure)
    if mooncake.exists():
        found["mooncake"] = spread(read_trace(mooncake), np.random.default_rng(0))
    return found


def cells(kinds: Sequence[str] = ("poisson", "mmpp", "azure")) -> Iterator[Cell]:
    """All cells of these arrivals.

    Raises: FileNotFoundError: a trace does not lie beside the repository.
    """
    for kind in kinds:
        if kind not in ("poisson", "mmpp", *traces()):
            raise FileNotFoundError(
                f"no recorded arrivals {kind!r} beside the repository; known: {sorted(traces())}"
            )
    for service, slo, kind, load in itertools.product(SERVICES, SLOS, kinds, LOADS):
        yield Cell(service, load, kind, slo)


def rng_of(cell: Cell, seed: int, purpose: str) -> np.random.Generator:
    """One generator for each purpose, the same in every process."""
    text = f"{cell.service.name}|{cell.load}|{cell.arrivals}|{cell.slo}|{purpose}"
    return np.random.default_rng([seed, zlib.crc32(text.encode())])


def work_of(cell: Cell, seed: int, horizon_ns: int | None = None) -> Workload:
    horizon_ns = horizon_ns or cell.service.horizon_ns
    rng = rng_of(cell, seed, "arrivals")
    rate = cell.load * cell.rows_per_ns
    if cell.arrivals == "poisson":
        arrival_ns = poisson(rng, rate, horizon_ns)
    elif cell.arrivals == "mmpp":
        arrival_ns = bursty(rng, rate, horizon_ns, burst_ns=5 * cell.service.slo_ns)
    else:
        arrival_ns = replayed(rng, traces()[cell.arrivals], rate, horizon_ns)
    budget = np.full(len(arrival_ns), cell.service.slo_ns, np.int64)
    if cell.slo == "mixed":
        budget[rng_of(cell, seed, "slo").random(len(arrival_ns)) < 0.5] *= 2
    return workload(arrival_ns, budget)


def machine_of(cell: Cell, layer: Layer, seed: int) -> Machine:
    return Machine(
        rng_of(cell, seed, f"machine {layer.name}"),
        noise_cv=layer.noise_cv,
        hiccup_share=layer.hiccup_share,
        slow_from_ns=cell.service.horizon_ns // 2 if layer.slowdown else None,
    )


def service_time_of(shape: Shape, max_rows: int, layer: Layer, rng: np.random.Generator) -> ServiceTime:
    """A predictor that has seen 10 samples of each profiled batch size (powers of two and the largest)."""
    service_time = ServiceTime(max_rows)
    sigma = float(np.sqrt(np.log1p(layer.noise_cv**2)))
    sizes = sorted({min(1 << power, max_rows) for power in range(max_rows.bit_length() + 1)})
    service_time.seed(
        None,
        {
            size: (shape.ns(size) * np.exp(rng.normal(-(sigma**2) / 2, sigma, 10))).astype(int).tolist()
            for size in sizes
        },
    )
    return service_time


MakePolicy = Callable[[ServiceTime, int], tuple[Policy, Queue]]


def ours(service_time: ServiceTime, slo_ns: int) -> tuple[Policy, Queue]:
    scheduler = Scheduler(1)
    model = scheduler.add_model("m", max_batch_size=service_time.max_batch_size, service_time=service_time)
    return scheduler, scheduler.queue(model)


@dataclass(frozen=True, slots=True)
class Result:
    ratio: float  # goodput over the clairvoyant bound
    late: float  # executed but late, share of executed
    num: int
    goodput: int
    bound: int


def run(cell: Cell, layer: Layer, seed: int, make: MakePolicy = ours) -> tuple[Result, Workload, Trajectory]:
    work = work_of(cell, seed)
    shape = cell.service.shape
    max_rows = shape.max_rows(cell.longest_ns)
    service_time = service_time_of(shape, max_rows, layer, rng_of(cell, seed, "profile"))
    policy, queue = make(service_time, cell.service.slo_ns)
    machine = machine_of(cell, layer, seed)
    trajectory = simulate(policy, [queue], [shape], work, machine)
    clock = WorkClock(trajectory, machine, 1, cell.service.horizon_ns)
    bound = int(clairvoyant(work, np.array([1 / cell.rows_per_ns]), clock=clock).sum())
    goodput = int(np.count_nonzero(trajectory.outcome == IN_TIME))
    return Result(goodput / bound, trajectory.share_late(), len(work), goodput, bound), work, trajectory


def run_short(cell: Cell, seed: int, slos: int = 40, search: Search = FULL_SEARCH) -> tuple[int, int, int]:
    """(goodput, bound, best schedule found offline) on a short trace at nominal speed."""
    work = work_of(cell, seed, slos * cell.service.slo_ns)
    shape = cell.service.shape
    max_rows = shape.max_rows(cell.longest_ns)
    policy, queue = ours(
        service_time_of(shape, max_rows, LAYERS[0], np.random.default_rng(0)), cell.service.slo_ns
    )
    trajectory = simulate(policy, [queue], [shape], work, Machine(np.random.default_rng(0)))
    bound = int(clairvoyant(work, np.array([1 / cell.rows_per_ns])).sum())
    goodput = int(np.count_nonzero(trajectory.outcome == IN_TIME))
    return goodput, bound, best_found(work, shape, max_rows, search)


def baseline(make: Callable[[Queue, int, int], Policy]) -> MakePolicy:
    """A policy of simulate/baselines.py over a queue like ours."""

    def make_policy(service_time: ServiceTime, slo_ns: int) -> tuple[Policy, Queue]:
        _, queue = ours(service_time, slo_ns)
        return make(queue, service_time.max_batch_size, slo_ns), queue

    return make_policy


BASELINES = {
    "FIFO, drops expired": baseline(lambda queue, rows, _: Fifo(queue, rows)),
    "AIMD": baseline(lambda queue, rows, _: Aimd(queue, rows)),
    "Nexus-like": baseline(NexusWindow),
}


def mean_of(results: Sequence[Result]) -> tuple[float, float, float]:
    """(mean ratio, worst ratio, mean late)."""
    ratios = [result.ratio for result in results]
    return float(np.mean(ratios)), min(ratios), float(np.mean([result.late for result in results]))


@dataclass(frozen=True, slots=True)
class JointCell:
    """Several models on shared cores; each is offered the same share of the joint load, counted in work."""

    services: tuple[Service, ...]
    num_cores: int
    load: float
    arrivals: str


_TINY = Service("0.2 ms", Shape(100_000, 100_000), 50 * MS, 5_000 * MS)
_MIDDLE = Service("2 ms", Shape(500_000, 1_500_000), 100 * MS, 5_000 * MS)
_HEAVY = Service("20 ms", Shape(2 * MS, 18 * MS), 200 * MS, 5_000 * MS)


def joint_cells() -> Iterator[JointCell]:
    for (services, cores), kind, load in itertools.product(
        (((_TINY, _HEAVY), 1), ((_TINY, _MIDDLE, _HEAVY), 2)), ("poisson", "mmpp"), (0.7, 1.0, 3.0)
    ):
        yield JointCell(services, cores, load, kind)


@dataclass(frozen=True, slots=True)
class JointResult:
    ratio: float  # work answered in time over the bound's
    late: float
    shares: tuple[float, ...]  # of the work answered in time, by model


def run_joint(cell: JointCell, layer: Layer, seed: int) -> JointResult:
    units = np.array([1 / one.shape.best_rows_per_ns(one.slo_ns) for one in cell.services])
    parts, queues = [], []
    scheduler = Scheduler(cell.num_cores)
    for stream, one in enumerate(cell.services):
        rng = np.random.default_rng(
            [seed, stream, zlib.crc32(f"{one.name}{cell.load}{cell.arrivals}".encode())]
        )
        rate = cell.load * cell.num_cores / len(cell.services) / units[stream]
        if cell.arrivals == "poisson":
            arrival_ns = poisson(rng, rate, one.horizon_ns)
        else:
            arrival_ns = bursty(rng, rate, one.horizon_ns, burst_ns=5 * one.slo_ns)
        parts.append(workload(arrival_ns, one.slo_ns, stream))
        max_rows = one.shape.max_rows(one.slo_ns)
        service_time = service_time_of(one.shape, max_rows, layer, rng)
        model = scheduler.add_model(
            one.name, max_batch_size=max_rows, service_time=service_time, instances=cell.num_cores
        )
        queues.append(scheduler.queue(model))
    work = merged(*parts)
    horizon_ns = cell.services[0].horizon_ns
    machine = Machine(
        np.random.default_rng([seed, 99]),
        noise_cv=layer.noise_cv,
        hiccup_share=layer.hiccup_share,
        slow_from_ns=horizon_ns // 2 if layer.slowdown else None,
    )
    trajectory = simulate(scheduler, queues, [one.shape for one in cell.services], work, machine)
    clock = WorkClock(trajectory, machine, cell.num_cores, horizon_ns)
    cost = units[work.stream]
    bound = float(cost[clairvoyant(work, units, cell.num_cores, clock)].sum())
    in_time = trajectory.outcome == IN_TIME
    total = float(cost[in_time].sum())
    shares = [float(cost[in_time & (work.stream == stream)].sum()) / total for stream in range(len(units))]
    return JointResult(total / bound, trajectory.share_late(), tuple(shares))
