import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats.multiple import benjamini_hochberg, closed_e_values, hochberg, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)
e_values = st.lists(st.floats(0, 1e6), min_size=1, max_size=6)


def bonferroni_closed(p: list[float], k: int) -> float:
    """Closed testing: k is rejected where every set with it is, by the smallest p times the set's size."""
    others = [i for i in range(len(p)) if i != k]
    sets = [(k, *rest) for size in range(len(p)) for rest in itertools.combinations(others, size)]
    return min(1.0, max(len(members) * min(p[i] for i in members) for members in sets))


@settings(max_examples=50, deadline=None)
@given(p=p_values)
def test_holm_is_closed_testing_with_bonferroni(p: list[float]) -> None:
    assert holm(p) == pytest.approx([bonferroni_closed(p, k) for k in range(len(p))])


@settings(max_examples=50, deadline=None)
@given(p=p_values)
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(scipy.stats.false_discovery_control(p, method="bh"))


@settings(max_examples=50, deadline=None)
@given(p=p_values, alpha=st.floats(0.001, 0.5))
def test_hochberg_rejects_by_its_step_up_rule(p: list[float], alpha: float) -> None:
    """The largest k with p_(k) <= alpha / (m - k + 1), and all below it."""
    ordered = sorted(p)
    passing = [k for k, value in enumerate(ordered) if value * (len(p) - k) <= alpha]
    bound = ordered[passing[-1]] if passing else -1.0
    assert list(hochberg(p) <= alpha) == [value <= bound for value in p]
    assert (hochberg(p) <= holm(p)).all()


@settings(max_examples=50, deadline=None)
@given(p=p_values)
def test_adjusting_never_helps_a_single_test_and_keeps_the_order(p: list[float]) -> None:
    for adjusted in (holm(p), hochberg(p), benjamini_hochberg(p)):
        assert (adjusted >= np.array(p)).all()
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@settings(max_examples=50, deadline=None)
@given(e=e_values)
def test_adjusted_e_values_are_the_least_mean_of_any_set_with_them(e: list[float]) -> None:
    expected = []
    for k in range(len(e)):
        others = [i for i in range(len(e)) if i != k]
        sets = [(k, *rest) for size in range(len(e)) for rest in itertools.combinations(others, size)]
        expected.append(min(np.mean([e[i] for i in members]) for members in sets))
    assert closed_e_values(e) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(e=e_values, seed=st.integers(0, 99))
def test_weighted_e_values_are_closed_testing_with_weighted_means(e: list[float], seed: int) -> None:
    weights = np.random.default_rng(seed).uniform(0.1, 1, len(e))
    expected = []
    for k in range(len(e)):
        others = [i for i in range(len(e)) if i != k]
        sets = [(k, *rest) for size in range(len(e)) for rest in itertools.combinations(others, size)]
        expected.append(min(np.average([e[i] for i in s], weights=weights[list(s)]) for s in sets))
    assert closed_e_values(e, weights) == pytest.approx(expected)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="2 positive numbers"):
        closed_e_values([1.0, 2.0], weights)


def test_families_of_e_values_are_adjusted_row_by_row() -> None:
    rows = np.random.default_rng(1).exponential(10, (4, 5))
    assert closed_e_values(rows) == pytest.approx(np.array([closed_e_values(row) for row in rows]))


def test_known_cases() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert closed_e_values([300.0, 0.0]) == pytest.approx([150.0, 0.0])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("wrong", [[1.1], [-0.1], [float("nan")], [[0.5]]])
def test_what_is_no_probability_is_refused(wrong: list[float]) -> None:
    for adjust in (holm, hochberg, benjamini_hochberg):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            adjust(wrong)


def test_a_negative_e_value_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        closed_e_values([1.0, -1.0])
