"""Exact: coverage is the sum over all outcomes that can be."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trivet.stats.errors import EmptySampleError
from trivet.stats.proportion import paired_difference, proportion_interval


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 200), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_of_a_share_is_scipys_exact_one(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    expected = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    found = proportion_interval(successes, n, confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.estimate == successes / n


@pytest.mark.parametrize("n", [1, 7, 30])
def test_the_interval_of_a_share_covers_every_truth_as_often_as_it_says(n: int) -> None:
    intervals = [proportion_interval(k, n) for k in range(n + 1)]
    for truth in np.linspace(0, 1, 101):
        covered = sum(
            scipy.stats.binom.pmf(k, n, truth)
            for k, interval in enumerate(intervals)
            if interval.low <= truth <= interval.high
        )
        assert covered >= 0.95 - 1e-9


def rows(gained: int, lost: int, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = np.zeros(n, bool), np.zeros(n, bool)
    b[:gained] = True
    a[gained : gained + lost] = True
    both = slice(gained + lost, (n + gained + lost) // 2)
    a[both] = b[both] = True
    return a, b


@pytest.mark.parametrize(("n", "confidence"), [(5, 0.95), (9, 0.95), (9, 0.8)])
def test_the_interval_of_a_difference_covers_every_truth_as_often_as_it_says(
    n: int, confidence: float
) -> None:
    outcomes = [(gained, lost) for gained in range(n + 1) for lost in range(n + 1 - gained)]
    intervals = {outcome: paired_difference(*rows(*outcome, n), confidence) for outcome in outcomes}
    grid = np.linspace(0, 1, 13)
    for gain, loss in itertools.product(grid, grid):
        if gain + loss > 1 + 1e-12:
            continue
        covered = sum(
            float(scipy.stats.multinomial.pmf([g, k, n - g - k], n, [gain, loss, max(0.0, 1 - gain - loss)]))
            for (g, k), interval in intervals.items()
            if interval.low - 1e-12 <= gain - loss <= interval.high + 1e-12
        )
        assert covered >= confidence - 1e-9


@settings(max_examples=25, deadline=None)
@given(gained=st.integers(0, 8), lost=st.integers(0, 8), same=st.integers(1, 40))
def test_exchanging_the_sides_turns_the_difference_around(gained: int, lost: int, same: int) -> None:
    a, b = rows(gained, lost, gained + lost + same)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert (there.estimate, there.low, there.high) == pytest.approx((-back.estimate, -back.high, -back.low))
    assert there.low <= there.estimate <= there.high


def test_the_order_of_rows_does_not_matter() -> None:
    a, b = rows(9, 3, 100)
    order = np.random.default_rng(1).permutation(100)
    assert paired_difference(a[order], b[order]) == paired_difference(a, b)


@pytest.mark.parametrize(("gained", "lost", "n"), [(40, 20, 500), (200, 180, 2_000), (60, 60, 10_000)])
def test_with_many_rows_it_is_little_wider_than_the_normal_approximation(
    gained: int, lost: int, n: int
) -> None:
    interval = paired_difference(*rows(gained, lost, n))
    normal = 1.96 * math.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    half = (interval.high - interval.low) / 2
    assert normal < half < 1.25 * normal


def test_sides_that_never_differ_still_have_an_interval() -> None:
    """What was not seen in 100 rows may yet happen in a few of them: the exact bound for no event at all."""
    interval = paired_difference(*rows(0, 0, 100))
    assert interval.estimate == 0
    assert 0.03 < interval.high < 0.06
    assert interval.low == -interval.high


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(EmptySampleError):
        proportion_interval(0, 0)
    with pytest.raises(ValueError, match="5 successes of 4"):
        proportion_interval(5, 4)
    with pytest.raises(ValueError, match="confidence is 1"):
        proportion_interval(1, 4, 1.0)
    with pytest.raises(EmptySampleError):
        paired_difference(np.zeros(0, bool), np.zeros(0, bool))
    with pytest.raises(ValueError, match="not paired"):
        paired_difference(np.zeros(2, bool), np.zeros(3, bool))
    with pytest.raises(ValueError, match="right or wrong"):
        paired_difference([0.5, 1.0], [1.0, 1.0])
