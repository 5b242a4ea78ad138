"""One load for every simulated configuration: the same random gaps and draws, so that what differs is the configuration."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trivet.load.popularity import picks
from trivet.simulate.asked import EVENLY, Asked
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.record import OK
from trivet.simulate.server import Slo, simulated
from trivet.simulate.setup import Setup
from trivet.spec.cost import Cost
from trivet.stats.percentile import percentile_ns
from trivet.tune.degrade_lever import shares_of_answers
from trivet.tune.prices import simulated_price

NS_PER_S, NS_PER_MS = 1e9, 1e6
WARMUP_SHARE = 0.05  # of the requests: the server starts empty
NEVER_NS = 2**62  # the latency of a request that gets no result
_GAPS, _SERVICE, _ITEMS, _PARTS = 0, 1, 2, 3  # purposes of seeds
# Inputs that a live trial asks alone before its block: they warm everything up, and a replay compares answers with theirs.
NUM_ALONE = 32


@dataclass(frozen=True, slots=True)
class Point:
    """What a configuration does at one rate. slo_ms: the latency at the SLO's percentile; infinite where too many
    requests get no result.  shares: of the answers, by who stood in for the model as declared.
    price: of a million requests, where calls elsewhere are paid; 0: not known."""

    rate_rps: float
    slo_ms: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    shares: Mapping[str, float] = field(default_factory=dict)
    hit_share: float = 0.0
    price: float = 0.0

    def holds(self, slo_latency_ns: int) -> bool:
        return self.slo_ms * NS_PER_MS <= slo_latency_ns


class SimulatedLoad:
    """Args: num_requests: of each simulation.  seed: of arrivals, inputs and draws, the same for all.
    zipf: the exponent of the popularity of inputs; 0: even.  cost: of paid calls; None: there are none.
    """

    def __init__(
        self,
        profile: ServiceProfile,
        num_requests: int,
        seed: int,
        zipf: float = 0.0,
        cost: Cost | None = None,
    ) -> None:
        self._profile, self._cost = profile, cost
        self._asked = _asked(profile, num_requests, seed, zipf)
        self._seed, self._zipf = seed, zipf
        self._gaps = np.random.default_rng((seed, _GAPS)).exponential(size=num_requests)
        self._instants = np.cumsum(self._gaps)
        self._first = int(num_requests * WARMUP_SHARE)

    def parts(self, num: int) -> list[Self]:
        """The same arrivals as so many loads, each of which meets an empty server; all of its requests count."""
        size = len(self._gaps) // num
        seeds = np.random.SeedSequence((self._seed, _PARTS)).generate_state(num)
        found = []
        for number, seed in enumerate(seeds.tolist()):
            part = type(self)(self._profile, size, seed, self._zipf)
            part._gaps = self._gaps[number * size : (number + 1) * size]
            part._instants, part._first = np.cumsum(part._gaps), 0
            found.append(part)
        return found

    def at(self, setup: Setup, rate_rps: float, *, within_ns: int | None = None) -> Point:
        """Args: within_ns: all that is asked is whether the SLO's percentile is within it: a run that cannot any more ends.

        Raises: NotProfiledError: the profile does not cover the setup.
        """
        arrivals_ns: NDArray[np.int64] = (self._instants * (NS_PER_S / rate_rps)).astype(np.int64)
        rng = np.random.default_rng((self._seed, _SERVICE))
        run = simulated(
            self._profile,
            setup,
            arrivals_ns,
            rng=rng,
            slo=None if within_ns is None else self._slo(setup, within_ns),
            asked=self._asked if setup.fronts is not None or self._asked.zipf else EVENLY,
        )
        latencies = np.where(run.outcome == OK, run.done_ns - run.intended_ns, NEVER_NS)
        steady = latencies[self._first :]
        return Point(
            rate_rps=rate_rps,
            slo_ms=_ms(steady, setup.slo_percentile / 100),
            p50_ms=_ms(steady, 0.5),
            p99_ms=_ms(steady, 0.99),
            cpu_ms=run.busy_ns / len(latencies) / NS_PER_MS,
            shares=_shares(setup, run.rung[run.outcome == OK]),
            hit_share=float(run.is_hit()[self._first :].mean()),
            price=0.0
            if self._cost is None
            else simulated_price(run, setup, self._profile.remotes, self._cost),
        )

    def _slo(self, setup: Setup, within_ns: int) -> Slo:
        num = len(self._instants) - self._first
        return Slo(within_ns, num - math.ceil(setup.slo_percentile / 100 * num), self._first)


def _shares(setup: Setup, ran: NDArray[np.uint8]) -> dict[str, float]:
    rungs = () if setup.ladder is None else setup.ladder.rungs
    return shares_of_answers(ran, [rung.name for rung in rungs])


def _asked(profile: ServiceProfile, num_requests: int, seed: int, zipf: float) -> Asked:
    """The same inputs for all configurations, of which the first ones were asked before, as in a live trial."""
    if profile.fronts is None:
        return EVENLY
    items = picks(num_requests, profile.fronts.num_inputs, zipf, np.random.default_rng((seed, _ITEMS)))
    return Asked(items, zipf, NUM_ALONE)


def _ms(latencies: NDArray[np.int64], p: float) -> float:
    found = percentile_ns(latencies, p)
    return math.inf if found >= NEVER_NS else found / NS_PER_MS
