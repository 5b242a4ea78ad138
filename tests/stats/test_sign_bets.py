"""Exact: over all ways the signs can fall, the capital is 1 in expectation, and rarely large."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats._sign_bets import BETTORS, log_evidence

magnitudes = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=8)


def capital_by_definition(deviations: list[float]) -> list[float]:
    """One bettor after the other, one pair after the other."""
    capitals = [bettor.capital for bettor in BETTORS]
    totals = []
    for i, deviation in enumerate(deviations):
        median = float(np.median([abs(one) for one in deviations[: i + 1]]))
        u = abs(deviation) / median if median > 0 else 0.0
        for k, bettor in enumerate(BETTORS):
            bet = math.tanh(bettor.slope * u) if u <= bettor.farthest else 0.0
            capitals[k] *= 1 + math.copysign(1, deviation) * bet
        totals.append(sum(capitals))
    return totals


@settings(max_examples=50, deadline=None)
@given(deviations=st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=12))
def test_the_capital_is_what_the_bettors_have_left(deviations: list[float]) -> None:
    assert np.exp(log_evidence(np.array(deviations))) == pytest.approx(
        capital_by_definition(deviations), rel=1e-9
    )


@settings(max_examples=50, deadline=None)
@given(sizes=magnitudes)
def test_with_fair_signs_the_capital_is_one_in_expectation_after_every_pair(sizes: list[float]) -> None:
    ways = np.array(list(itertools.product([-1.0, 1.0], repeat=len(sizes))))
    capital = np.exp(log_evidence(ways * np.array(sizes)))
    assert capital.mean(axis=0) == pytest.approx(np.ones(len(sizes)), rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(sizes=magnitudes, alpha=st.sampled_from([0.5, 0.2, 0.05, 0.02]))
def test_with_fair_signs_it_ever_reaches_one_over_alpha_with_probability_alpha_at_most(
    sizes: list[float], alpha: float
) -> None:
    ways = np.array(list(itertools.product([-1.0, 1.0], repeat=len(sizes))))
    highest = log_evidence(ways * np.array(sizes)).max(axis=1)
    assert (highest >= math.log(1 / alpha)).mean() <= alpha


@settings(max_examples=50, deadline=None)
@given(
    deviations=st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=10),
    unit=st.floats(1e-3, 1e3),
)
def test_the_unit_does_not_matter(deviations: list[float], unit: float) -> None:
    values = np.array(deviations)
    assert log_evidence(values * unit) == pytest.approx(log_evidence(values), rel=1e-6, abs=1e-6)


def test_rows_are_independent_of_each_other() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, (3, 4, 6))
    together = log_evidence(values)
    assert together.shape == (3, 4, 6)
    assert np.array_equal(together[2, 1], log_evidence(values[2, 1]))


def test_the_capital_starts_at_one_and_no_pair_more_than_doubles_it() -> None:
    assert sum(bettor.capital for bettor in BETTORS) == pytest.approx(1)
    assert log_evidence(np.ones(20))[-1] <= 20 * math.log(2)


def test_differences_that_are_nothing_change_nothing() -> None:
    assert log_evidence(np.zeros(5)) == pytest.approx(np.zeros(5))


def test_an_outlier_is_not_bet_on() -> None:
    """The last pair lies far out, on the wrong side: nothing is lost by it."""
    steady = np.full(9, 0.01)
    evidence = log_evidence(np.append(steady, -5.0))
    assert evidence[-1] == pytest.approx(evidence[-2])


def test_a_pair_beyond_all_numbers_is_no_bet() -> None:
    ordinary = [1e-300, 1e-300, 1e-300]
    assert log_evidence(np.array([*ordinary, 1e8]))[-1] == log_evidence(np.array(ordinary))[-1]
