import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trivet.stats.change_points import change_points


def runs(*levels: tuple[float, int], noise: float = 0.01, seed: int = 1) -> NDArray[np.float64]:
    values = np.concatenate([np.full(num, level) for level, num in levels])
    return values * np.exp(noise * np.random.default_rng(seed).standard_normal(len(values)))


def test_a_step_is_found_where_it_is() -> None:
    [change] = change_points(runs((20, 25), (22, 15)))
    assert change.index == 25
    assert change.ratio == pytest.approx(1.1, abs=0.01)
    assert change.votes == 4


def test_two_steps_are_two_changes_oldest_first() -> None:
    first, second = change_points(runs((20, 15), (22, 15), (26, 15)))
    assert (first.index, second.index) == (15, 30)
    assert (first.ratio, second.ratio) == pytest.approx((1.1, 26 / 22), abs=0.01)
    assert [(change.begin, change.steady) for change in (first, second)] == [(0, 7), (15, 22)]


def test_a_gain_is_a_change_too() -> None:
    [change] = change_points(runs((20, 20), (18, 20)))
    assert change.ratio == pytest.approx(0.9, abs=0.01)


def test_three_runs_after_a_change_are_enough_two_are_not() -> None:
    assert [change.index for change in change_points(runs((20, 30), (24, 3)))] == [30]
    assert change_points(runs((20, 30), (24, 2))) == []


def test_what_went_away_is_no_change() -> None:
    assert change_points(runs((20, 15), (25, 10), (20, 15))) == []
    [change] = change_points(runs((20, 15), (25, 10), (20, 15), (22, 10)))
    assert (change.index, change.ratio) == (40, pytest.approx(1.1, abs=0.01))


def test_what_came_back_halfway_and_stayed_up_still_is_one() -> None:
    changes = change_points(runs((20, 15), (25, 10), (22.9, 15)))
    assert changes
    assert changes[0].index == 15


def test_single_outliers_are_no_change() -> None:
    values = runs((20, 40))
    values[[7, 21, 33]] *= 1.5
    assert change_points(values) == []


def test_a_change_too_small_to_matter_is_none() -> None:
    values = runs((20, 30), (20.1, 30), noise=0.0002)
    assert change_points(values) == []
    assert [change.index for change in change_points(values, min_effect=0.003)] == [30]


def test_votes_can_be_asked_for() -> None:
    values = runs((20, 30), (24, 3))
    [change] = change_points(values)
    assert change.votes < 4
    assert change_points(values, min_votes=change.votes + 1) == []


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), unit=st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(seed: int, unit: float) -> None:
    values = runs((20, 12), (23, 12), noise=0.02, seed=seed)
    assert [(change.index, change.votes) for change in change_points(values * unit)] == [
        (change.index, change.votes) for change in change_points(values)
    ]


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0.1, 100), max_size=30))
def test_whatever_is_found_lasted_and_is_large_enough(values: list[float]) -> None:
    for change in change_points(values):
        assert 3 <= change.index <= len(values) - 3
        assert abs(math.log(change.ratio)) >= math.log(1.01) - 1e-12
        assert 2 <= change.votes <= 4
        assert change.begin <= change.steady < change.index


@pytest.mark.parametrize("num", range(7))
def test_a_short_history_has_no_changes(num: int) -> None:
    assert change_points(np.full(num, 3.0)) == []


def test_a_constant_history_with_a_step_has_one() -> None:
    [change] = change_points([5.0] * 10 + [6.0] * 10)
    assert (change.index, change.ratio) == (10, pytest.approx(1.2))


@pytest.mark.parametrize("wrong", [[1, 0], [1, -1], [1, math.nan], [1, math.inf], [[1, 1]]])
def test_what_is_no_history_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        change_points(wrong)
