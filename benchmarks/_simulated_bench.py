"""A bench for the tuner without a machine: hidden services in virtual time, so that the truth is known.

What a profile sees is not quite what is true: few samples, wrong by some percent for good, and no hiccup for sure. What
blocks see has the noise of arrivals, of service times and of the machine's mood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks._simulated_services import (
    Hidden,
    base_configuration,
    judged,
    times_of,
    true_host,
    truth,
    with_form,
)
from trivet.catalog.records import Figure
from trivet.experiment.simulating.simulated import setup_of, stage_key
from trivet.load.arrivals import Poisson
from trivet.simulate.forecast import figures_of
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.record import OK
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup
from trivet.spec.tuning import Tuning
from trivet.stats.percentile import percentile_ns
from trivet.tune.bench import BlockResult
from trivet.tune.choice import Choice
from trivet.tune.screen import largest_rate
from trivet.tune.simulated_load import SimulatedLoad
from trivet.tune.space import Space, space_of

_S = 1_000_000_000
_POINT_NS = 1_500_000_000  # of the virtual clock, for a profiled point
_START_NS = 1_000_000_000  # for a server that starts
_SEEN_SAMPLES = 40
_PRECISION = 0.01  # of a true rate
_NEVER_NS = 1 << 62
WHOLE = Tuning(levers={"engine": "default", "queue": "default"})
# A space small enough for the truth of all of it to be known.
SMALL = Tuning(
    levers={
        **WHOLE.levers,
        "execution": "default",
        "graph_optimization": "default",
        "spinning": "default",
        "max_batch_size": (1, 4, 16, 64),
        "deferral": ("0ms", "2ms"),
        "threads": (1, 2),
        "instances": (1, 2),
    }
)


class SimulatedBench:
    """A Bench (tune/bench.py). Args: seed: of what is seen, never of what is true."""

    def __init__(self, service: Hidden, folder: Path, seed: int, tuning: Tuning = WHOLE) -> None:
        self.service = service
        self.base = base_configuration(service, folder)
        self.variants = judged(service, self.base, seed)
        self.space: Space = space_of(
            self.base,
            self.variants,
            service.cores,
            tuning,
            with_variant=with_form,
        )
        self._seed = seed
        self._now_ns = 0
        self._seen: ServiceProfile | None = None
        self._started: set[Choice] = set()
        self._true: dict[str, ServiceProfile] = {}

    def now_ns(self) -> int:
        return self._now_ns

    def profile(self, choices: Sequence[Choice], *, budget_ns: int) -> ServiceProfile:
        rng = np.random.default_rng((self._seed, 2))
        host = true_host(self.service)
        host = msgspec.structs.replace(
            host,
            per_request_ns=[
                round(one * np.exp(rng.normal(0, self.service.bias))) for one in host.per_request_ns
            ],
            hiccups=host.hiccups[: len(host.hiccups) // 2],
            observed_ns=host.observed_ns // 2,
            speeds=np.exp(rng.normal(0, self.service.mood, 10)).tolist(),
        )
        seen: dict[str, ModelTimes] = {}
        for choice in choices:
            found = self.space.configuration(choice)[0]
            factor = float(np.exp(rng.normal(0, self.service.bias)))
            seen[stage_key(found, 0)] = times_of(self.service, found, rng, _SEEN_SAMPLES, factor)
            self._now_ns += _POINT_NS
        self._seen = ServiceProfile(
            service=self.service.name, models=seen, host=host, cores=self.service.cores, machine="simulated"
        )
        return self._seen

    def setup(self, choice: Choice) -> Setup:
        if self._seen is None:
            raise RuntimeError("setup() comes after profile()")
        found, workers = self.space.configuration(choice)
        return setup_of(found, self._seen, workers=workers, num_cores=self.service.cores)

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> dict[Choice, BlockResult]:
        mood = float(np.exp(np.random.default_rng((self._seed, 3, block)).normal(0, self.service.mood)))
        found = {}
        for choice in choices:
            self._now_ns += round(seconds * _S) + (0 if choice in self._started else _START_NS)
            self._started.add(choice)
            found[choice] = self.block_of(
                choice, rates_rps[choice], seconds, (self._seed, 4, block), speed=mood
            )
        return found

    def accuracy(self, choice: Choice) -> Figure | None:
        return next(iter(self.space.judged(choice).values())).accuracy

    def difference(self, choice: Choice) -> Figure | None:
        return next(iter(self.space.judged(choice).values())).difference

    def block_of(
        self, choice: Choice, rate_rps: float, seconds: float, seed: Sequence[int], *, speed: float = 1.0
    ) -> BlockResult:
        """One block on the truth."""
        profile, setup = self.truth_of(choice)
        host = msgspec.structs.replace(profile.host, speeds=[speed])
        arrivals, draws = np.random.default_rng(list(seed)).spawn(2)
        instants = Poisson(rate_rps=rate_rps, duration_ns=max(1, round(seconds * _S))).instants_ns(arrivals)
        if not len(instants):
            return BlockResult(rate_rps=rate_rps, invalid="no arrival fell into the block")
        run = simulated(
            msgspec.structs.replace(profile, host=host), setup, instants, rng=draws, resample=True
        )
        figures = figures_of(run, setup)
        latencies = np.where(run.outcome == OK, run.latency_ns(), _NEVER_NS)
        slo_ns = percentile_ns(latencies, setup.slo_percentile / 100)
        if slo_ns < _NEVER_NS:
            figures["slo_latency_ms"] = slo_ns / 1e6
        return BlockResult(rate_rps=rate_rps, figures=figures, num_requests=len(instants))

    def truth_of(self, choice: Choice) -> tuple[ServiceProfile, Setup]:
        """What a choice really is: its times and host, and what a server makes of it."""
        found, workers = self.space.configuration(choice)
        key = stage_key(found, 0)
        if key not in self._true:
            self._true[key] = truth(self.service, found)
        profile = self._true[key]
        return profile, setup_of(found, profile, workers=workers, num_cores=self.service.cores)

    def true_rate_rps(
        self,
        choice: Choice,
        *,
        num_requests: int,
        seed: int,
        replications: int = 3,
        guess: float | None = None,
    ) -> float:
        """The largest rate within the SLO, from long simulations of the truth; 0 where none is."""
        profile, setup = self.truth_of(choice)
        loads = [SimulatedLoad(profile, num_requests, seed + number) for number in range(replications)]
        rates = [
            largest_rate(profile, setup, load, self.service.slo_ns, _PRECISION, guess=guess)[0]
            for load in loads
        ]
        # Each holds, and the next one, so much larger, does not: the truth is between them.
        return float(np.exp(np.log(rates).mean()) * np.sqrt(1 + _PRECISION)) if all(rates) else 0.0

    def true_accuracy(self, choice: Choice) -> float:
        variant = self.space.variant_of(choice)
        return next(form.right for form in self.service.forms if form.name == variant)
