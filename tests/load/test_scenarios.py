"""Scenarios against servers in virtual time."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.load.simulated_target import BASE, EVEN, MS, SLO, SimulatedTarget, constant, exponential
from trivet.errors import SpecError
from trivet.load.arrivals import NS, Constant, Curve, Gamma, Poisson, Recorded, Steps
from trivet.load.job import Job
from trivet.load.rates import at_rate
from trivet.load.result import Result
from trivet.load.scenarios import Overload, Soak, Spike, Steady, overload, soak, spike, steady
from trivet.spec.levers import Slo
from trivet.spec.row import ABSENT, RowColumns


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_steady_offers_the_rate_after_the_warm_up() -> None:
    target = SimulatedTarget(constant(MS))
    scenario = Steady(rate_rps=100, duration_ns=5 * NS, arrivals=EVEN)
    result = steady(scenario, BASE, target.offer).result
    assert RowColumns.decode(result.rows).num_rows == 600
    assert result.measured().num_rows == 500
    assert target.jobs[0].requests == BASE.requests


def test_overload_of_a_server_that_refuses_keeps_its_goodput() -> None:
    target = SimulatedTarget(constant(10 * MS), max_wait_ns=30 * MS)
    scenario = Overload(capacity_rps=100, duration_ns=20 * NS, multiples=(1, 2, 4), arrivals=EVEN)
    found = overload(scenario, BASE, target.offer, SLO)
    assert [round(step.offered_rps) for _, step, _ in found.steps] == [100, 200, 400]
    assert found.goodput_kept == pytest.approx(1, abs=0.02)
    assert found.steps[2][1].error_share == pytest.approx(0.75, abs=0.01)
    assert found.steps[2][1].latency_ns == ABSENT


def test_overload_of_a_server_that_refuses_nothing_loses_its_goodput() -> None:
    target = SimulatedTarget(constant(10 * MS))
    found = overload(Overload(capacity_rps=100, duration_ns=20 * NS, arrivals=EVEN), BASE, target.offer, SLO)
    assert found.goodput_kept < 0.05


def test_overload_ends_with_a_run_that_was_stopped() -> None:
    target = SimulatedTarget(constant(MS))

    def offer(job: Job) -> Result:
        return msgspec.structs.replace(target.offer(job), partial=True)

    found = overload(Overload(capacity_rps=100, duration_ns=NS, arrivals=EVEN), BASE, offer, SLO)
    assert [multiple for multiple, _, _ in found.steps] == [1.0]


def test_recovery_after_a_spike_is_when_the_queue_is_gone() -> None:
    """200/s for 1 s at a server of 100/s leaves 100 requests; at 50/s they are worked off in 2 s."""
    target = SimulatedTarget(constant(10 * MS))
    scenario = Spike(base_rps=50, spike_rps=200, spike_ns=NS, window_ns=NS // 4)
    found = spike(scenario, BASE, target.offer, Slo(percentile=90, latency_ns=300 * MS))
    assert found.recovered_ns is not None
    assert NS <= found.recovered_ns <= 3 * NS
    assert (len(found.before), len(found.during), len(found.after)) == (20, 4, 40)
    assert min(window.attainment for window in found.before) == 1
    assert found.during[-1].attainment == 0


def test_a_spike_that_outlasts_the_run_has_no_recovery() -> None:
    target = SimulatedTarget(constant(10 * MS))
    scenario = Spike(base_rps=95, spike_rps=1000, after_ns=2 * NS)
    assert spike(scenario, BASE, target.offer, SLO).recovered_ns is None


def growing(share: float, num_expected: int) -> "SimulatedTarget":
    """Service times that grow by `share` over the run."""

    def services(job: Job, num: int) -> NDArray[np.int64]:
        return (MS * (1 + share * np.arange(num) / num_expected)).astype(np.int64)

    return SimulatedTarget(services)


def test_a_soak_finds_a_drift_and_sees_none_where_there_is_none() -> None:
    scenario = Soak(rate_rps=50, duration_ns=200 * NS, arrivals=EVEN)
    drift = soak(scenario, BASE, growing(0.3, 50 * 201).offer, SLO).drift
    assert drift.num_blocks == 20
    assert 1.2 < drift.low < drift.high < 1.35  # from the middle of the first block to that of the last
    flat = soak(scenario, BASE, SimulatedTarget(constant(MS)).offer, SLO).drift
    assert (flat.low, flat.high) == pytest.approx((1, 1))
    noisy = soak(
        Soak(rate_rps=100, duration_ns=200 * NS), BASE, SimulatedTarget(exponential(5 * MS)).offer, SLO
    ).drift
    assert noisy.low < 1 < noisy.high


def test_a_soak_whose_percentile_has_no_latency_is_refused() -> None:
    target = SimulatedTarget(constant(10 * MS), max_wait_ns=0)
    with pytest.raises(SpecError, match="0 of 20 blocks have a latency"):
        soak(Soak(rate_rps=500, duration_ns=100 * NS, arrivals=EVEN), BASE, target.offer, SLO)


@pytest.mark.parametrize(
    "scenario",
    [
        Steady(rate_rps=1, duration_ns=NS),
        Overload(capacity_rps=1, duration_ns=NS),
        Spike(base_rps=1, spike_rps=2),
        Soak(rate_rps=1, duration_ns=NS, arrivals=Recorded(at_ns=(0, 1))),
    ],
    ids=lambda scenario: type(scenario).__name__,
)
def test_a_scenario_travels_as_json(scenario: Steady | Overload | Spike | Soak) -> None:
    packed = msgspec.json.encode(scenario)
    assert msgspec.json.decode(packed, type=Steady | Overload | Spike | Soak) == scenario


SHAPES = [
    Constant(rate_rps=3, duration_ns=NS),
    Poisson(rate_rps=3, duration_ns=NS),
    Gamma(rate_rps=3, duration_ns=NS, gap_cv=2),
    Steps(rates_rps=(1, 0, 5), durations_ns=(NS, 2 * NS, 3 * NS)),
    Curve(at_ns=(0, 4 * NS, 9 * NS), rates_rps=(0, 10, 2)),
    Recorded(at_ns=tuple(range(0, 60 * NS, NS // 10))),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_every_kind_of_arrivals_can_be_offered_at_another_rate(shape: Poisson) -> None:
    changed = at_rate(shape, 200, 50 * NS, rng())
    assert type(changed) is type(shape)
    instants = changed.instants_ns(rng())
    assert len(instants) == pytest.approx(10_000, rel=0.06)
    assert instants[-1] < 50 * NS


def test_a_shape_keeps_its_proportions() -> None:
    steps = at_rate(SHAPES[3], 100, 60 * NS, rng())
    assert isinstance(steps, Steps)
    assert steps.durations_ns == (10 * NS, 20 * NS, 30 * NS)
    assert steps.rates_rps == pytest.approx((37.5, 0, 187.5))
    curve = at_rate(SHAPES[4], 100, None, rng())
    assert isinstance(curve, Curve)
    assert (curve.duration_ns, curve.mean_rps) == (9 * NS, pytest.approx(100))
    assert curve.rates_rps[2] == pytest.approx(curve.rates_rps[1] / 5)


def test_what_has_no_rate_or_is_too_short_is_refused() -> None:
    with pytest.raises(SpecError, match="without a request"):
        at_rate(Steps(rates_rps=(0,), durations_ns=(NS,)), 5, NS, rng())
    with pytest.raises(SpecError, match=r"lasts 59[.]9 s, 100 s of it"):
        at_rate(SHAPES[5], 5, 100 * NS, rng())
