"""Queues whose percentiles can be known: many runs at once, in virtual time, from a generator.

Each simulation returns, for every run, when each request was meant to be sent and how long its answer took, both of
shape (runs, n) and in units of the mean service time. It starts empty and leaves its first `WARM_UP` requests out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Simulation = Callable[[float, int, int, np.random.Generator], tuple[Times, Times]]
Draw = Callable[[np.random.Generator, tuple[int, int]], Times]

WARM_UP = 10_000  # requests: 25 times the memory of the slowest queue that is judged, M/M/1 at load 0.9
HICCUP_SHARE, HICCUP_TIMES = 0.002, 30
BATCH_LIMIT, BATCH_COST, ROW_COST = 16, 1.0, 0.1


@dataclass(frozen=True, slots=True)
class Queue:
    """`percentile` gives the latency at a load and a share, where theory knows it.  `at_once`: runs simulated together."""

    name: str
    told: str
    simulate: Simulation
    percentile: Callable[[float, float], float] | None = None
    at_once: int = 50  # about 100 MB; where a loop goes from event to event, more runs share its cost


def exponential(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
    return rng.standard_exponential(shape)


def constant(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
    return np.ones(shape)


def erlang2(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
    return rng.standard_gamma(2, shape) / 2


def hiccups(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
    """Nearly constant; two in a thousand take 30 times as long. Mean 1."""
    plain = 1 + 0.1 * (rng.random(shape) - 0.5)
    mean = 1 + HICCUP_SHARE * (HICCUP_TIMES - 1)
    return np.where(rng.random(shape) < HICCUP_SHARE, HICCUP_TIMES * plain, plain) / mean


def mm1_percentile(load: float, p: float) -> float:
    """The latency of M/M/1 is exponential with rate 1 - load."""
    return -math.log(1 - p) / (1 - load)


def poisson(load: float, shape: tuple[int, int], rng: np.random.Generator) -> Times:
    return np.cumsum(rng.standard_exponential(shape) / load, axis=1)


@dataclass(frozen=True, slots=True)
class Mmpp:
    """Poisson arrivals whose rate is `factor` times the calm one for a share of the time, `mean_burst` at once."""

    factor: float = 4.0
    share: float = 0.2
    mean_burst: float = 5.0

    def __call__(self, load: float, shape: tuple[int, int], rng: np.random.Generator) -> Times:
        """By operational time: a Poisson process of rate 1, bent by the inverse of the rate's integral."""
        calm = load / (1 + self.share * (self.factor - 1))
        mean_calm = self.mean_burst * (1 - self.share) / self.share
        num_cycles = math.ceil(1.2 * shape[1] / load / (self.mean_burst + mean_calm)) + 60
        unit = np.cumsum(rng.standard_exponential(shape), axis=1)
        arrivals = np.empty(shape)
        for row in range(shape[0]):
            lengths = rng.standard_exponential((num_cycles, 2)) * [mean_calm, self.mean_burst]
            work = lengths * [calm, calm * self.factor]
            ends, marks = np.cumsum(lengths.ravel()), np.cumsum(work.ravel())
            arrivals[row] = np.interp(unit[row], np.append(0, marks), np.append(0, ends))
            if unit[row, -1] > marks[-1]:
                raise ArithmeticError(f"{num_cycles} bursts do not reach over {shape[1]} requests")
        return arrivals


Arrivals = Callable[[float, tuple[int, int], np.random.Generator], Times]


def one_server(arrivals: Arrivals, service: Draw) -> Simulation:
    """First come, first served. The work found is the random walk above its lowest point so far (Lindley)."""

    def simulate(load: float, runs: int, num: int, rng: np.random.Generator) -> tuple[Times, Times]:
        shape = (runs, num + WARM_UP)
        sent = arrivals(load, shape, rng)
        served = service(rng, shape)
        walk = np.zeros(shape)
        np.cumsum(served[:, :-1] - np.diff(sent, axis=1), axis=1, out=walk[:, 1:])
        latencies = walk - np.minimum.accumulate(walk, axis=1) + served
        return sent[:, WARM_UP:], latencies[:, WARM_UP:]

    return simulate


def servers(num_servers: int, service: Draw) -> Simulation:
    """First come, first served, by whoever is free first (Kiefer and Wolfowitz)."""

    def simulate(load: float, runs: int, num: int, rng: np.random.Generator) -> tuple[Times, Times]:
        shape = (runs, num + WARM_UP)
        sent = poisson(load * num_servers, shape, rng)
        served = service(rng, shape)
        free = np.zeros((num_servers, runs))
        latencies = np.empty((shape[1], runs))
        everyone = np.arange(runs)
        sent_in_turn, served_in_turn = np.ascontiguousarray(sent.T), np.ascontiguousarray(served.T)
        for i in range(shape[1]):
            first = free.argmin(axis=0)
            done = np.maximum(free[first, everyone], sent_in_turn[i]) + served_in_turn[i]
            free[first, everyone] = done
            latencies[i] = done - sent_in_turn[i]
        return sent[:, WARM_UP:], latencies.T[:, WARM_UP:]

    return simulate


def batches(load: float, runs: int, num: int, rng: np.random.Generator) -> tuple[Times, Times]:
    """One server takes what waits, 16 at most: 1 + 0.1 a row, within 5 %. Load 1 is the rate of full batches."""
    shape = (runs, num + WARM_UP)
    full = BATCH_COST + ROW_COST * BATCH_LIMIT
    sent = poisson(load * BATCH_LIMIT / full, shape, rng)
    padded = np.concatenate([sent, np.full((runs, BATCH_LIMIT), np.inf)], axis=1).ravel()
    stride, offsets = shape[1] + BATCH_LIMIT, np.arange(BATCH_LIMIT)
    rows = np.arange(runs) * stride
    done = np.empty(len(padded))
    next_up, free = np.zeros(runs, np.int64), np.zeros(runs)
    active = np.arange(runs)
    while len(active):
        window = (rows[active] + next_up[active])[:, np.newaxis] + offsets
        waiting = padded[window]
        start = np.maximum(free[active], waiting[:, 0])
        size = (waiting <= start[:, np.newaxis]).sum(axis=1)
        free[active] = start + (BATCH_COST + ROW_COST * size) * (0.95 + 0.1 * rng.random(len(active)))
        # What does not belong to this batch is overwritten by a later one.
        done[window] = free[active, np.newaxis]
        next_up[active] += size
        active = active[next_up[active] < shape[1]]
    latencies = done.reshape(runs, stride)[:, : shape[1]] - sent
    return sent[:, WARM_UP:], latencies[:, WARM_UP:]


JUDGED = (
    Queue(
        "M/M/1",
        "Poisson arrivals, exponential service times",
        one_server(poisson, exponential),
        mm1_percentile,
    ),
    Queue("M/D/1", "constant service times", one_server(poisson, constant)),
    Queue(
        "M/G/1",
        "hiccups: service times within 5 %, and 2 in 1,000 take 30 times as long",
        one_server(poisson, hiccups),
    ),
    Queue(
        "MMPP/M/1",
        "bursts at 4 times the calm rate, a fifth of the time, 5 service times long on average",
        one_server(Mmpp(), exponential),
    ),
    Queue(
        "batches",
        "up to 16 requests at once take 1 + 0.1 a request; load 1 is full batches",
        batches,
        at_once=200,
    ),
)
UNSEEN = (
    Queue("M/E2/1", "service times of two exponential stages", one_server(poisson, erlang2)),
    Queue("M/M/2", "two servers, one queue", servers(2, exponential), at_once=200),
    Queue(
        "on-off",
        "arrivals at 50 times the calm rate for half of the time, 200 service times at once",
        one_server(Mmpp(50.0, 0.5, 200.0), exponential),
    ),
    Queue(
        "MMPP slow",
        "the bursts of MMPP/M/1, ten times as long",
        one_server(Mmpp(mean_burst=50.0), exponential),
    ),
)
