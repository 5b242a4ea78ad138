"""The machine's pace in virtual time: recorded stretches, kept whole."""

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.load.arrivals import Poisson
from trivet.simulate.forecast import largest_rate
from trivet.simulate.pace import Pace
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup, StageSetup

MS = 1_000_000
SLOW = [[1.0] * 50, [2.0] * 50]  # half a second each


def profile(paces: list[list[float]], speeds: list[float] | None = None) -> ServiceProfile:
    host = HostCosts(per_request_ns=[20_000], paces=paces, pace_ns=10 * MS, speeds=speeds or [])
    return ServiceProfile(service="s", models={"m": ModelTimes(samples={0: {1: [MS] * 20}})}, host=host)


def setup() -> Setup:
    stage = StageSetup("m", kind="model", execution="inline", instances=1, threads=1, max_batch_size=1)
    return Setup(service="s", stages=(stage,), workers=1, cores=1, deadline_ns=10_000 * MS)


@given(
    st.lists(st.lists(st.floats(0.5, 2), min_size=1, max_size=5), max_size=4),
    st.lists(st.integers(0, 50), min_size=1, max_size=50),
)
def test_time_goes_on_and_the_factor_is_one_that_was_recorded(
    stretches: list[list[float]], gaps: list[int]
) -> None:
    pace = Pace(stretches, 10, np.random.default_rng(1))
    now = 0
    for gap in gaps:
        now += gap
        if now >= pace.until_ns:
            pace.go_on(now)
        assert now < pace.until_ns
        assert pace.factor in {factor for stretch in stretches for factor in stretch} or (
            not stretches and pace.factor == 1
        )


def test_a_stretch_is_kept_whole() -> None:
    pace = Pace([[1.0, 2.0, 3.0], [7.0, 8.0]], 10, np.random.default_rng(1))
    seen = []
    for now in range(0, 1_000, 10):
        pace.go_on(now)
        seen.append(pace.factor)
    for pair in pairwise(seen):
        assert pair in {(1, 2), (2, 3), (7, 8), (3, 1), (3, 7), (8, 1), (8, 7)}
    assert min(seen.count(2), seen.count(7)) > 10


def test_slow_batches_come_together_and_make_the_tail() -> None:
    """The same times in the same shares: where the slow ones come by the half second, a queue grows meanwhile."""
    arrivals = np.cumsum(np.random.default_rng(3).exponential(MS / 0.6, 60_000)).astype(np.int64)
    rng = np.random.default_rng
    together = simulated(profile(SLOW), setup(), arrivals, rng=rng(1))
    mixed = simulated(profile([[1.0, 2.0] * 25]), setup(), arrivals, rng=rng(1))
    assert np.mean(together.batch_ended_ns - together.batch_began_ns) == pytest.approx(1.5 * MS, rel=0.1)
    assert np.quantile(together.latency_ns(), 0.99) > 3 * np.quantile(mixed.latency_ns(), 0.99)


def test_the_loops_work_keeps_the_pace() -> None:
    arrivals = np.arange(1, 200, dtype=np.int64) * 10 * MS
    usual, slow = (
        simulated(profile(paces), setup(), arrivals, rng=np.random.default_rng(1))
        for paces in ([[1.0]], [[3.0]])
    )
    assert np.median(slow.latency_ns()) == pytest.approx(3 * np.median(usual.latency_ns()), rel=0.001)


def test_a_forecasts_run_has_a_speed_of_its_own() -> None:
    arrivals = np.arange(1, 50, dtype=np.int64) * 10 * MS
    found = [
        simulated(
            profile([[1.0]], [1.0, 2.0]), setup(), arrivals, rng=np.random.default_rng(seed), resample=True
        )
        for seed in range(20)
    ]
    times = {round(float(np.median(run.batch_ended_ns - run.batch_began_ns)) / MS, 2) for run in found}
    assert times == {1.0, 2.0}


def test_the_machine_is_the_same_whatever_else_is_drawn() -> None:
    """Rates are compared on one machine: its pace is that of an instant, not of so many draws."""
    known = profile(SLOW)
    every = [np.arange(1, num, dtype=np.int64) * (5_000 * MS // num) for num in (300, 900)]
    few, many = (simulated(known, setup(), arrivals, rng=np.random.default_rng(5)) for arrivals in every)
    slow = [
        set((run.batch_began_ns[run.batch_ended_ns - run.batch_began_ns > 1.5 * MS] // (500 * MS)).tolist())
        for run in (few, many)
    ]
    assert slow[0] == slow[1] != set()


def test_the_largest_rate_is_of_several_moments_of_the_machine() -> None:
    """At 1,000 requests a second a few hundred of them see the machine either quick or slow, and answer for either."""
    known = profile(4 * SLOW)
    load = Poisson(rate_rps=500, duration_ns=1_000 * MS)
    within = replace(setup(), slo_latency_ns=20 * MS)
    brief, long = (
        largest_rate(known, within, load, seed=1, replications=6, num_requests=400, span_s=span_s)
        for span_s in (0.0, 5.0)
    )
    assert brief.high / brief.low > 4
    assert long.high / long.low < 2
    assert brief.low < long.low < long.high < 600  # where the slow moments decide


def test_a_profile_with_a_pace_survives_its_file() -> None:
    known = profile(SLOW, [1.1])
    assert msgspec.json.decode(msgspec.json.encode(known), type=ServiceProfile) == known
