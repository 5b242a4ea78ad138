import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.mean import mean_of_blocks, ratio_of_pooled_means


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_mean_and_its_interval_are_students(values: list[float]) -> None:
    found = mean_of_blocks(values)
    spread = np.std(values, ddof=1) / np.sqrt(len(values))
    assert found.estimate == pytest.approx(np.mean(values), abs=1e-6)
    low, high = scipy_stats.t.interval(0.95, len(values) - 1, np.mean(values), spread or 1e-300)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_a_ratio_of_shares_pools_all_values() -> None:
    ratio = ratio_of_pooled_means([[1, 1, 0, 1], [0, 1]], [[1, 1], [1, 1, 1, 0]])
    assert ratio.estimate == pytest.approx((4 / 6) / (5 / 6))
    assert ratio.num_blocks == 2


@given(st.lists(st.floats(1, 100), min_size=2, max_size=8), st.floats(0.1, 10))
def test_sides_that_differ_by_a_factor_have_it_as_ratio_without_doubt(
    values: list[float], factor: float
) -> None:
    ratio = ratio_of_pooled_means([[factor * value] for value in values], [[value] for value in values])
    assert ratio.estimate == pytest.approx(factor)
    assert (ratio.low, ratio.high) == (pytest.approx(factor, rel=1e-6), pytest.approx(factor, rel=1e-6))


def test_nothing_in_time_is_a_ratio_of_zero() -> None:
    assert ratio_of_pooled_means([[0], [0]], [[1], [1]]).estimate == 0


def test_the_interval_covers_what_it_promises() -> None:
    """20 blocks of shares whose blocks differ, the truth known: 0.8 of 0.9."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        mood = rng.beta(40, 10, 20), rng.beta(90, 10, 20)
        a, b = ([rng.random(50) < share for share in shares] for shares in mood)
        ratio = ratio_of_pooled_means(a, b)
        covered += ratio.low <= 0.8 / 0.9 <= ratio.high
    assert 0.92 <= covered / 400 <= 0.98


def test_what_has_no_mean_is_an_error() -> None:
    with pytest.raises(EmptySampleError):
        mean_of_blocks([])
    with pytest.raises(TooFewError):
        mean_of_blocks([1])
    with pytest.raises(ValueError, match="finite"):
        mean_of_blocks([1, np.inf])
    with pytest.raises(ValueError, match="paired"):
        ratio_of_pooled_means([[1]], [])
    with pytest.raises(ValueError, match="below the line"):
        ratio_of_pooled_means([[1], [1]], [[0], [0]])
    with pytest.raises(EmptySampleError):
        ratio_of_pooled_means([[], []], [[1], [1]])
