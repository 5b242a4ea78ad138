"""Plans for a service whose every time is known, against formulas and against a brute-force split."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.simulate.planned_support import MS, SERVICE_MS, known_profile, known_setup
from trivet.errors import UserError
from trivet.load.arrivals import NS, Curve
from trivet.load.scaling import scaled
from trivet.simulate.deciding import deciding_windows
from trivet.simulate.plan import plan
from trivet.simulate.plan_records import Plan, Window
from trivet.simulate.profile import HostCosts, ServiceProfile
from trivet.simulate.replicas import Replica
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup
from trivet.simulate.windows import demand
from trivet.spec.cost import Cost

FLAT = Curve(at_ns=(0, 600 * NS), rates_rps=(150.0, 150.0))


@pytest.fixture(scope="module")
def flat_plan() -> Plan:
    return flat(known_profile())


def flat(profile: ServiceProfile) -> Plan:
    return planned(
        FLAT,
        profile=profile,
        scales=(1, 2),
        how=("users",),
        cost=Cost(core_hour=0.04),
        names={"b" * 16: "int8"},
        num_requests=2_000,
    )


def planned(
    trace: Curve | np.ndarray,
    setup: Setup | None = None,
    num_requests: int = 400,
    profile: ServiceProfile | None = None,
    **options: Any,
) -> Plan:
    """Hundreds of requests where a plan has thousands."""
    given = {"scales": (1,), "how": ("amplitude",), **options}
    return plan(profile or known_profile(), setup or known_setup(), trace, num_requests=num_requests, **given)


def exact_rate() -> float:
    """The rate at which p99 of M/D/1 with 10 ms is 50 ms: P(W <= t) by Erlang's sum, t = 4 service times."""

    def within(load: float) -> float:
        gaps = [load * (4 - k) for k in range(5)]
        return (1 - load) * sum((-gap) ** k / math.factorial(k) * math.exp(gap) for k, gap in enumerate(gaps))

    low, high = 0.01, 0.99
    while high - low > 1e-6:
        load = (low + high) / 2
        low, high = (load, high) if within(load) >= 0.99 else (low, load)
    return low * 1000 / SERVICE_MS


def test_one_replica_bears_what_theory_says(flat_plan: Plan) -> None:
    assert flat_plan.replica_rps == pytest.approx(exact_rate(), rel=0.1)
    assert flat_plan.replica_rps_low < flat_plan.replica_rps < flat_plan.replica_rps_high
    assert flat_plan.cpu_ms_per_request == pytest.approx(SERVICE_MS, rel=0.01)


def test_as_many_replicas_as_the_rate_with_headroom_needs(flat_plan: Plan) -> None:
    first = flat_plan.scenarios[0]
    assert (first.scale, first.how) == (1, "users")
    assert first.mean_rps == pytest.approx(150)
    needed = 150 * 1.2 / exact_rate()
    assert abs(first.replicas - needed) <= 1.5
    assert first.cores == first.replicas
    assert first.busy == pytest.approx(150 / first.replicas * SERVICE_MS / 1000, rel=0.05)
    assert first.latency_ms is not None
    assert first.latency_ms < 50
    assert first.replicas_low <= first.replicas <= first.replicas_high
    assert flat_plan.answer.startswith(f"{first.replicas} replicas of 1 core")


def test_what_holds_up_the_core_that_profiled_is_no_matter_of_a_plan(flat_plan: Plan) -> None:
    host = HostCosts(generator_hiccups=[(0, 90 * MS)], observed_ns=100 * MS)
    assert flat(msgspec.structs.replace(known_profile(), host=host)) == flat_plan


def test_twice_the_load_takes_twice_the_replicas(flat_plan: Plan) -> None:
    """Within one or two: a random split of a Poisson stream is one, whatever the scale."""
    asked, twice = flat_plan.scenarios
    assert twice.scale == 2
    assert abs(twice.replicas - 2 * asked.replicas) <= 2


def test_costs_are_those_of_busy_and_of_provisioned_cores(flat_plan: Plan) -> None:
    first = flat_plan.scenarios[0]
    assert flat_plan.cost_processor == pytest.approx(0.04 * 10 / 3.6, rel=0.01)
    assert first.cost_provisioned == pytest.approx(0.04 * first.cores * 1e6 / 150 / 3600, rel=1e-6)
    assert first.cost_followed == pytest.approx(
        first.cost_provisioned, rel=1e-6
    )  # a flat load: nothing to follow


def test_the_next_lever_is_the_variant_that_is_twice_as_fast(flat_plan: Plan) -> None:
    best = flat_plan.levers[0]
    assert best.lever == "variant int8"
    assert best.gain is not None
    assert best.gain > 2
    assert best.replicas == math.ceil(round(flat_plan.scenarios[0].replicas / best.gain, 6))
    too_many = next(lever for lever in flat_plan.levers if lever.lever.startswith("batch limit 1 -> 2"))
    assert too_many.gain == pytest.approx(1.0, abs=0.25)  # rows one after the other: nothing is gained


def test_a_lever_that_was_not_profiled_is_told_with_the_reason() -> None:
    found = planned(FLAT, known_setup(max_batch_size=4))
    larger = next(lever for lever in found.levers if lever.lever == "batch limit 4 -> 8")
    assert larger.gain is None
    assert "profiled up to 4" in larger.reason


def test_a_replica_of_many_is_what_a_split_by_hand_gives() -> None:
    """Scale the trace with `scaled`, toss for each request who gets it, and serve every replica."""
    rng = np.random.default_rng(8)
    clumps = np.repeat(np.sort(rng.integers(0, 20 * NS, 400)), 3) + rng.integers(0, 30 * MS, 1_200)
    trace = np.sort(clumps) - clumps.min()
    replica, num, factor = Replica(known_profile(), known_setup(), 1), 8, 6.0
    whole = scaled(trace, factor, "amplitude", rng)
    of_whom = rng.integers(num, size=len(whole))
    by_hand = []
    for one in range(num):
        run = simulated(replica.profile, replica.setup, whole[of_whom == one], rng=rng)
        by_hand.append(run.latency_ns())
    offered = demand(trace, factor, "amplitude", np.random.default_rng(1))
    window = Window(begin_s=0.0, length_s=19.9, rate_rps=360.0, dispersion=3.0, chosen_for="rate")
    seen = replica.seen_in(offered, window, num)
    assert seen.rate_rps == pytest.approx(len(whole) / 20 / num, rel=0.1)
    assert seen.latency_ns == pytest.approx(float(np.quantile(np.concatenate(by_hand), 0.99)), rel=0.12)


def test_a_peak_decides_however_calm_the_rest_is() -> None:
    at = (0, 1000 * NS, 1000 * NS, 1100 * NS, 1100 * NS, 4000 * NS)
    peaked = Curve(at_ns=at, rates_rps=(10.0, 10.0, 200.0, 200.0, 10.0, 10.0))
    found = planned(peaked, headroom=0.0)
    assert found.scenarios[0].peak_rps == pytest.approx(200)
    assert found.scenarios[0].replicas >= 200 / exact_rate() - 1
    assert 1000 <= found.windows[0].begin_s <= 1040
    assert found.line_rps[0] == pytest.approx(10)
    assert max(found.line_rps) == pytest.approx(200)


def test_a_million_requests_a_second_are_planned_by_one_replica() -> None:
    rng = np.random.default_rng(3)
    trace = np.sort(rng.integers(0, 600 * NS, 30_000))
    found = planned(trace - trace[0], scale=20_000, how=("users",), headroom=0.0)
    first = found.scenarios[0]
    assert first.mean_rps == pytest.approx(1e6, rel=0.02)
    assert first.replicas == pytest.approx(1e6 / exact_rate(), rel=0.15)


def test_a_load_that_one_replica_hardly_feels_takes_one() -> None:
    light = Curve(at_ns=(0, 600 * NS), rates_rps=(1.0, 1.0))
    assert planned(light).scenarios[0].replicas == 1


@pytest.mark.parametrize(
    ("slo_ms", "scale", "headroom", "told"),
    [
        (None, 1.0, 0.2, "no SLO latency"),
        (9.0, 1.0, 0.2, "meet nobody take 10 ms at p99.*faster variant"),
        (50.0, 0.0, 0.2, "factor above 0"),
        (50.0, 1.0, -0.1, "headroom is a share"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    slo_ms: float | None, scale: float, headroom: float, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        planned(FLAT, known_setup(slo_ms), scale=scale, headroom=headroom)


def test_outside_the_profile_there_is_no_plan() -> None:
    with pytest.raises(UserError, match=r"no plan: .*profiled up to 4.*trivet simulate"):
        planned(FLAT, known_setup(max_batch_size=64))


def test_a_window_is_seen_with_the_load_before_it() -> None:
    """The server is busy when the window begins: its first requests wait behind those before."""
    burst = np.concatenate([np.arange(100) * MS, [2_500 * MS, 2_600 * MS]])
    offered = demand(burst, 1, "amplitude", np.random.default_rng(1))
    window = Window(begin_s=0.1, length_s=2.4, rate_rps=1.0, dispersion=1.0, chosen_for="rate")
    assert Replica(known_profile(), known_setup(), 1).seen_in(offered, window, 1).latency_ns == 0
    later = Window(begin_s=0.09, length_s=2.4, rate_rps=1.0, dispersion=1.0, chosen_for="rate")
    assert Replica(known_profile(), known_setup(), 1).seen_in(offered, later, 1).latency_ns > 800 * MS
    assert len(deciding_windows(offered)) >= 1
