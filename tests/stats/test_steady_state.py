import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.steady_state import SteadyState, mser5


def statistics_by_definition(values: list[int]) -> list[Fraction]:
    """The slow way, in exact fractions: one statistic for each cut that leaves enough."""
    num = len(values) // 5
    means = [Fraction(sum(values[5 * i : 5 * i + 5]), 5) for i in range(num)]
    least_left = max(5, math.ceil(num / 20))
    found = []
    for cut in range(num - least_left + 1):
        rest = means[cut:]
        mean = sum(rest, Fraction(0)) / len(rest)
        found.append(sum(((x - mean) ** 2 for x in rest), Fraction(0)) / len(rest) ** 2)
    return found


@given(st.lists(st.integers(-1000, 1000), min_size=50, max_size=90))
def test_the_cut_is_the_first_that_minimises_the_statistic(values: list[int]) -> None:
    exact = statistics_by_definition(values)
    found = mser5(values)
    cut, remainder = divmod(found.start, 5)
    assert remainder == 0
    assert exact[cut] <= min(exact) + exact[0] * Fraction(1, 10**10)  # doubles know no closer
    assert cut <= exact.index(min(exact))
    assert found.reached == (2 * cut <= len(values) // 5)


@pytest.mark.parametrize("length", [50, 53, 500])
def test_constant_values_are_steady_from_the_start(length: int) -> None:
    assert mser5([0.1] * length) == SteadyState(start=0, reached=True)


def test_a_step_is_cut_where_it_ends() -> None:
    assert mser5([100.0] * 40 + [1.0, 2.0] * 80) == SteadyState(start=40, reached=True)


def test_a_step_within_a_batch_takes_that_batch_with_it() -> None:
    assert mser5([100.0] * 42 + [1.1, 2.3] * 100).start == 45


def test_a_tail_without_spread_is_kept_whole() -> None:
    assert mser5([10.0] * 25 + [0.3] * 200) == SteadyState(start=25, reached=True)


def test_a_decay_is_cut_before_it_is_quite_over() -> None:
    """3 exp(-i / 100) beside noise of 1: by 5 time constants it is gone, by half of one it is not."""
    noise = np.random.default_rng(5).normal(size=5000)
    found = mser5(noise + 3 * np.exp(-np.arange(5000) / 100))
    assert found.reached
    assert 50 <= found.start <= 500


def test_a_steady_climb_is_never_steady() -> None:
    assert not mser5(np.arange(1000.0)).reached


def test_a_warm_up_over_half_of_the_run_is_told() -> None:
    found = mser5([50.0] * 300 + [1.0, 2.0] * 100)
    assert found == SteadyState(start=300, reached=False)


def test_values_beyond_the_last_whole_batch_have_no_say() -> None:
    values = [float(i % 7) for i in range(100)]
    assert mser5(values) == mser5([*values, 1e9, 1e9, 1e9, 1e9])


def test_too_few_values_are_refused_with_what_is_needed() -> None:
    with pytest.raises(EmptySampleError):
        mser5([])
    with pytest.raises(TooFewError, match=r"49 values.*at least 50"):
        mser5([1.0] * 49)


@pytest.mark.parametrize("values", [[math.nan] * 60, [[1.0] * 60], [math.inf] * 60])
def test_what_is_no_row_of_finite_values_is_an_error(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        mser5(values)
