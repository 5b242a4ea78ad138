"""Live queues and a simulator of each that is wrong on purpose: other noise, and service times off by some per cent.

Both are given the same arrivals. Times are in units of the live mean service time, arrays of shape (runs, n).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks._queues import BATCH_COST, BATCH_LIMIT, HICCUP_SHARE, HICCUP_TIMES, ROW_COST, Mmpp, poisson

Times = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, int]], Times]
Arrivals = Callable[[float, tuple[int, int], np.random.Generator], Times]
Server = Callable[[Times, Noise, np.random.Generator], Times]

WARM_UP = 3_000  # requests, of live runs and simulations alike


def lognormal(cv: float) -> Noise:
    """The live machine: mean 1."""
    sigma = float(np.sqrt(np.log1p(cv**2)))
    return lambda rng, shape: np.exp(sigma * rng.standard_normal(shape) - sigma**2 / 2)


def even(cv: float, mean: float) -> Noise:
    """The simulator: as wide, but evenly spread, and off by what `mean` is not 1."""
    return lambda rng, shape: mean * (1 + cv * np.sqrt(12) * (rng.random(shape) - 0.5))


def with_hiccups(noise: Noise) -> Noise:
    """Two in a thousand take 30 times as long; the simulator knows nothing of it. Mean 1."""

    def drawn(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
        plain = noise(rng, shape)
        return np.where(rng.random(shape) < HICCUP_SHARE, HICCUP_TIMES * plain, plain) / (
            1 + HICCUP_SHARE * (HICCUP_TIMES - 1)
        )

    return drawn


def single(sent: Times, noise: Noise, rng: np.random.Generator) -> Times:
    """One server, first come, first served (Lindley)."""
    served = noise(rng, sent.shape)
    walk = np.zeros(sent.shape)
    np.cumsum(served[:, :-1] - np.diff(sent, axis=1), axis=1, out=walk[:, 1:])
    latencies: Times = walk - np.minimum.accumulate(walk, axis=1) + served
    return latencies


def batching(sent: Times, noise: Noise, rng: np.random.Generator) -> Times:
    """Takes all that waits, 16 at most; full batches at load 1 take as long as 16 mean service times."""
    runs, num = sent.shape
    unit = BATCH_LIMIT / (BATCH_COST + ROW_COST * BATCH_LIMIT)
    padded = np.concatenate([sent, np.full((runs, BATCH_LIMIT), np.inf)], axis=1).ravel()
    stride, offsets = num + BATCH_LIMIT, np.arange(BATCH_LIMIT)
    done = np.empty(len(padded))
    next_up, free, active = np.zeros(runs, np.int64), np.zeros(runs), np.arange(runs)
    while len(active):
        window = (active * stride + next_up[active])[:, np.newaxis] + offsets
        waiting = padded[window]
        start = np.maximum(free[active], waiting[:, 0])
        size = (waiting <= start[:, np.newaxis]).sum(axis=1)
        factor = noise(rng, (1, len(active)))[0] * unit
        free[active] = start + (BATCH_COST + ROW_COST * size) * factor
        done[window] = free[active, np.newaxis]  # what is not of this batch is overwritten by a later one
        next_up[active] += size
        active = active[next_up[active] < num]
    latencies: Times = done.reshape(runs, stride)[:, :num] - sent
    return latencies


@dataclass(frozen=True, slots=True)
class Pair:
    """A live queue and how its simulator errs. `cv`: of live service times; the simulator's is 0.8 times that."""

    name: str
    arrivals: Arrivals
    server: Server
    cv: float
    bias: float
    hiccups: bool = False

    def live(self, sent: Times, rng: np.random.Generator) -> Times:
        noise = lognormal(self.cv)
        return self.server(sent, with_hiccups(noise) if self.hiccups else noise, rng)

    def simulated(self, sent: Times, rng: np.random.Generator) -> Times:
        return self.server(sent, even(0.8 * self.cv, 1 + self.bias), rng)


KINDS: tuple[tuple[str, Arrivals, Server, float], ...] = (
    ("M/G/1, CV 5 %", poisson, single, 0.05),
    ("M/G/1, CV 20 %", poisson, single, 0.2),
    ("MMPP/G/1, CV 20 %", Mmpp(), single, 0.2),
    ("batches, CV 20 %", poisson, batching, 0.2),
)
BIASES = (-0.05, 0.0, 0.05)
JUDGED = tuple(Pair(*kind, bias) for kind in KINDS for bias in BIASES)
UNSEEN = tuple(Pair("M/G/1, CV 20 %, hiccups", poisson, single, 0.2, bias, hiccups=True) for bias in BIASES)
