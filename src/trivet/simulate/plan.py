"""A capacity plan: how many replicas of a profiled service keep its SLO under a trace that is scaled, and what then.

Requests are spread over replicas at random, so one replica on its share of the busiest windows tells of all of them;
`windows.py` draws that share whatever the scale. Nothing is planned outside what was profiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.load.arrivals import NS, Curve, Instants
from trivet.simulate.deciding import bin_length_ns, deciding_windows
from trivet.simulate.forecast import SPAN_S
from trivet.simulate.next_levers import bearable_rps, lever_gains
from trivet.simulate.plan_records import LeverGain, Plan, Scenario
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.replicas import LOST, NUM_REQUESTS, Replica
from trivet.simulate.setup import Setup
from trivet.simulate.windows import Demand, How, demand, has_users
from trivet.spec.cost import Cost
from trivet.stats.interval import Interval

SCALES = (1.0, 1.5, 2.0, 10.0)
REPLICATIONS = 5  # of the search for what one replica bears: its interval
LESS = 2  # a question beside the plan itself is answered by so many times fewer requests
LINE_POINTS = 500  # of the picture
FIRST_GUESS_RPS = 50.0
NORMAL_95 = 1.96


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
    num_requests: int = NUM_REQUESTS,
    on_progress: Callable[[str], None] = lambda told: None,
) -> Plan:
    """Args: trace: instants of shape (n,), ascending from 0, or a rate curve.  scale: of the load that is asked for.

    scales: times that, what to say beside it; the first of them, in the first way of `how`, is the plan itself.
    headroom: so much more load, as a share, must be borne.  names: of variants, by digest.
    error: relative standard deviation that simulations were off by on this machine.
    num_requests: simulated for each answer.
    Raises: UserError: no SLO latency, something that was not profiled, no requests, or no number of replicas is enough.
    """
    # Whoever asks does so from machines of their own, not from the one that the profile was measured with.
    costs = msgspec.structs.replace(profile.host, generator_hiccups=[])
    profile = msgspec.structs.replace(profile, host=costs)
    replica = Replica(profile, setup, seed, num_requests)
    _check(replica, scale, headroom)
    on_progress("what one replica bears")
    sure = _sure(replica, error)
    loads = [(scale * times, way) for times in scales for way in how]
    scenarios = []
    for one in _scenarios(replica, trace, loads, headroom, cost, sure):
        on_progress(f"x{one.scale:g} by {one.how}: {one.replicas:,} replicas")
        scenarios.append(one)
    on_progress("the next lever")
    gains = lever_gains(profile, setup, sure.estimate, names or {}, seed, num_requests // LESS)
    first = scenarios[0]
    asked = _demand(replica, trace, *loads[0])
    windows = deciding_windows(asked)
    cpu_ns = replica.seen_in(asked, windows[0], first.replicas).cpu_ns
    line_s, line_rps = _line(asked)
    return Plan(
        service=setup.service,
        answer=_answer(first, setup, replica.slo_latency_ns, headroom),
        slo_percentile=setup.slo_percentile,
        slo_latency_ms=replica.slo_latency_ns / 1e6,
        headroom=headroom,
        replica_cores=setup.cores,
        replica_rps=sure.estimate,
        replica_rps_low=sure.low,
        replica_rps_high=sure.high,
        cpu_ms_per_request=cpu_ns / 1e6,
        windows=windows,
        scenarios=scenarios,
        levers=[_with_replicas(gain, first) for gain in gains],
        currency=cost.currency if cost else "",
        cost_processor=cost.of_processor_time(cpu_ns) if cost else None,
        line_s=line_s,
        line_rps=line_rps,
        capacity_rps=first.replicas * sure.estimate,
        notes=_notes(trace, profile),
    )


def _sure(replica: Replica, error: float) -> Interval:
    """What one replica bears. What simulators are off by comes on top of what the profile does not know, on a
    logarithmic scale."""
    num_requests = replica.num_requests // LESS
    found = bearable_rps(
        replica.profile, replica.setup, FIRST_GUESS_RPS, replica.seed, num_requests, REPLICATIONS, SPAN_S
    )
    below, above = (
        math.hypot(math.log(end / found.estimate), NORMAL_95 * error) for end in (found.low, found.high)
    )
    return Interval(found.estimate, found.estimate * math.exp(-below), found.estimate * math.exp(above))


def _demand(replica: Replica, trace: Instants | Curve, scale: float, how: How) -> Demand:
    """Copies are moved alike at every scale, as far as there are as many."""
    return demand(trace, scale, how, np.random.default_rng(replica.seed))


def _scenarios(
    replica: Replica,
    trace: Instants | Curve,
    loads: Sequence[tuple[float, How]],
    headroom: float,
    cost: Cost | None,
    sure: Interval,
) -> Iterator[Scenario]:
    """Of each load; the first is the plan itself. Where both ways are the same, it is not computed twice."""
    brief = replace(replica, num_requests=replica.num_requests // LESS)
    found: dict[tuple[float, How], Scenario] = {}
    for scale, how in loads:
        same: How = how if has_users(trace) else "amplitude"
        if (scale, same) not in found:
            one = _scenario(brief if found else replica, trace, scale, same, headroom, cost, sure)
            found[scale, same] = one
        yield msgspec.structs.replace(found[scale, same], how=how)


def _scenario(
    replica: Replica,
    trace: Instants | Curve,
    scale: float,
    how: How,
    headroom: float,
    cost: Cost | None,
    sure: Interval,
) -> Scenario:
    offered = _demand(replica, trace, scale, how)
    with_headroom = _demand(replica, trace, scale * (1 + headroom), how)
    windows = deciding_windows(with_headroom)
    smooth = (
        windows[0].rate_rps / sure.estimate
    )  # what would do, were arrivals Poisson and replicas divisible
    num = replica.needed(with_headroom, windows, math.ceil(smooth))
    low, high = _ends(num, smooth, sure)
    seen = replica.seen_in(offered, windows[0], num)
    mean_rps = float(offered.counts(offered.duration_ns).sum()) / offered.duration_ns * NS
    cores = num * replica.setup.cores
    followed = _followed(offered, num) * replica.setup.cores
    return Scenario(
        scale=scale,
        how=how,
        mean_rps=mean_rps,
        peak_rps=deciding_windows(offered)[0].rate_rps,
        replicas=num,
        replicas_low=low,
        replicas_high=high,
        cores=cores,
        latency_ms=seen.latency_ns / 1e6 if seen.latency_ns < LOST else None,
        busy=seen.cpu_ns * seen.rate_rps / NS / replica.setup.cores,
        cost_provisioned=cost.of_cores(cores, mean_rps) if cost else None,
        cost_followed=cost.of_cores(followed, mean_rps) if cost else None,
    )


def _followed(offered: Demand, num: int) -> float:
    """The mean number of replicas, were there always as many as the load of the moment needs, and at least one."""
    counts = offered.counts(bin_length_ns(offered.duration_ns) * 4)
    return float(np.maximum(1.0, np.ceil(num * counts / counts.max())).mean())


def _ends(num: int, smooth: float, sure: Interval) -> tuple[int, int]:
    """Replicas, were each to bear as much or as little as it may; the whole number leaves some room."""
    needed = smooth if num == math.ceil(smooth) else float(num)
    least, most = (math.ceil(round(needed * sure.estimate / end, 6)) for end in (sure.high, sure.low))
    return max(1, min(least, num)), max(most, num)


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
    replicas, keep = f"{first.replicas:,} replicas", "keep"
    if first.replicas == 1:
        replicas, keep = "1 replica", "keeps"
    uncertain = (
        f" ({first.replicas_low:,} to {first.replicas_high:,})"
        if first.replicas_low != first.replicas_high
        else ""
    )
    return (
        f"{replicas} of {setup.cores} core{'s' * (setup.cores != 1)}{uncertain} {keep} p{setup.slo_percentile:g} within "
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
        raise UserError(f"no plan: {reason}; profile it first: trivet simulate SERVICE --rate 10")
    replica.check_lone()
