import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks._queues import exponential, hiccups, one_server, poisson
from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Interval
from trivet.stats.percentile import percentile_ns
from trivet.stats.quantile_interval import quantile_interval

Latencies = NDArray[np.int64]


def independent(num: int, seed: int = 1) -> Latencies:
    return (np.random.default_rng(seed).exponential(1e6, num)).astype(np.int64)


def mm1(load: float, num_runs: int, num: int, seed: int) -> Latencies:
    """Mean service time 1 ms; the response time is exponential with rate 1 - load."""
    _, latencies = one_server(poisson, exponential)(load, num_runs, num, np.random.default_rng(seed))
    return (latencies * 1e6).astype(np.int64)


@pytest.mark.parametrize(("load", "num"), [(0.5, 20_000), (0.8, 50_000), (0.9, 50_000)])
def test_intervals_of_a_queue_cover_its_p99(load: float, num: int) -> None:
    """Of 30 runs two may miss and one may be refused: 95 % of 30 is 28.5, and the seed is fixed."""
    truth = math.log(100) / (1 - load) * 1e6
    covered, refused = 0, 0
    for run in mm1(load, 30, num, seed=17):
        try:
            found = quantile_interval(run, 0.99)
        except TooFewError:
            refused += 1
        else:
            covered += found.low <= truth <= found.high
    assert refused <= 1
    assert covered >= 28 - refused


@pytest.mark.parametrize("p", [0.5, 0.95, 0.99, 0.999])
def test_intervals_of_independent_latencies_cover_and_are_no_wider_than_they_must_be(p: float) -> None:
    truth = -math.log(1 - p) * 1e6
    found = [quantile_interval(independent(20_000, seed), p) for seed in range(30)]
    assert sum(one.low <= truth <= one.high for one in found) >= 27
    # 1.96 standard errors of a sample quantile: sqrt(p (1 - p) / n) over the density.
    half = 1.96 * math.sqrt(p / (1 - p) / 20_000) * 1e6
    assert float(np.median([one.high - one.low for one in found])) < 1.4 * 2 * half


def test_dependence_widens_the_interval() -> None:
    free = quantile_interval(independent(50_000), 0.95)
    bound = quantile_interval(np.repeat(independent(2_500), 20), 0.95)
    assert bound.high - bound.low > 3 * (free.high - free.low)


@settings(max_examples=30)
@given(
    p=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
    seed=st.integers(0, 2**32 - 1),
    distinct=st.sampled_from([1, 2, 30, 10**9]),
    burst=st.sampled_from([1, 7]),
)
def test_the_interval_encloses_the_percentile_within_the_run(
    p: float, seed: int, distinct: int, burst: int
) -> None:
    latencies = np.repeat(np.random.default_rng(seed).integers(0, distinct, 700), burst)
    try:
        found = quantile_interval(latencies, p)
    except TooFewError:
        return
    assert found.estimate == percentile_ns(latencies, p)
    assert latencies.min() <= found.low <= found.estimate <= found.high
    wider = quantile_interval(latencies, p, confidence=0.9)
    assert found.low <= wider.low <= wider.high <= found.high


def test_the_interval_scales_and_shifts_with_the_latencies() -> None:
    run = mm1(0.8, 1, 20_000, seed=3)[0]
    found = quantile_interval(run, 0.95)
    moved = quantile_interval(3 * run + 10**9, 0.95)
    for before, after in ((found.low, moved.low), (found.estimate, moved.estimate), (found.high, moved.high)):
        assert after == pytest.approx(3 * before + 10**9, rel=1e-9)


def test_latencies_in_order_of_their_end_are_put_into_order_of_their_beginning() -> None:
    run = mm1(0.8, 1, 20_000, seed=4)[0]
    instants = np.arange(len(run)) * 1000
    shuffled = np.random.default_rng(1).permutation(len(run))
    assert quantile_interval(run[shuffled], 0.95, intended_ns=instants[shuffled]) == quantile_interval(
        run, 0.95
    )
    assert quantile_interval(run[shuffled], 0.95) != quantile_interval(run, 0.95)


def test_constant_latencies_have_no_width() -> None:
    assert quantile_interval(np.full(1_000, 7), 0.99) == Interval(7.0, 7.0, 7.0)


def test_the_number_that_is_asked_for_is_enough_and_no_more_than_that() -> None:
    """Fewer than ln(1 / 0.025) / 0.01 independent requests hold none above p99 too often."""
    with pytest.raises(
        TooFewError, match=r"^368 latencies are too few .* p99; measure at least 369, 1 more$"
    ):
        quantile_interval(np.full(368, 7), 0.99)
    assert quantile_interval(np.full(369, 7), 0.99).high == 7


def test_a_run_with_less_than_one_cluster_above_its_percentile_is_refused() -> None:
    with pytest.raises(
        TooFewError,
        match=r"20,000 latencies that depend on each other \([\d.]+ count as one\) .* p99\.9; measure at least",
    ):
        quantile_interval(mm1(0.8, 1, 20_000, seed=5)[0], 0.999)


@pytest.mark.parametrize("num", [1, 2, 3, 10])
def test_tiny_runs_are_refused(num: int) -> None:
    with pytest.raises(TooFewError, match="^1 latency is too few" if num == 1 else "latencies are too few"):
        quantile_interval(independent(num), 0.99)


def test_no_latencies_have_no_interval() -> None:
    with pytest.raises(EmptySampleError):
        quantile_interval(np.array([], np.int64), 0.99)


def test_a_climb_is_refused() -> None:
    with pytest.raises(TooFewError, match="still depend on each other"):
        quantile_interval(np.arange(10_000), 0.99)


def test_a_slow_climb_amid_noise_widens_the_interval() -> None:
    noise = independent(50_000)
    steady, climbing = (
        quantile_interval((noise * np.linspace(1, 1 + by, len(noise))).astype(np.int64), 0.95)
        for by in (0, 0.3)
    )
    assert climbing.high - climbing.low > 3 * (steady.high - steady.low)


def test_the_upper_end_reaches_over_rare_hiccups() -> None:
    """100 hiccups of 30 service times in 50,000 requests decide p99 at load 0.8: clusters, not requests, count."""
    _, latencies = one_server(poisson, hiccups)(0.8, 1, 50_000, np.random.default_rng(6))
    found = quantile_interval((latencies[0] * 1e6).astype(np.int64), 0.99)
    assert found.high / found.low > 1.2


@pytest.mark.parametrize(
    ("p", "confidence"), [(0.0, 0.95), (1.0, 0.95), (math.nan, 0.95), (0.99, 0.0), (0.99, 1.0)]
)
def test_shares_outside_of_zero_to_one_are_errors(p: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
        quantile_interval(independent(1_000), p, confidence=confidence)


def test_latencies_and_instants_must_belong_together() -> None:
    with pytest.raises(ValueError, match="1000 latencies and 999 instants"):
        quantile_interval(independent(1_000), 0.5, intended_ns=np.arange(999))
    with pytest.raises(ValueError, match="one row"):
        quantile_interval(independent(1_000).reshape(10, 100), 0.5)
