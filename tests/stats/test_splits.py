"""Each statistic against a slow loop straight from its formula, or scipy's."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats import _hodges_lehmann, _splits

# Whole numbers: sums are exact, so that the best cut of two ways to compute it is the same one.
series = st.lists(st.integers(-50, 50), min_size=6, max_size=16).map(
    lambda values: np.array(values, np.float64)
)


def energy(values: "np.typing.NDArray[np.float64]", cut: int) -> float:
    left, right = values[:cut], values[cut:]
    n, m = len(left), len(right)
    across = np.mean([abs(x - y) for x in left for y in right])
    within = [np.mean([abs(x - y) for x, y in itertools.combinations(part, 2)]) for part in (left, right)]
    return float(n * m / (n + m) * (2 * across - sum(within)))


@settings(max_examples=50, deadline=None)
@given(values=series)
def test_the_cut_with_the_largest_energy_distance_is_found(values: "np.typing.NDArray[np.float64]") -> None:
    distances = {cut: energy(values, cut) for cut in range(3, len(values) - 2)}
    assert distances[_splits.energy_split(values, 3)] == pytest.approx(max(distances.values()))


@settings(max_examples=50, deadline=None)
@given(values=series)
def test_pettitts_statistic_is_a_sum_of_signs(values: "np.typing.NDArray[np.float64]") -> None:
    num = len(values)
    statistic = {
        cut: abs(sum(np.sign(values[i] - values[j]) for i in range(cut) for j in range(cut, num)))
        for cut in range(3, num - 2)
    }
    cut, p_value = _splits.pettitt_split(values, 3)
    assert statistic[cut] == max(statistic.values())
    assert p_value == pytest.approx(min(1, 2 * np.exp(-6 * statistic[cut] ** 2 / (num**3 + num**2))))


@settings(max_examples=50, deadline=None)
@given(values=series, penalty=st.integers(1, 2_000))
def test_no_other_cuts_cost_less(values: "np.typing.NDArray[np.float64]", penalty: int) -> None:
    values = values[:12]

    def cost(cuts: tuple[int, ...]) -> float:
        parts = np.split(values, cuts)
        return sum(float(((part - part.mean()) ** 2).sum()) for part in parts) + penalty * len(cuts)

    allowed = [
        cuts
        for number in range(4)
        for cuts in itertools.combinations(range(3, len(values) - 2), number)
        if min(np.diff([0, *cuts, len(values)])) >= 3
    ]
    found = tuple(_splits.least_squares_cuts(values, penalty, 3))
    assert cost(found) == pytest.approx(min(cost(cuts) for cuts in allowed))


@settings(max_examples=50, deadline=None)
@given(values=series, cut=st.integers(2, 4))
def test_the_p_values_are_scipys(values: "np.typing.NDArray[np.float64]", cut: int) -> None:
    left, right = values[:cut], values[cut:]
    if left.std() > 0 and right.std() > 0:
        expected = scipy.stats.ttest_ind(left, right, equal_var=False).pvalue
        assert _splits.welch_p_value(left, right) == pytest.approx(expected, rel=1e-6)
    if len(np.unique(values)) == len(values):
        expected = scipy.stats.mannwhitneyu(left, right, method="asymptotic").pvalue
        assert _splits.rank_sum_p_value(left, right) == pytest.approx(expected, rel=1e-9)
    assert list(_splits.ranks(values)) == list(scipy.stats.rankdata(values))


def test_parts_without_spread_are_the_same_or_not() -> None:
    assert _splits.welch_p_value(np.ones(3), np.ones(3)) == 1
    assert _splits.welch_p_value(np.ones(3), np.zeros(3)) == 0


@settings(max_examples=50, deadline=None)
@given(values=series)
def test_the_centre_is_the_median_of_all_means_of_two(values: "np.typing.NDArray[np.float64]") -> None:
    means = [(x + y) / 2 for x, y in itertools.combinations_with_replacement(values, 2)]
    assert _hodges_lehmann.centre(values) == np.median(means)
    assert _hodges_lehmann.shift(values[:3], values[3:]) == np.median(
        [y - x for x in values[:3] for y in values[3:]]
    )
