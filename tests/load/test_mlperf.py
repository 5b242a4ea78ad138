"""MLPerf's rules against the numbers that it publishes, and its scenarios in virtual time."""

import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.load.simulated_target import SimulatedTarget, constant, exponential
from trivet.load.arrivals import NS, Poisson
from trivet.load.early_stopping import estimate, least_within, num_queries, rounded_queries
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop
from trivet.load.mlperf import (
    SEEDS,
    MultiStream,
    Offline,
    Server,
    SingleStream,
    multi_stream,
    offline,
    server,
    single_stream,
)
from trivet.load.result import Result
from trivet.stats.errors import TooFewError

MS = 1_000_000
BASE = Job(
    target="h:1",
    requests=[HttpRequest(path="/")],
    load=ClosedLoop(num_users=1, duration_ns=1),
    seed=7,
    warmup_ns=NS,
)


@pytest.mark.parametrize(
    ("p", "num", "rounded"),
    [(0.90, 23_886, 24_576), (0.95, 50_425, 57_344), (0.97, 85_811, 90_112), (0.99, 262_742, 270_336)],
)
def test_numbers_of_queries_are_the_published_ones(p: float, num: int, rounded: int) -> None:
    assert (num_queries(p), rounded_queries(p)) == (num, rounded)


@pytest.mark.parametrize(("num_over", "num"), [(0, 459), (1, 662), (5, 1_307), (10, 2_010), (100, 12_571)])
def test_numbers_of_early_stopping_are_the_published_ones(num_over: int, num: int) -> None:
    assert least_within(num_over, 0.99) + num_over == num


@settings(max_examples=30)
@given(num_over=st.integers(0, 4), percent=st.sampled_from([50, 75, 90]))
def test_fewest_queries_are_where_the_binomial_tail_says(num_over: int, percent: int) -> None:
    """In fractions: at most t of n over the latency, each with 1 - p, has a chance of 1 - c or less."""
    p = Fraction(percent, 100)

    def chance(num: int) -> Fraction:
        return sum(
            (math.comb(num, k) * (1 - p) ** k * p ** (num - k) for k in range(num_over + 1)), Fraction(0)
        )

    num = least_within(num_over, percent / 100) + num_over
    assert chance(num) <= Fraction(1, 100) < chance(num - 1)


def test_a_tolerance_makes_fewer_queries_enough() -> None:
    assert least_within(3, 0.99, tolerance=0.005) < least_within(3, 0.99)


@pytest.mark.parametrize(
    ("num", "place"), [(662, 662), (1_306, 1_303), (1_307, 1_303), (2_010, 2_001), (12_571, 12_472)]
)
def test_the_estimate_discards_what_the_others_outweigh(num: int, place: int) -> None:
    """1,307 queries outweigh 5 over: the 4 highest go, and the next is the estimate; 1,306 outweigh only 4."""
    assert estimate(list(range(1, num + 1)), 0.99) == place


def test_too_few_queries_have_no_estimate() -> None:
    with pytest.raises(TooFewError, match="661 queries, at least 662"):
        estimate([1] * 661, 0.99)


def test_single_stream_sends_one_after_the_other() -> None:
    target = SimulatedTarget(constant(10 * MS))
    verdict = single_stream(SingleStream(min_duration_ns=NS), BASE, target.offer)
    assert (verdict.word, verdict.reasons) == ("VALID", ())
    assert (verdict.num_queries, verdict.metric, verdict.unit) == (100, 10 * MS, "ns")
    assert target.jobs[0].warmup_ns == 0
    assert target.jobs[0].seeds == SEEDS


def test_single_stream_goes_on_until_it_has_enough_queries() -> None:
    target = SimulatedTarget(constant(NS))
    verdict = single_stream(SingleStream(min_duration_ns=NS), BASE, target.offer)
    assert (verdict.num_queries, verdict.word) == (64, "VALID")


def test_multi_stream_counts_a_query_by_its_last_sample() -> None:
    target = SimulatedTarget(constant(MS))
    verdict = multi_stream(MultiStream(min_duration_ns=NS), BASE, target.offer)
    assert (verdict.word, verdict.num_queries, verdict.metric) == ("VALID", 662, 8 * MS)
    load = target.jobs[0].load
    assert isinstance(load, ClosedLoop)
    assert (load.group, load.min_requests) == (8, 662 * 8)


def test_fewer_queries_than_early_stopping_needs_are_invalid() -> None:
    scenario = MultiStream(min_duration_ns=NS, min_queries=10)
    verdict = multi_stream(scenario, BASE, SimulatedTarget(constant(10 * MS)).offer)
    assert verdict.reasons == ("early stopping: 13 queries, at least 662 are needed for the 99% percentile",)
    assert verdict.metric == 80 * MS


def test_server_is_valid_where_the_percentile_is_within_the_latency() -> None:
    """M/M/1 of 1,000/s: p99 is ln(100) / (1000 - rate) s, 46 ms at 900/s and 18.4 ms at 750/s."""
    target = SimulatedTarget(exponential(MS))
    good = server(Server(rate_rps=750, latency_ns=30 * MS, min_duration_ns=60 * NS), BASE, target.offer)
    assert (good.word, good.metric, good.unit) == ("VALID", 750, "queries/s")
    bad = server(Server(rate_rps=900, latency_ns=30 * MS, min_duration_ns=60 * NS), BASE, target.offer)
    assert bad.word == "INVALID"
    (reason,) = bad.reasons
    assert "queries over 30 ms: at least" in reason
    load = target.jobs[0].load
    assert isinstance(load, OpenLoop)
    assert load.arrivals == Poisson(rate_rps=750, duration_ns=60 * NS + 10 * (NS // 750))


def test_a_slow_server_scenario_lasts_until_it_has_enough_queries() -> None:
    target = SimulatedTarget(constant(MS))
    verdict = server(Server(rate_rps=2, latency_ns=30 * MS, min_duration_ns=NS), BASE, target.offer)
    assert verdict.word == "VALID"
    assert verdict.num_queries >= 459
    assert verdict.duration_ns > 200 * NS


def test_offline_hands_all_samples_over_and_counts_them() -> None:
    target = SimulatedTarget(constant(MS))
    scenario = Offline(min_duration_ns=20 * NS)
    verdict = offline(scenario, BASE, target.offer, expected_rps=1000, samples_per_request=2)
    assert (verdict.word, verdict.unit, verdict.num_queries) == ("INVALID", "samples/s", 24_576 // 2)
    assert verdict.metric == pytest.approx(2000)
    assert verdict.reasons == ("it lasted 12.3 s, at least 20 s are needed: raise the expected rate",)
    longer = offline(scenario, BASE, target.offer, expected_rps=2000, samples_per_request=2)
    assert (longer.word, longer.num_queries) == ("VALID", 22_000)


def test_what_went_wrong_makes_any_scenario_invalid() -> None:
    target = SimulatedTarget(constant(10 * MS), max_wait_ns=0, invalid_from_rps=1)
    scenario = Server(rate_rps=500, latency_ns=30 * MS, min_duration_ns=10 * NS)

    def stopped(job: Job) -> Result:
        return msgspec.structs.replace(target.offer(job), partial=True)

    verdict = server(scenario, BASE, stopped)
    assert verdict.reasons[:2] == ("the run was stopped", "the load generator fell behind")
    assert "requests without a result" in verdict.reasons[2]


@given(seed=st.integers(0, 100))
@settings(max_examples=10)
def test_the_estimate_is_never_under_the_plain_percentile(seed: int) -> None:
    sample = np.sort(np.random.default_rng(seed).integers(0, 10**6, 2_000)).tolist()
    assert estimate(sample, 0.9) >= sample[int(0.9 * 2_000) - 1]
