"""A capacity plan: how many replicas of a profiled service keep its SLO under a trace that is scaled, and what then.

Requests are spread over replicas at random, so one replica on its share of the busiest windows tells of all of them;
`windows.py` draws that share whatever the scale. Nothing is planned outside what was profiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.load.arrivals import NS, Curve, Instants
from trivet.simulate.deciding import bin_length_ns, deciding_windows
from trivet.simulate.next_levers import bearable_rps, lever_gains
from trivet.simulate.plan_records import LeverGain, Plan, Scenario
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.replicas import LOST, Replica, Seen
from trivet.simulate.setup import Setup
from trivet.simulate.windows import Demand, How, demand
from trivet.spec.cost import Cost

SCALES = (1.0, 1.5, 2.0, 10.0)
REPLICATIONS = 4  # of the search for what one replica bears: its interval
LINE_POINTS = 500  # of the picture
FIRST_GUESS_RPS = 50.0
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class _Sure:
    """What one replica bears, with the ends of its interval."""

    rate_rps: float
    low: float
    high: float


def plan(
    profile: ServiceProfile,
    setup: Setup,
    trace: Instants | Curve,
    *,
    scale: float = 1.0,
    scales: Sequence[float] = SCALES,
    how: Sequence[How] = ("users", "amplitude"),
    headroom: float = 0.2,
    cost: Cost | None = None,
    names: Mapping[str, str] | None = None,
    error: float = 0.0,
    seed: int = 0,
    on_progress: Callable[[str], None] = lambda told: None,
) -> Plan:
    """Args: trace: instants of shape (n,), ascending from 0, or a rate curve.  scale: of the load that is asked for.

    scales: times that, what to say beside it; the first of them, in the first way of `how`, is the plan itself.
    headroom: so much more load, as a share, must be borne.  names: of variants, by digest.
    error: relative standard deviation that simulations were off by on this machine.
    Raises: UserError: no SLO latency, something that was not profiled, no requests, or no number of replicas is enough.
    """
    replica = Replica(profile, setup, seed)
    _check(replica, scale, headroom)
    on_progress("what one replica bears")
    sure = _sure(replica, error)
    scenarios = []
    for times in scales:
        for way in how:
            on_progress(f"x{scale * times:g} by {way}")
            scenarios.append(_scenario(replica, trace, scale * times, way, headroom, cost, sure))
    asked = demand(trace, scale * scales[0], how[0], np.random.default_rng(seed))
    on_progress("the next lever")
    own_rps, _, _ = bearable_rps(profile, setup, sure.rate_rps, seed)
    gains = lever_gains(profile, setup, own_rps, names or {}, seed)
    first = scenarios[0]
    seen = replica.seen_in(asked, deciding_windows(asked)[0], first.replicas)
    line_s, line_rps = _line(asked)
    return Plan(
        service=setup.service,
        answer=_answer(first, setup, replica.slo_latency_ns, headroom),
        slo_percentile=setup.slo_percentile,
        slo_latency_ms=replica.slo_latency_ns / 1e6,
        headroom=headroom,
        replica_cores=setup.cores,
        replica_rps=sure.rate_rps,
        replica_rps_low=sure.low,
        replica_rps_high=sure.high,
        cpu_ms_per_request=seen.cpu_ns / 1e6,
        windows=deciding_windows(asked),
        scenarios=scenarios,
        levers=[_with_replicas(gain, first) for gain in gains],
        currency=cost.currency if cost else "",
        cost_processor=cost.of_processor_time(seen.cpu_ns) if cost else None,
        line_s=line_s,
        line_rps=line_rps,
        capacity_rps=first.replicas * sure.rate_rps,
        notes=_notes(trace, profile),
    )


def _sure(replica: Replica, error: float) -> _Sure:
    """What a simulator is off by comes on top of what its profile does not know, on a logarithmic scale."""
    rate, low, high = bearable_rps(
        replica.profile, replica.setup, FIRST_GUESS_RPS, replica.seed, REPLICATIONS
    )
    below, above = (math.hypot(math.log(end / rate), NORMAL_95 * error) for end in (low, high))
    return _Sure(rate, rate * math.exp(-below), rate * math.exp(above))


def _scenario(
    replica: Replica,
    trace: Instants | Curve,
    scale: float,
    how: How,
    headroom: float,
    cost: Cost | None,
    sure: _Sure,
) -> Scenario:
    rng_seed = replica.seed
    offered = demand(trace, scale, how, np.random.default_rng(rng_seed))
    with_headroom = demand(trace, scale * (1 + headroom), how, np.random.default_rng(rng_seed))
    windows = deciding_windows(with_headroom)
    peak_rps = windows[0].rate_rps
    num = replica.needed(with_headroom, windows, math.ceil(peak_rps / sure.rate_rps))
    seen = max((replica.seen_in(offered, window, num) for window in windows), key=_latency)
    mean_rps = float(offered.counts(offered.duration_ns).sum()) / offered.duration_ns * NS
    cores = num * replica.setup.cores
    followed = _followed(offered, num) * replica.setup.cores
    return Scenario(
        scale=scale,
        how=how,
        mean_rps=mean_rps,
        peak_rps=peak_rps / (1 + headroom),
        replicas=num,
        replicas_low=_at_rate(num, sure.rate_rps / sure.high),
        replicas_high=_at_rate(num, sure.rate_rps / sure.low),
        cores=cores,
        latency_ms=seen.latency_ns / 1e6 if seen.latency_ns < LOST else None,
        busy=seen.cpu_ns * seen.rate_rps / NS / replica.setup.cores,
        cost_provisioned=cost.of_cores(cores, mean_rps) if cost else None,
        cost_followed=cost.of_cores(followed, mean_rps) if cost else None,
    )


def _latency(seen: Seen) -> int:
    return seen.latency_ns


def _followed(offered: Demand, num: int) -> float:
    """The mean number of replicas, were there always as many as the load of the moment needs, and at least one."""
    counts = offered.counts(bin_length_ns(offered.duration_ns) * 4)
    return float(np.maximum(1.0, np.ceil(num * counts / counts.max())).mean())


def _at_rate(num: int, ratio: float) -> int:
    """Replicas, were each to bear `1 / ratio` times what is thought; at least one."""
    return max(1, math.ceil(round(num * ratio, 6)))


def _with_replicas(gain: LeverGain, first: Scenario) -> LeverGain:
    if not gain.gain:
        return gain
    return msgspec.structs.replace(gain, replicas=max(1, math.ceil(round(first.replicas / gain.gain, 6))))


def _line(asked: Demand) -> tuple[list[float], list[float]]:
    """The load over time, the highest of each stretch: at most `LINE_POINTS`."""
    bin_ns = bin_length_ns(asked.duration_ns)
    rates: NDArray[np.float64] = asked.counts(bin_ns) / bin_ns * NS
    size = -(-len(rates) // LINE_POINTS)
    highest = np.maximum.reduceat(rates, np.arange(0, len(rates), size))
    return (np.arange(len(highest)) * size * bin_ns / NS).tolist(), highest.tolist()


def _answer(first: Scenario, setup: Setup, slo_latency_ns: int, headroom: float) -> str:
    replicas = f"{first.replicas:,} replica{'s' * (first.replicas != 1)}"
    uncertain = (
        f" ({first.replicas_low:,} to {first.replicas_high:,})"
        if first.replicas_low != first.replicas_high
        else ""
    )
    return (
        f"{replicas} of {setup.cores} core{'s' * (setup.cores != 1)}{uncertain} keep p{setup.slo_percentile:g} within "
        f"{slo_latency_ns / 1e6:g} ms at a peak of {first.peak_rps:,.4g}/s, with {headroom:.0%} headroom"
    )


def _notes(trace: Instants | Curve, profile: ServiceProfile) -> list[str]:
    notes = [f"requests are spread over replicas at random; {profile.measured_on or 'profiled'}"]
    if isinstance(trace, Curve):
        notes.append(
            "a rate curve: arrivals are Poisson at its rate, so bursts within a line of the file are not in it"
        )
    return notes


def _check(replica: Replica, scale: float, headroom: float) -> None:
    if not 0 < scale < math.inf:
        raise UserError(f"a load is scaled by a factor above 0, got {scale:g}")
    if not 0 <= headroom < math.inf:
        raise UserError(f"headroom is a share of the load from 0 on, got {headroom:g}")
    _ = replica.slo_latency_ns
    if reason := replica.profile.covers(replica.setup):
        raise UserError(f"no plan: {reason}; profile it first: trivet simulate SERVICE --profile")
