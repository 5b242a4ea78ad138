"""Pairs of blocks as two servers would give them, simulated: the same arrivals for both, and what differs all the same."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Floats = NDArray[np.float64]

FIGURES: dict[str, Callable[[Floats], Floats]] = {
    "p50": lambda latencies: np.quantile(latencies, 0.5, axis=-1, method="inverted_cdf"),
    "p99": lambda latencies: np.quantile(latencies, 0.99, axis=-1, method="inverted_cdf"),
    "mean": lambda latencies: latencies.mean(axis=-1),
}


@dataclass(frozen=True, slots=True)
class Pairs:
    """One server with one queue, first come first served, on a machine with moods.

    `cv`: of the service times, lognormal, drawn for each side alone (the worst case: real inputs are the same).
    `mood`: sd of the log of the machine's speed from pair to pair, shared by its sides.  `own`: the same, of each block.
    """

    load: float
    cv: float
    requests: int = 1000
    mood: float = 0.03
    own: float = 0.005

    def log_ratios(self, rng: Rng, shape: tuple[int, ...], slowdown: float = 1.0) -> dict[str, Floats]:
        """log(candidate / baseline) of each figure, of `shape`; the candidate takes `slowdown` times as long."""
        num = int(np.prod(shape))
        parts = [self._part(rng, min(500, num - done), slowdown) for done in range(0, num, 500)]
        return {name: np.concatenate([part[name] for part in parts]).reshape(shape) for name in FIGURES}

    def _part(self, rng: Rng, num: int, slowdown: float) -> dict[str, Floats]:
        gaps = rng.exponential(1 / self.load, (num, self.requests))
        mood = rng.normal(0, self.mood, (num, 1))
        base, candidate = (
            responses(
                gaps, factor * np.exp(mood + rng.normal(0, self.own, (num, 1))) * self._service(rng, num)
            )
            for factor in (1.0, slowdown)
        )
        return {name: np.log(figure(candidate) / figure(base)) for name, figure in FIGURES.items()}

    def _service(self, rng: Rng, num: int) -> Floats:
        variance = np.log1p(self.cv**2)
        return rng.lognormal(-variance / 2, np.sqrt(variance), (num, self.requests))


def responses(gaps: Floats, service: Floats) -> Floats:
    """Waiting and service of each request, shapes (blocks, requests): Lindley's recursion, from an idle server."""
    walk = np.zeros_like(service)
    np.cumsum(service[:, :-1] - gaps[:, 1:], axis=1, out=walk[:, 1:])
    return walk - np.minimum.accumulate(walk, axis=1) + service


def coin(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Which side went first: as many heads as tails in expectation, each pair for itself."""
    return rng.choice([-1.0, 1.0], shape)


def student_t3(rng: Rng, shape: tuple[int, ...]) -> Floats:
    return 0.01 * rng.standard_t(3, shape)


def skewed(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Each side has its own lognormal disturbance: most are small, a few large, never negative."""
    return 0.01 * (rng.lognormal(0, 1.2, shape) - rng.lognormal(0, 1.2, shape))


def hiccups(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """One pair in twenty meets a hiccup of the machine on one of its sides."""
    return rng.normal(0, 0.01, shape) + (rng.random(shape) < 0.05) * coin(rng, shape) * rng.uniform(
        0.1, 1, shape
    )


def order_effect(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Who goes second is 1 % slower, always; there is hardly any other noise. A t interval takes this for certainty."""
    return 0.01 * coin(rng, shape) + rng.normal(0, 0.0003, shape)


def drift(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """The machine's speed is a random walk: what the side that goes second sees depends on all pairs before."""
    steps = rng.normal(0, 0.005, shape)
    return coin(rng, shape) * (np.cumsum(steps, axis=-1) + rng.normal(0, 0.005, shape))


def skewed_fixed_order(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Outside of the promise: no coin, and the second side alone has a skewed disturbance (median taken off)."""
    return rng.normal(0, 0.005, shape) + 0.02 * (rng.lognormal(0, 1, shape) - 1)
