"""One cell: a queue and its simulator at a load; many runs, each with simulations of its own, and both intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._controlled_queues import JUDGED, UNSEEN, WARM_UP, Pair
from trivet.stats.control_variate import Controlled, controlled_interval
from trivet.stats.errors import TooFewError
from trivet.stats.interval import Interval
from trivet.stats.quantile_interval import quantile_interval

LOADS, HICCUP_LOADS = (0.3, 0.5, 0.7, 0.8, 0.9), (0.5, 0.8)
NUM, TIMES = 10_000, 3  # requests of a controlled run; the plain interval has so many times as many
HIGH_LOAD, NUM_AT_HIGH = 0.9, 20_000  # of 10,000 there, plain intervals are refused too often to compare with
NUM_SIMULATED, NUM_FRESH = 4, 20
NUM_TRUTH, TRUTH_LENGTH = 100, 50_000
P = 0.99
TRUTH_SEED, RUN_SEED = 91_000, 71_000  # the method was set on seeds below 1,000
UNIT_NS = 1_000_000
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    group: str
    pair: Pair
    load: float

    @property
    def key(self) -> str:
        return f"{self.group} | {self.pair.name} | {self.pair.bias:+.0%} | {self.load:g}"

    @property
    def num(self) -> int:
        """Requests of a controlled run."""
        return NUM_AT_HIGH if self.load >= HIGH_LOAD else NUM

    def rng(self, seed: int) -> np.random.Generator:
        return np.random.default_rng([seed, round(100 * self.load), sum(map(ord, self.key))])


def cells() -> Iterator[Cell]:
    for group, pairs, loads in (("judged", JUDGED, LOADS), ("hiccups", UNSEEN, HICCUP_LOADS)):
        for pair in pairs:
            yield from (Cell(group, pair, load) for load in loads)


def measured(cell: Cell, num_runs: int, num_truth: int = NUM_TRUTH, seed: int = RUN_SEED) -> Record:
    truth = truth_of(cell, num_truth)
    rng = cell.rng(seed)
    chunk = cell.pair.at_once
    found = [
        one
        for begin in range(0, num_runs, chunk)
        for one in some_runs(cell, min(chunk, num_runs - begin), rng)
    ]
    return {
        "key": cell.key,
        "group": cell.group,
        "queue": cell.pair.name,
        "bias": cell.pair.bias,
        "load": cell.load,
        "num": cell.num,
        "runs": num_runs,
        "truth": truth,
        "used": sum(one.is_used for one, _ in found if one is not None),
        "saving": _median([one.saving for one, _ in found if one is not None]),
        "controlled": _judged([None if one is None else one.interval for one, _ in found], truth),
        "plain": _judged([plain for _, plain in found], truth),
    }


def truth_of(cell: Cell, num_runs: int) -> float:
    """The live queue's p99: of many long runs together. What its simulator is off by does not matter."""
    key = (cell.pair.name, cell.load, num_runs)
    if key not in _TRUTHS:
        _TRUTHS[key] = _truth(cell, num_runs)
    return _TRUTHS[key]


_TRUTHS: dict[tuple[str, float, int], float] = {}


def _truth(cell: Cell, num_runs: int) -> float:
    rng = np.random.default_rng([TRUTH_SEED, round(100 * cell.load), sum(map(ord, cell.pair.name))])
    pooled = []
    for begin in range(0, num_runs, 20):
        sent = cell.pair.arrivals(cell.load, (min(20, num_runs - begin), TRUTH_LENGTH + WARM_UP), rng)
        pooled.append(cell.pair.live(sent, rng)[:, WARM_UP:].ravel())
    together = np.concatenate(pooled)
    rank = int(np.ceil(round(P * len(together), 6))) - 1
    return float(np.partition(together, rank)[rank])


def some_runs(
    cell: Cell, runs: int, rng: np.random.Generator
) -> Iterator[tuple[Controlled | None, Interval | None]]:
    """The controlled interval of each run, and the plain one of `TIMES` as many requests; None: refused."""
    pair, num = cell.pair, cell.num
    sent = pair.arrivals(cell.load, (runs, TIMES * num + WARM_UP), rng)
    live = _ns(pair.live(sent, rng))[:, WARM_UP:]
    short = np.repeat(sent[:, : num + WARM_UP], NUM_SIMULATED, axis=0)
    simulated = _ns(pair.simulated(short, rng))[:, WARM_UP:].reshape(runs, NUM_SIMULATED, num)
    fresh_sent = pair.arrivals(cell.load, (runs * NUM_FRESH, num + WARM_UP), rng)
    fresh = _ns(pair.simulated(fresh_sent, rng))[:, WARM_UP:].reshape(runs, NUM_FRESH, num)
    for run in range(runs):
        controlled: Controlled | None
        plain: Interval | None
        try:
            controlled = controlled_interval(live[run, :num], simulated[run], fresh[run], P)
        except TooFewError:
            controlled = None
        try:
            plain = quantile_interval(live[run], P)
        except TooFewError:
            plain = None
        yield controlled, plain


def _ns(times: NDArray[np.float64]) -> NDArray[np.int64]:
    return (times * UNIT_NS).astype(np.int64)


def _judged(found: list[Interval | None], truth: float) -> Record:
    given = [(one.low / UNIT_NS, one.high / UNIT_NS) for one in found if one is not None]
    return {
        "refused": len(found) - len(given),
        "covered": sum(low <= truth <= high for low, high in given),
        "above": sum(low > truth for low, _ in given),
        "below": sum(high < truth for _, high in given),
        "width": _median([(high - low) / truth for low, high in given]),
    }


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None
