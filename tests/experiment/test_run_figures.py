import numpy as np
import pytest

from tests.experiment.measured_support import MS, block
from trivet.experiment.figures import figures
from trivet.stats.mean import mean_of_blocks
from trivet.stats.proportion import proportion_interval


def test_rates_and_shares_are_counted_over_the_window() -> None:
    """200 requests in 0.2 s, every tenth refused, every answer after 2 ms but for ten that take 30 ms."""
    outcomes = ["refused" if i % 10 == 0 else "ok" for i in range(200)]
    latencies = [30 if i % 20 == 1 else 2 for i in range(200)]
    found = figures([block(latencies, outcomes=outcomes)], slo_latency_ns=10 * MS)
    assert found["error_share"].estimate == 0.1
    assert found["slo_attainment"].estimate == 170 / 200
    window_s = 0.199 + 1e-9
    answered_in_time = sum(o == "ok" and i + t <= 199 for i, (o, t) in enumerate(zip(outcomes, latencies)))  # noqa: B905
    assert found["throughput_rps"].estimate == pytest.approx(answered_in_time / window_s)
    assert "20 of 200 requests got none" in found["latency_p50_ms"].verdict
    assert found["latency_p50_ms"].estimate == 2


def test_hits_are_counted_where_a_cache_was_asked() -> None:
    caches = [("miss", "exact", "semantic", "exact")[i % 4] for i in range(200)]
    assert figures([block([2] * 200, caches=caches)])["hit_share"].estimate == 0.75
    assert figures([block([2] * 200, caches="miss")])["hit_share"].estimate == 0
    assert "hit_share" not in figures([block([2] * 200)])


def test_the_warm_up_counts_for_nothing() -> None:
    found = figures([block([500] * 20 + [2] * 300, warmup_rows=20)])
    assert found["latency_p99_ms"].estimate == 2


def test_a_share_takes_the_wider_of_its_two_intervals() -> None:
    calm = figures([block([1] * 400)])["error_share"]
    exact = proportion_interval(0, 400)
    assert (calm.estimate, calm.low, calm.high) == (0, 0, exact.high)
    burst = ["failed" if i < 40 else "ok" for i in range(400)]
    bursty = figures([block([1] * 400, outcomes=burst)])["error_share"]
    parts = mean_of_blocks([1, 1] + [0] * 18)
    assert bursty.high == parts.high > proportion_interval(40, 400).high


def test_an_interval_that_is_refused_says_how_much_is_missing() -> None:
    found = figures([block(np.linspace(1, 2, 30))])["latency_p999_ms"]
    assert (found.low, found.high) == (None, None)
    assert found.verdict.startswith("no interval: ")


def test_latencies_that_never_settle_have_no_interval() -> None:
    found = figures([block(np.geomspace(1, 1000, 2000))])["latency_p50_ms"]
    assert found.low is None
    assert "did not settle" in found.verdict


def test_processor_time_has_its_spread_from_the_moments_of_the_run() -> None:
    samples = [(100 * i, 100 * i * MS) for i in range(1, 6)]
    found = figures([block([1] * 500, cpu_ns=500 * MS, cpu_samples=samples)])["cpu_ms_per_request"]
    assert (found.estimate, found.low, found.high, found.unit) == (1, 1, 1, "ms")


def test_processor_time_of_one_look_has_no_interval() -> None:
    found = figures([block([1] * 50, cpu_ns=25 * MS)])["cpu_ms_per_request"]
    assert (found.estimate, found.low) == (0.5, None)
    assert "no interval" in found.verdict


def test_several_blocks_give_processor_time_and_memory_their_spread() -> None:
    blocks = [block([1] * 10, number=i, cpu_ns=(10 + i) * MS, pss_bytes=(100 + i) << 20) for i in range(4)]
    found = figures(blocks)
    parts = mean_of_blocks([1.0, 1.1, 1.2, 1.3])
    assert found["cpu_ms_per_request"].estimate == pytest.approx(1.15)
    assert found["cpu_ms_per_request"].low == pytest.approx(parts.low)
    assert found["memory_mib"].estimate == 101.5


def test_a_single_reading_of_memory_says_so() -> None:
    found = figures([block([1] * 10, pss_bytes=5 << 20)])["memory_mib"]
    assert (found.estimate, found.low, found.verdict) == (5, None, "read once, at the end")


def test_nothing_answered_leaves_out_latencies() -> None:
    found = figures([block([1] * 40, outcomes="disconnected", statuses=0)])
    assert "latency_p50_ms" not in found
    assert found["error_share"].estimate == 1
    assert found["throughput_rps"].estimate == 0


def test_no_rows_give_no_figures() -> None:
    assert figures([]) == {}
    assert figures([block([])]) == {}


def test_what_results_cost_is_the_mean_of_the_rows_that_know_it() -> None:
    blocks = [block([1] * 4, number=i, cost_nano=[1_000, 3_000 + i * 1_000, -1, 0]) for i in range(4)]
    found = figures(blocks)["cost_per_million"]
    means = [(4_000 + i * 1_000) / 3 / 1e3 for i in range(4)]  # 1e-9 a result is 0.001 a million
    parts = mean_of_blocks(means)
    assert (found.estimate, found.low, found.high) == pytest.approx((parts.estimate, parts.low, parts.high))
    assert "cost_per_million" not in figures([block([1] * 4)])
