"""Figures of choices simulated several times side by side, on the same arrivals and draws: what effects are made of."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.load.arrivals import NS, Poisson
from trivet.simulate.forecast import NoRateError, largest_rate
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.tune.contrasts import Choice
from trivet.tune.legs import RATE
from trivet.tune.simulated_load import SimulatedLoad

_FIGURES = {"latency_p50_ms": "p50_ms", "latency_p99_ms": "p99_ms", "cpu_ms_per_request": "cpu_ms"}


class Replications:
    """Simulates what effects ask for (`effects.Replicate`). Choices with the same setup are simulated once.

    Args: setup_of: as a server would make of a choice.  figure: max_rate_rps, latency_p50_ms, latency_p99_ms or
    cpu_ms_per_request.  reference_rps: where latencies are compared, and where the search for a largest rate begins.
    is_over: looked at before each choice: once it says so, no other is simulated, and those left are nan.
    """

    def __init__(
        self,
        profile: ServiceProfile,
        setup_of: Callable[[Choice], Setup],
        *,
        figure: str,
        reference_rps: float,
        seed: int,
        num: int = 5,
        num_requests: int = 2_000,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        if figure != RATE and figure not in _FIGURES:
            raise ValueError(f"no figure {figure!r} is simulated; known: {', '.join((RATE, *_FIGURES))}")
        self._profile, self._setup_of, self._figure = profile, setup_of, figure
        self._reference_rps, self._num_requests, self._is_over = reference_rps, num_requests, is_over
        self._seeds = [int(child) for child in np.random.SeedSequence(seed).generate_state(num, np.uint64) >> 1]
        self._known: dict[Setup, list[float]] = {}

    def __call__(self, choices: Sequence[Choice]) -> NDArray[np.float64]:
        """Shape (choices, num)."""
        return np.array([self._values(choice) for choice in choices], np.float64)

    def _values(self, choice: Choice) -> list[float]:
        lacking = [math.nan] * len(self._seeds)
        setup = self._setup_of(choice)
        if setup not in self._known:
            if self._is_over() or self._profile.covers(setup):
                return lacking
            self._known[setup] = [self._value(setup, seed) for seed in self._seeds]
        return self._known[setup]

    def _value(self, setup: Setup, seed: int) -> float:
        if self._figure != RATE:
            point = SimulatedLoad(self._profile, self._num_requests, seed).at(setup, self._reference_rps)
            found: float = getattr(point, _FIGURES[self._figure])
            return found if math.isfinite(found) and found > 0 else math.nan
        process = Poisson(rate_rps=self._reference_rps, duration_ns=NS)
        try:
            return largest_rate(
                self._profile, setup, process, seed=seed, replications=1, num_requests=self._num_requests
            ).estimate
        except NoRateError:
            return math.nan
