import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.percentile import percentile_ns, pooled_percentile_ns, ratio_of_pooled_percentiles

samples = st.lists(st.integers(0, 10**12), min_size=1, max_size=60)


def by_definition(latencies_ns: list[int], p: float) -> int:
    """The slow way: the first value in order that covers the share."""
    ordered = sorted(latencies_ns)
    return next(value for i, value in enumerate(ordered, 1) if i >= round(p * len(ordered), 9))


@given(latencies_ns=samples, percent=st.integers(1, 100))
def test_the_percentile_is_the_smallest_value_that_covers_the_share(
    latencies_ns: list[int], percent: int
) -> None:
    p = percent / 100
    assert percentile_ns(np.array(latencies_ns), p) == by_definition(latencies_ns, p)


@pytest.mark.parametrize(
    ("p", "expected"), [(0.01, 1), (0.07, 7), (0.29, 29), (0.5, 50), (0.99, 99), (1.0, 100)]
)
def test_the_rank_of_a_whole_percent_of_a_hundred_is_that_percent(p: float, expected: int) -> None:
    assert percentile_ns(np.arange(1, 101)[::-1], p) == expected


def test_an_empty_sample_has_no_percentile() -> None:
    with pytest.raises(EmptySampleError, match=r"0\.99"):
        percentile_ns(np.array([], np.int64), 0.99)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.01, math.nan])
def test_a_share_outside_of_zero_to_one_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="must be in"):
        percentile_ns(np.array([1]), p)


def runs(*sizes: int, seed: int = 1, scale: float = 1e6) -> list["np.typing.NDArray[np.int64]"]:
    rng = np.random.default_rng(seed)
    return [rng.exponential(scale, size).astype(np.int64) for size in sizes]


def test_the_interval_holds_the_pooled_percentile_and_follows_its_seed() -> None:
    pooled = runs(3000, 2000, 1000)
    first, second = (
        pooled_percentile_ns(pooled, 0.99, block_size=50, rng=np.random.default_rng(3), num_resamples=200)
        for _ in range(2)
    )
    assert first == second
    assert first.estimate == percentile_ns(np.concatenate(pooled), 0.99)
    assert first.low < first.estimate < first.high


def test_blocks_stay_within_their_run() -> None:
    """With a block as long as the shorter runs, each sample is made of whole runs: of zeros, or of ones."""
    short = [np.zeros(100, np.int64), np.ones(100, np.int64)] * 10
    interval = pooled_percentile_ns(
        short, 0.05, block_size=100, rng=np.random.default_rng(1), num_resamples=300
    )
    assert (interval.low, interval.high) == (0, 0)


def test_dependence_widens_the_interval() -> None:
    """Latencies that come in runs of 50 equal values carry a fiftieth of the information."""
    slow = np.repeat(runs(400)[0], 50)
    widths = []
    for block_size in (1, 200):
        rng = np.random.default_rng(1)
        interval = pooled_percentile_ns([slow], 0.9, block_size=block_size, rng=rng, num_resamples=200)
        widths.append(interval.high - interval.low)
    assert widths[1] > 3 * widths[0]


@pytest.mark.slow
def test_the_interval_covers_the_true_p99_of_an_mm1_queue_at_half_load() -> None:
    """Lindley's recursion at utilisation 0.5; the response time is exponential with rate 1 - 0.5."""
    truth = math.log(100) / 0.5
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        service, gap = rng.exponential(1, 30_000), rng.exponential(2, 30_000)
        walk = np.concatenate([[0.0], np.cumsum(service[:-1] - gap[1:])])
        response = walk - np.minimum.accumulate(walk) + service
        interval = pooled_percentile_ns(
            [(response * 1e6).astype(np.int64)], 0.99, block_size=500, rng=rng, num_resamples=200
        )
        covered += interval.low <= truth * 1e6 <= interval.high
    assert covered >= 80  # these seeds; the design's anchor says 82 % for a block bootstrap


def test_too_few_blocks_are_refused_with_what_is_needed() -> None:
    with pytest.raises(TooFewError, match="at least 10 blocks"):
        pooled_percentile_ns(runs(90), 0.5, block_size=10, rng=np.random.default_rng(1))
    with pytest.raises(TooFewError, match="no run is as long"):
        pooled_percentile_ns(runs(*[10] * 20), 0.5, block_size=11, rng=np.random.default_rng(1))
    with pytest.raises(EmptySampleError):
        pooled_percentile_ns(runs(0, 0), 0.5, block_size=10, rng=np.random.default_rng(1))


def test_the_ratio_of_pooled_percentiles_sees_a_doubling() -> None:
    ratio = ratio_of_pooled_percentiles(
        runs(2000, 2000, seed=1, scale=2e6),
        runs(2000, 2000, seed=2),
        0.9,
        block_size=20,
        rng=np.random.default_rng(3),
        num_resamples=200,
    )
    assert ratio.low < 2 < ratio.high
    assert ratio.low > 1.5
    assert ratio.num_blocks == 2
