import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from trivet.stats.bootstrap import paired_block_interval
from trivet.stats.errors import TooFewError


def mean(rows: NDArray[np.generic]) -> float:
    return float(np.mean(rows.astype(np.float64)))


def f1(rows: NDArray[np.generic]) -> float:
    """Rows of (predicted, true), zeros and ones."""
    predicted, true = rows.astype(bool).T
    wrong = int((predicted != true).sum())
    return float(2 * (predicted & true).sum() / (2 * (predicted & true).sum() + wrong))


def test_for_a_mean_it_is_the_paired_t_interval() -> None:
    """The resampled spread of a mean of block differences is known; 4,000 resamples come within 4 % of it."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(5, 1, 12), rng.normal(6, 1, 12)
    found = paired_block_interval(
        mean, list(a[:, np.newaxis]), list(b[:, np.newaxis]), rng, num_resamples=4_000
    )
    expected = scipy.stats.ttest_rel(b, a).confidence_interval()
    assert found.estimate == pytest.approx((b - a).mean())
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.04)


def test_what_a_pair_shares_cancels() -> None:
    rng = np.random.default_rng(2)
    moods = rng.normal(0, 100, 10)
    a = [mood + rng.normal(0, 1, 50) for mood in moods]
    b = [mood + rng.normal(1, 1, 50) for mood in moods]
    interval = paired_block_interval(mean, a, b, rng)
    assert 0.5 < interval.low < interval.estimate < interval.high < 1.5


def test_rows_of_labels_have_an_f1_with_an_interval() -> None:
    rng = np.random.default_rng(3)
    true = rng.random(600) < 0.3
    good, bad = true ^ (rng.random(600) < 0.05), true ^ (rng.random(600) < 0.2)
    sides = [list(np.stack([side, true], axis=1)[:, np.newaxis]) for side in (bad, good)]
    interval = paired_block_interval(f1, *sides, rng)
    assert interval.low > 0.05
    assert interval.estimate == pytest.approx(f1(np.stack([good, true], 1)) - f1(np.stack([bad, true], 1)))


def test_it_covers_the_truth_for_a_median_of_skewed_values() -> None:
    """80 comparisons on fixed seeds: binomial(80, 0.95), 70 is 3.1 standard deviations below."""
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(80):
        a, b = rng.exponential(1, (8, 40)), rng.exponential(2, (8, 40))
        interval = paired_block_interval(
            lambda rows: float(np.median(rows.astype(float))), list(a), list(b), rng, num_resamples=60
        )
        covered += interval.low <= math.log(2) <= interval.high
    assert covered >= 70


def test_what_cannot_be_resampled_is_refused() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(TooFewError, match="4 pairs of blocks: resampling needs at least 5"):
        paired_block_interval(mean, [[1.0]] * 4, [[1.0]] * 4, rng)
    with pytest.raises(ValueError, match="not paired"):
        paired_block_interval(mean, [[1.0]] * 5, [[1.0]] * 6, rng)
    with pytest.raises(ValueError, match="not finite"):
        paired_block_interval(lambda rows: math.nan, [[1.0]] * 5, [[1.0]] * 5, rng)
    with pytest.raises(ValueError, match="confidence is 1"):
        paired_block_interval(mean, [[1.0]] * 5, [[1.0]] * 5, rng, confidence=1)
