"""What a short block sees at the largest rate, where a long run would see exactly the SLO's latency.

A block begins with an empty server and ends after seconds. Near the limit a queue takes longer than that to become what it
will be, and its 99th percentile is made by waves that most blocks do not meet: at the very limit a block sees less than the
SLO, and whoever reads it as "there is room" promises too much. The same blocks in virtual time say how much less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.tune.screen import DEFAULT_SLOPE, FIRST_PRECISION, SLOPES, largest_rate
from trivet.tune.simulated_load import NS_PER_MS, NS_PER_S, SimulatedLoad

# Of a long run. A queue whose 99th percentile is the SLO forgets in about SLO / (1 - utilisation): some 30 of them.
LONG_SLOS = 200
LEAST_LONG = 40_000  # requests of it: its 99th percentile is of 400
MOST_IN_BLOCK = 20_000  # requests: queues that are filled so fast have long settled by then
LEAST_BLOCKS = 6
FIRST_REQUESTS = 8_000  # of the search that the long runs begin from
AROUND = 1.04  # how far from the limit blocks are simulated, up and down
MOST_LATE = 8.0  # times the SLO: what is later is as bad
STEPS, CLOSE = 4, 0.05  # of the search by long runs; how close to the SLO is enough, on the log scale
MOST_STEP = 0.06  # of the rate


@dataclass(frozen=True, slots=True)
class Sight:
    """at_limit_ms: the latency at the SLO's percentile that a block sees at the largest rate, as the mean of logs.
    slope: how far the largest rate is when a block sees a log latency further, both on a log scale.
    error: standard error of the log of the largest rate that comes of all this, however many live blocks there are."""

    at_limit_ms: float
    slope: float = DEFAULT_SLOPE
    error: float = 0.0


class Sights:
    """Simulated once for each setup and length of a block.

    Args: zipf: of the inputs, as in SimulatedLoad.
    """

    def __init__(self, profile: ServiceProfile, slo_latency_ns: int, seed: int, zipf: float = 0.0) -> None:
        self._profile, self._slo_ns, self._seed, self._zipf = profile, slo_latency_ns, seed, zipf
        self._known: dict[tuple[Setup, float], Sight | None] = {}

    def of(self, setup: Setup, guess_rps: float, seconds: float) -> Sight | None:
        """Args: guess_rps: of the largest rate.  seconds: of the block, taken to half a second.
        None: it has no largest rate.
        """
        key = (setup, round(2 * seconds) / 2)
        if key not in self._known:
            first = SimulatedLoad(self._profile, FIRST_REQUESTS, self._seed, self._zipf)
            rate, _ = largest_rate(
                self._profile, setup, first, self._slo_ns, FIRST_PRECISION, guess=guess_rps
            )
            self._known[key] = self._simulated(setup, rate, key[1]) if rate else None
        return self._known[key]

    def _simulated(self, setup: Setup, near_rps: float, seconds: float) -> Sight:
        """Long runs and blocks of the same arrivals: a limit found among calm ones is seen by calm blocks, too."""
        size = min(MOST_IN_BLOCK, max(1, round(near_rps * seconds)))
        long = max(LEAST_LONG, LONG_SLOS * self._slo_ns / NS_PER_S * near_rps)
        num = max(LEAST_BLOCKS, math.ceil(long / size))
        load = SimulatedLoad(self._profile, num * size, self._seed, self._zipf)
        limit_rps = self._limit_rps(load, setup, near_rps)
        parts = load.parts(num)
        below, above = (self._logs(parts, setup, limit_rps * factor) for factor in (1 / AROUND, AROUND))
        slope = _slope(2 * math.log(AROUND), float(above.mean() - below.mean()))
        at = (below + above) / 2  # of each block: the same arrivals, a little slower and faster
        return Sight(
            math.exp(at.mean()) * self._slo_ns / NS_PER_MS,
            slope,
            slope * float(at.std(ddof=1)) / math.sqrt(num),
        )

    def _limit_rps(self, load: SimulatedLoad, setup: Setup, rate_rps: float) -> float:
        """By secants on log scales."""
        slope, before = DEFAULT_SLOPE / 2, (0.0, 0.0)
        for step in range(STEPS):
            over = float(self._logs([load], setup, rate_rps)[0])
            here = (math.log(rate_rps), over)
            if step:
                slope = _slope(here[0] - before[0], here[1] - before[1])
            rate_rps *= math.exp(-min(MOST_STEP, max(-MOST_STEP, slope * over)))
            if abs(over) < CLOSE:
                break
            before = here
        return rate_rps

    def _logs(self, loads: Sequence[SimulatedLoad], setup: Setup, rate_rps: float) -> NDArray[np.float64]:
        """Of the loads' latencies over the SLO, shape (len(loads),)."""
        slo_ms = self._slo_ns / NS_PER_MS
        return np.log([min(MOST_LATE, load.at(setup, rate_rps).slo_ms / slo_ms) for load in loads])


def _slope(further: float, steeper: float) -> float:
    """Of a rate over a latency, both logs; within SLOPES."""
    least, most = SLOPES
    return min(most, max(least, further / steeper)) if further * steeper > 0 else most
