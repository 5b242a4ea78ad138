"""M/G/k: waiting times of several servers that share one queue, from two moments. A formula, for what needs no simulation.

Mean wait: exact for M/M/k (Erlang) and M/G/1 (Pollaczek and Khinchine); between M/M/k and M/D/k by Kimura (1986),
with M/D/k after Cosmetatos (1975); arrivals that are not Poisson by the factor of Allen and Cunneen (Allen, 1990).
Tail: whoever waits, waits exponentially (Whitt, 1993): exact for M/M/k, right to first order under heavy traffic.
Not in it: deadlines, refusals, dependence between arrivals, and batches except as `batched` approximates them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError

Times = NDArray[np.float64]

RESIDUAL_POINTS = 32  # of the rest of a running batch, evenly spread


@dataclass(frozen=True, slots=True)
class Wait:
    """Time in the queue, in the unit of the service times. `share`: of requests that wait at all; `mean`: over all."""

    share: float
    mean: float

    def exceeds(self, times: Times) -> Times:
        """The probability of waiting longer than each time; 1 for times below 0."""
        if not self.share:
            return (times < 0).astype(np.float64)
        decay = self.share * np.exp(-np.maximum(times, 0.0) * (self.share / self.mean))
        return np.where(times < 0, 1.0, decay)

    def percentile(self, p: float) -> float:
        """The wait that a share `p` of the requests does not exceed; 0 where that many do not wait."""
        if not 0 < p < 1:
            raise ValueError(f"p is {p}, must be in (0, 1)")
        return self.mean / self.share * math.log(self.share / (1 - p)) if self.share > 1 - p else 0.0


def erlang_c(num_servers: int, load: float) -> float:
    """The share of requests that wait in M/M/k, load = arrival rate / (k service rates).

    By the recursion of Erlang's B, which stays exact for thousands of servers.
    Raises: UserError: load not in [0, 1), or no server.
    """
    _check(num_servers, load)
    offered, blocked = num_servers * load, 1.0
    for servers in range(1, num_servers + 1):
        blocked = offered * blocked / (servers + offered * blocked)
    return blocked / (1 - load * (1 - blocked))


def waiting(
    rate: float, service_mean: float, service_scv: float, num_servers: int, gap_scv: float = 1.0
) -> Wait:
    """Waiting time of GI/G/k.

    Args: rate: arrivals in a unit of time.  service_scv, gap_scv: variance over squared mean, of service times and of
    gaps between arrivals (1: Poisson).
    Raises: UserError: more is offered than the servers can do, so the queue has no steady state.
    """
    load = rate * service_mean / num_servers
    share = erlang_c(num_servers, load)
    if not share:
        return Wait(0.0, 0.0)
    exponential = share * service_mean / (num_servers * (1 - load))
    constant = exponential * _constant_over_exponential(num_servers, load)
    # Kimura: the harmonic way between the two keeps M/G/1 exact.
    between = service_scv * 2 * constant + (1 - service_scv) * exponential
    poisson = (
        (1 + service_scv) * exponential * constant / between
        if service_scv < 1
        else _beyond(exponential, service_scv)
    )
    return Wait(share, poisson * (gap_scv + service_scv) / (1 + service_scv))


def latency_percentile(wait: Wait, services: Times, p: float) -> float:
    """The latency (wait + service) that a share `p` of requests does not exceed, to one part in 10^9.

    Args: services: shape (n,), service times as they were seen, each as likely.
    Raises: ValueError: p not in (0, 1).  UserError: no service time.
    """
    if not len(services):
        raise UserError("no service times, so no latency; profile the service first")
    if not wait.share:
        return float(np.quantile(services, p, method="inverted_cdf"))
    low, high = float(services.min()), float(services.max()) + wait.percentile(p)
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        beyond = float(wait.exceeds(middle - services).mean())
        low, high = (middle, high) if beyond > 1 - p else (low, middle)
    return high


@dataclass(frozen=True, slots=True)
class Batched:
    """A batch server as one that does not batch. `rows`: mean size of a batch; `services`: what is left of the running
    batch and one's own, shape (n,); `wait`: behind whole batches that were full."""

    rows: float
    services: Times
    wait: Wait

    def latency_percentile(self, p: float) -> float:
        return latency_percentile(self.wait, self.services, p)


def batched(rate: float, batch_times: Times, num_servers: int = 1, noise_scv: float = 0.0) -> Batched:
    """A server that takes all that waits, up to n at once, as an effective server.

    Batches grow until they keep pace: rate s(b) = k b. A request waits for the rest of a running batch (evenly spread,
    where all servers are busy) and, since batches may be full, as in M/G/k with service s(n) / n; then its own batch
    takes s(b). Below a tenth off where batches are neither always full nor rare (see tests/simulate/test_mgk.py).

    Args: batch_times: shape (n,), mean time of a batch of 1, 2, ... n rows.  noise_scv: of a batch's time.
    Raises: UserError: more is offered than full batches can do.
    """
    sizes = np.arange(1, len(batch_times) + 1)
    full = float((batch_times / sizes).min())
    wait = waiting(rate, full, noise_scv, num_servers)
    # The first size that keeps pace, on a line between whole ones.
    keeps_pace = num_servers * sizes - rate * batch_times
    first = int(np.argmax(keeps_pace >= 0))
    rows = (
        1.0
        if first == 0
        else float(np.interp(0.0, keeps_pace[first - 1 : first + 1], sizes[first - 1 : first + 1]))
    )
    own = float(np.interp(rows, sizes, batch_times))
    busy = min(1.0, rate * own / (num_servers * rows)) ** num_servers
    rest = (np.arange(RESIDUAL_POINTS) + 0.5) / RESIDUAL_POINTS * own / num_servers
    num_idle = round(RESIDUAL_POINTS * (1 - busy) / max(busy, 1 / RESIDUAL_POINTS**2))
    services = own + np.concatenate([rest, np.zeros(num_idle)]) if busy else np.array([own])
    return Batched(rows, services, wait)


def _constant_over_exponential(num_servers: int, load: float) -> float:
    """The mean wait of M/D/k over that of M/M/k.   Source: Cosmetatos (1975)."""
    extra = (1 - load) * (num_servers - 1) * (math.sqrt(4 + 5 * num_servers) - 2) / (16 * num_servers * load)
    return min(1.0, 0.5 * (1 + extra))


def _beyond(exponential: float, service_scv: float) -> float:
    """Service times that vary more than exponential ones: the factor of Allen and Cunneen."""
    return exponential * (1 + service_scv) / 2


def _check(num_servers: int, load: float) -> None:
    if num_servers < 1:
        raise UserError(f"{num_servers} servers: at least 1 is needed")
    if not 0 <= load < 1:
        raise UserError(
            f"offered load is {load:.3g} of what {num_servers} servers can do, so the queue grows for ever; "
            f"at least {math.floor(num_servers * load) + 1} servers are needed"
        )
