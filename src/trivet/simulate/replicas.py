"""How many replicas keep the SLO: one of them is simulated on its share of the load, in the windows that decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.load.arrivals import NS, Instants, Poisson
from trivet.simulate.plan_records import Window
from trivet.simulate.setup import Setup
from trivet.simulate.windows import Demand
from trivet.stats.percentile import percentile_ns

Times = NDArray[np.int64]

LOST: Final = 1 << 62  # the latency of a request that gets no result
NUM_REQUESTS = 16_000  # simulated for one answer: p99 has 160 above it
MAX_SPLITS = 12  # replicas that are simulated for it, each with another part of the load
LEAD_NS = 5 * NS  # before a window: it does not find the server empty
TOLERANCE = 0.02  # of the number of replicas, and of a rate
MAX_REPLICAS = 10_000_000
FEWEST_RPS = 1e-3


class Simulated(Protocol):
    """One replica on given arrivals."""

    def latencies_ns(self, setup: Setup, arrivals_ns: Instants, seed: int) -> Times:
        """Of each request in the order of arrivals; LOST where it got no result."""
        ...


@dataclass(frozen=True, slots=True)
class Slo:
    percentile: float
    latency_ns: int

    def kept_by(self, latencies_ns: Times) -> bool:
        return self.reached(latencies_ns) <= self.latency_ns

    def reached(self, latencies_ns: Times) -> int:
        """The latency at the SLO's percentile, requests without result counted as slower than any."""
        return percentile_ns(latencies_ns, self.percentile / 100) if len(latencies_ns) else 0


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a setup, and what it promises."""

    simulated: Simulated
    setup: Setup
    slo: Slo
    seed: int

    def latencies_in(self, demand: Demand, window: Window, replicas: int) -> Times:
        """Of the requests of a window that several of the replicas get, one after the other."""
        begin_ns, length_ns = int(window.begin_s * NS), int(window.length_s * NS)
        lead_ns = min(LEAD_NS, begin_ns)
        found: list[Times] = []
        for split in range(MAX_SPLITS if replicas > 1 else 1):
            # The same split for every number of replicas that is tried: what differs is the load alone.
            rng = np.random.default_rng([self.seed, split])
            arrivals = demand.replica(begin_ns - lead_ns, length_ns + lead_ns, replicas, rng)
            arrivals = arrivals[: int(np.searchsorted(arrivals, lead_ns)) + NUM_REQUESTS]
            if len(arrivals):
                latencies = self.simulated.latencies_ns(self.setup, arrivals, self.seed + split)
                found.append(latencies[arrivals >= lead_ns])
            if sum(map(len, found)) >= NUM_REQUESTS:
                break
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def needed(self, demand: Demand, windows: Sequence[Window], start: int) -> int:
        """The fewest replicas that keep the SLO in every window, within 2 %; `start`: a guess.

        Raises: UserError: there is no such number.
        """
        found = max(1, start)
        for at, window in enumerate(windows):
            if at == 0 or not self._keeps(demand, window, found):
                found = self._needed_in(demand, window, found)
        return found

    def largest_rate(self, guess_rps: float = 0.0) -> float:
        """The largest rate of Poisson arrivals that one replica bears within the SLO, within 2 %.

        Raises: UserError: the SLO is not kept even by requests that meet nobody.
        """
        rate = guess_rps or 1.0
        low, high = 0.0, math.inf
        while high > low * (1 + TOLERANCE):
            if self._bears(rate):
                low = rate
            else:
                high = rate
            if high < FEWEST_RPS:
                raise UserError(
                    f"a request that meets nobody takes longer than the SLO of {self.slo.latency_ns / 1e6:g} ms at "
                    f"p{self.slo.percentile:g}: more replicas do not help; choose a faster variant or another SLO"
                )
            rate = 2 * low if math.isinf(high) else high / 2 if not low else (low + high) / 2
        return low

    def _bears(self, rate_rps: float) -> bool:
        arrivals = Poisson(rate_rps=rate_rps, duration_ns=int(NUM_REQUESTS / rate_rps * NS))
        instants = arrivals.instants_ns(np.random.default_rng(self.seed))
        latencies = self.simulated.latencies_ns(self.setup, instants, self.seed)
        return self.slo.kept_by(latencies[len(latencies) // 10 :])

    def _needed_in(self, demand: Demand, window: Window, start: int) -> int:
        low, high, tried = 0, 0, start
        while not high or high - low > max(1, TOLERANCE * high):
            if tried > MAX_REPLICAS:
                raise UserError(
                    f"more than {MAX_REPLICAS:,} replicas would be needed at {window.rate_rps:,.4g}/s: the plan ends there"
                )
            if self._keeps(demand, window, tried):
                high = tried
            else:
                low = tried
            tried = math.ceil(1.15 * low) + 1 if not high else (low + high) // 2 if low else int(0.85 * high)
            if high and tried <= low:
                break
        return high

    def _keeps(self, demand: Demand, window: Window, replicas: int) -> bool:
        return self.slo.kept_by(self.latencies_in(demand, window, replicas))
