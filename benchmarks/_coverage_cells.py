"""One cell of the coverage table: a queue at a load, many runs of it, and the intervals of every method."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._percentile_rivals import RIVALS
from benchmarks._queues import JUDGED, UNSEEN, Queue
from trivet.stats.errors import TooFewError
from trivet.stats.quantile_interval import quantile_interval

LOADS = (0.3, 0.5, 0.7, 0.8, 0.9)
UNSEEN_LOADS = (0.8, 0.9)
NUM = 50_000
OTHER_SIZES = ((10_000, 0.8), (10_000, 0.9), (200_000, 0.8))  # requests and load
OTHER_PERCENTILES = ((0.5, 0.8), (0.95, 0.8), (0.999, 0.5))  # percentile and load
TRUTH_SEED, RUN_SEED = 90_000, 70_000  # the method was set on seeds below 1,000
UNIT_NS = 1_000_000  # the mean service time, in the nanoseconds that the method is given
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    group: str
    queue: Queue
    load: float
    num: int = NUM
    p: float = 0.99

    @property
    def key(self) -> str:
        return f"{self.group} | {self.queue.name} | {self.load:g} | {self.num} | {self.p:g}"


def cells() -> Iterator[Cell]:
    for queue in JUDGED:
        for load in LOADS:
            yield Cell("judged", queue, load)
    for queue in UNSEEN:
        for load in UNSEEN_LOADS:
            yield Cell("unseen", queue, load)
    for p, load in OTHER_PERCENTILES:
        yield Cell("percentiles", JUDGED[0], load, p=p)
    for num, load in OTHER_SIZES:
        yield Cell("sizes", JUDGED[0], load, num=num)


def measured(cell: Cell, num_runs: int, num_truth: int) -> Record:
    """Truth and oracle from runs of their own; then every method on each of `num_runs` runs."""
    estimates = np.concatenate([_percentiles(cell, chunk) for chunk in _truth_runs(cell, num_truth)])
    truth = (
        float(estimates.mean()) if cell.queue.percentile is None else cell.queue.percentile(cell.load, cell.p)
    )
    low, high = np.quantile(estimates, [0.025, 0.975])
    bounds: dict[str, list[tuple[float, float] | None]] = {"ours": []} | {name: [] for name in RIVALS}
    for sent, latencies in _runs(cell, num_runs, RUN_SEED):
        for instants, run in zip(sent, latencies, strict=True):
            bounds["ours"].append(_ours(instants, run, cell.p))
            for name, method in RIVALS.items():
                bounds[name].append(method(run, cell.p))
    return {
        "key": cell.key,
        "group": cell.group,
        "queue": cell.queue.name,
        "load": cell.load,
        "num": cell.num,
        "p": cell.p,
        "runs": num_runs,
        "truth": truth,
        "oracle": [float(low), float(high)],
        "methods": {name: _judged(found, truth, float(high - low)) for name, found in bounds.items()},
    }


def cost_ms() -> dict[str, float]:
    """Processor time of one interval, by the number of requests: the least of five."""
    found = {}
    for num in (NUM, 20 * NUM):
        _, latencies = JUDGED[0].simulate(0.8, 1, num, np.random.default_rng(1))
        run = (latencies[0] * UNIT_NS).astype(np.int64)
        spent = []
        for _ in range(5):
            begun = time.process_time()
            quantile_interval(run, 0.99)
            spent.append(time.process_time() - begun)
        found[str(num)] = 1000 * min(spent)
    return found


def _ours(instants: NDArray[np.float64], run: NDArray[np.float64], p: float) -> tuple[float, float] | None:
    try:
        found = quantile_interval(
            (run * UNIT_NS).astype(np.int64), p, intended_ns=(instants * UNIT_NS).astype(np.int64)
        )
    except TooFewError:
        return None
    return found.low / UNIT_NS, found.high / UNIT_NS


def _judged(bounds: list[tuple[float, float] | None], truth: float, oracle_width: float) -> Record:
    given = [one for one in bounds if one is not None]
    widths = [high - low for low, high in given]
    return {
        "refused": len(bounds) - len(given),
        "covered": sum([low <= truth <= high for low, high in given]),
        "above": sum([low > truth for low, _ in given]),
        "below": sum([high < truth for _, high in given]),
        "width": float(np.median(widths)) / oracle_width if widths else None,
    }


def _truth_runs(cell: Cell, num: int) -> Iterator[NDArray[np.float64]]:
    for _, latencies in _runs(cell, num, TRUTH_SEED):
        yield latencies


def _runs(cell: Cell, num: int, seed: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    rng = np.random.default_rng([seed, round(100 * cell.load), cell.num, sum(map(ord, cell.queue.name))])
    chunk = max(1, min(cell.queue.at_once, cell.queue.at_once * NUM // cell.num))
    for begin in range(0, num, chunk):
        yield cell.queue.simulate(cell.load, min(chunk, num - begin), cell.num, rng)


def _percentiles(cell: Cell, latencies: NDArray[np.float64]) -> NDArray[np.float64]:
    rank = int(np.ceil(round(cell.p * cell.num, 9))) - 1
    ordered: NDArray[np.float64] = np.partition(latencies, rank, axis=1)[:, rank]
    return ordered
