"""A bench in virtual time whose profile is the truth: for studies of services of several models."""

from collections.abc import Mapping, Sequence

import numpy as np

from trivet.catalog.records import Figure
from trivet.experiment.simulating.simulated import setup_of
from trivet.load.arrivals import Poisson
from trivet.simulate.forecast import figures_of
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.record import OK
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup
from trivet.stats.percentile import percentile_ns
from trivet.tune.bench import BlockResult
from trivet.tune.choice import Choice
from trivet.tune.degrade_lever import shares_of_answers
from trivet.tune.space import Space

_S = 1_000_000_000
_NEVER_NS = 1 << 62


class VirtualBench:
    """Args: accuracy: of the models as declared, whoever asks."""

    def __init__(self, space: Space, profile: ServiceProfile, accuracy: Figure | None = None) -> None:
        self.space, self._profile, self._accuracy = space, profile, accuracy
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def profile(self, choices: Sequence[Choice], *, budget_ns: int) -> ServiceProfile:
        return self._profile

    def setup(self, choice: Choice) -> Setup:
        found, workers = self.space.configuration(choice)
        return setup_of(found, self._profile, workers=workers, num_cores=self.space.num_cores)

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> dict[Choice, BlockResult]:
        self._now_ns += round(len(choices) * seconds * _S)
        return {choice: self._block(choice, rates_rps[choice], seconds, block) for choice in choices}

    def accuracy(self, choice: Choice) -> Figure | None:
        return self._accuracy

    def difference(self, choice: Choice) -> Figure | None:
        return None

    def _block(self, choice: Choice, rate_rps: float, seconds: float, block: int) -> BlockResult:
        setup = self.setup(choice)
        arrivals, draws = np.random.default_rng(block).spawn(2)
        instants = Poisson(rate_rps=rate_rps, duration_ns=round(seconds * _S)).instants_ns(arrivals)
        run = simulated(self._profile, setup, instants, rng=draws)
        figures = figures_of(run, setup)
        latencies = np.where(run.outcome == OK, run.latency_ns(), _NEVER_NS)
        slo_ns = percentile_ns(latencies, setup.slo_percentile / 100)
        if slo_ns < _NEVER_NS:
            figures["slo_latency_ms"] = slo_ns / 1e6
        if setup.ladder is not None:
            names = [rung.name for rung in setup.ladder.rungs]
            figures |= shares_of_answers(run.rung[run.outcome == OK], names)
        return BlockResult(rate_rps=rate_rps, figures=figures, num_requests=len(instants))
