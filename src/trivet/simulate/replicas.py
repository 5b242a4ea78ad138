"""How many replicas keep the SLO: one of them is simulated on its share of the load, in the windows that decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.load.arrivals import NS
from trivet.simulate.plan_records import Window
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup
from trivet.simulate.windows import Demand
from trivet.stats.percentile import percentile_ns

Times = NDArray[np.int64]

LOST: Final = 1 << 62  # the latency of a request that gets no result: slower than any
NUM_REQUESTS = 6_000  # simulated for one answer: p99 has 60 above it
NUM_LONE = 200
MAX_SPLITS = 8  # replicas that are simulated for it, each with another part of the load
LEAD_NS = 2 * NS  # before a window: it does not find the server empty
TOLERANCE = 0.02  # of the number of replicas
MAX_REPLICAS = 10_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One replica in one window. latency_ns: at the SLO's percentile, LOST where more than the rest gets no result.

    rate_rps: that the replica was offered.  cpu_ns: core time a request.
    """

    latency_ns: int
    rate_rps: float
    cpu_ns: float


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a profiled setup, which has an SLO latency. `num_requests`: simulated for one answer."""

    profile: ServiceProfile
    setup: Setup
    seed: int
    num_requests: int = NUM_REQUESTS

    @property
    def slo_latency_ns(self) -> int:
        """Raises: UserError: the setup has no SLO."""
        if self.setup.slo_latency_ns is None:
            raise UserError(
                "the service has no SLO latency: set `slo: {latency: 50ms}`, or give --slo p99:50ms"
            )
        return self.setup.slo_latency_ns

    def check_lone(self) -> None:
        """Raises: UserError: requests that meet nobody take longer than the SLO allows."""
        arrivals = np.arange(NUM_LONE) * (NS + 10 * self.slo_latency_ns)
        run = simulated(self.profile, self.setup, arrivals, rng=np.random.default_rng(self.seed))
        reached = self._reached(np.where(run.is_ok(), run.latency_ns(), LOST))
        if reached > self.slo_latency_ns:
            took = f"take {reached / 1e6:.3g} ms" if reached < LOST else "are not all answered"
            raise UserError(
                f"requests that meet nobody {took} at p{self.setup.slo_percentile:g}, and the SLO allows "
                f"{self.slo_latency_ns / 1e6:g} ms: more replicas do not help; take a faster variant, or allow more time"
                f"{self.profile.doubts()}"
            )

    def seen_in(self, demand: Demand, window: Window, replicas: int) -> Seen:
        """Several of the replicas, each with its part of the load: until enough requests were seen."""
        begin_ns, length_ns = int(window.begin_s * NS), int(window.length_s * NS)
        lead_ns = min(LEAD_NS, begin_ns)
        found: list[Times] = []
        busy_ns, num, seconds = 0.0, 0, 0.0
        for split in range(min(MAX_SPLITS, replicas)):
            # The same draws for every number of replicas that is tried, as far as they go: the load is what differs.
            rng = np.random.default_rng([self.seed, split])
            arrivals = demand.replica(begin_ns - lead_ns, length_ns + lead_ns, replicas, rng)
            arrivals = arrivals[: int(np.searchsorted(arrivals, lead_ns)) + self.num_requests]
            if len(arrivals):
                run = simulated(self.profile, self.setup, arrivals, rng=rng)
                found.append(np.where(run.is_ok(), run.latency_ns(), LOST)[arrivals >= lead_ns])
                busy_ns, num = busy_ns + run.busy_ns, num + len(arrivals)
            is_cut = len(arrivals) >= self.num_requests
            seconds += (int(arrivals[-1]) if is_cut else lead_ns + length_ns) / NS
            if num >= self.num_requests:
                break
        latencies = np.concatenate(found) if found else np.zeros(0, np.int64)
        return Seen(self._reached(latencies), num / seconds, busy_ns / num if num else 0.0)

    def _reached(self, latencies_ns: Times) -> int:
        return percentile_ns(latencies_ns, self.setup.slo_percentile / 100) if len(latencies_ns) else 0

    def needed(self, demand: Demand, windows: Sequence[Window], start: int) -> int:
        """The fewest replicas that keep the SLO in every window, within 2 %; `start`: a guess.

        Raises: UserError: there is no such number.
        """
        found = max(1, start)
        for at, window in enumerate(windows):
            if at == 0 or not self._keeps(demand, window, found):
                found = self._needed_in(demand, window, found)
        return found

    def _needed_in(self, demand: Demand, window: Window, start: int) -> int:
        low, high, tried, step = 0, 0, start, TOLERANCE
        while not high or high - low > max(1, TOLERANCE * high):
            if self._keeps(demand, window, tried):
                high = tried
            else:
                low = tried
            # From the guess in steps that double, until it lies between two; then in halves.
            if high and low:
                tried = (low + high) // 2
            elif high:
                tried = min(high - 1, math.floor(high * (1 - min(step, 0.5))))
            else:
                tried = max(low + 1, math.ceil(low * (1 + step)))
            step *= 2
            if not high and tried > MAX_REPLICAS:
                raise UserError(
                    f"not even {MAX_REPLICAS:,} replicas keep p{self.setup.slo_percentile:g} within "
                    f"{self.slo_latency_ns / 1e6:g} ms at {window.rate_rps:,.4g}/s: scale by less, or allow more time"
                )
        return high

    def _keeps(self, demand: Demand, window: Window, replicas: int) -> bool:
        return self.seen_in(demand, window, replicas).latency_ns <= self.slo_latency_ns
