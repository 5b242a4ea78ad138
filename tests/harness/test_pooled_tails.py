"""A p99 over several runs: does its interval hold, with as few runs as benchmarks have?"""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks._pooled import pooled_p99_ms, pooled_p99_ratio
from trivet.stats.percentile import percentile_ns

MOOD = 0.05  # sd of the log of the machine's speed from run to run


def runs(
    rng: np.random.Generator, num: int, moods: NDArray[np.float64] | None = None
) -> list[NDArray[np.int64]]:
    """An M/M/1 queue at load 0.5 on a machine with moods, 2,000 requests a run."""
    moods = np.exp(MOOD * rng.standard_normal(num)) if moods is None else moods
    gaps, services = rng.exponential(2, (num, 2000)), rng.exponential(1, (num, 2000)) * moods[:, np.newaxis]
    walk = np.concatenate([np.zeros((num, 1)), np.cumsum(services[:, :-1] - gaps[:, 1:], axis=1)], axis=1)
    latencies = walk - np.minimum.accumulate(walk, axis=1) + services
    return list((latencies * 1e6).astype(np.int64))


@pytest.mark.parametrize("num", [5, 10])
def test_nominal_95_percent_cover_at_least_90_with_few_runs(num: int) -> None:
    rng = np.random.default_rng(5)
    truth = percentile_ns(np.concatenate(runs(rng, 1000)), 0.99) / 1e6
    found = [pooled_p99_ms(runs(rng, num)) for _ in range(100)]
    assert sum(one.low <= truth <= one.high for one in found) >= 90


def test_what_both_sides_share_does_not_widen_their_ratio() -> None:
    rng = np.random.default_rng(6)
    moods = np.exp(0.5 * rng.standard_normal(10))
    a, b = runs(rng, 10, moods), runs(rng, 10, moods)
    alone, paired = pooled_p99_ms(a), pooled_p99_ratio(a, b)
    assert paired.low < 1 < paired.high
    assert math.log(paired.high / paired.low) < math.log(alone.high / alone.low)


def test_a_doubling_is_exact_where_runs_are_the_same() -> None:
    a = runs(np.random.default_rng(7), 5)
    ratio = pooled_p99_ratio([run * 2 for run in a], a)
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((2, 2, 2), rel=1e-6)


def test_of_one_run_anything_may_be_true_and_unpaired_ones_are_refused() -> None:
    one = runs(np.random.default_rng(8), 1)
    assert (pooled_p99_ms(one).low, pooled_p99_ms(one).high) == (0, math.inf)
    assert pooled_p99_ratio(one, one).high == math.inf
    with pytest.raises(ValueError, match="1 runs beside 2"):
        pooled_p99_ratio(one, one * 2)
