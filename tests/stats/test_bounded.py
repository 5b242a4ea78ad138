import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats.bounded import BoundedMean, _bets, log_capital
from trivet.stats.errors import EmptySampleError

RUIN = math.log(40)


@settings(max_examples=50, deadline=None)
@given(bits=st.lists(st.booleans(), min_size=1, max_size=10), mean=st.floats(0.05, 0.95))
def test_the_capital_is_fair_whatever_came_before(bits: list[bool], mean: float) -> None:
    """Exact: with values of 0 and 1 and the mean bet against as the truth, the expected capital stays what it was."""
    values = np.array(bits, np.float64)
    expected = 0.0
    for last, probability in ((1.0, mean), (0.0, 1 - mean)):
        longer = np.append(values, last)
        expected += probability * math.exp(log_capital(longer, _bets(longer, RUIN), mean)[-1])
    before = math.exp(log_capital(values, _bets(values, RUIN), mean)[-1])
    assert expected == pytest.approx(before)


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.8])
def test_over_all_rows_that_can_come_the_truth_is_rarely_left_out_at_any_look(mean: float) -> None:
    """Exact: all 2^9 rows of zeros and ones, each with its probability, and a confidence of 60 %."""
    missed = 0.0
    for bits in itertools.product([0.0, 1.0], repeat=9):
        sequence = BoundedMean(0.6)
        sequence.add(bits)
        interval = sequence.interval()
        ones = sum(bits)
        if not interval.low <= mean <= interval.high:
            missed += mean**ones * (1 - mean) ** (9 - ones)
    assert missed <= 0.4


def test_it_covers_at_every_look_and_is_narrower_for_rare_events() -> None:
    """Fixed seeds: 60 sequences, looked at five times; a miss at any look has a probability of at most 5 %."""
    rng = np.random.default_rng(7)
    missed, widths = 0, []
    for _ in range(60):
        sequence = BoundedMean()
        for _ in range(5):
            sequence.add(rng.random(400) < 0.02)
            interval = sequence.interval()
        missed += not interval.low <= 0.02 <= interval.high
        widths.append(interval.high - interval.low)
    assert missed <= 3
    hoeffding = 2 * math.sqrt(math.log(2 / 0.05) / 2 / 2000)
    assert np.mean(widths) < 0.5 * hoeffding


def test_values_in_one_piece_or_many_give_the_same() -> None:
    values = np.random.default_rng(8).beta(2, 5, 60)
    whole, pieces = BoundedMean(), BoundedMean()
    whole.add(values)
    for value in values:
        pieces.add(value)
    assert whole.interval() == pieces.interval()
    assert whole.num_values == pieces.num_values == 60


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_what_is_good_for_values_is_good_for_their_complements(values: list[float]) -> None:
    there, back = BoundedMean(), BoundedMean()
    there.add(values)
    back.add(1 - np.array(values))
    one, other = there.interval(), back.interval()
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-6)
    assert 0 <= one.low <= one.estimate <= one.high <= 1


def test_a_look_never_widens_the_interval() -> None:
    rng = np.random.default_rng(9)
    sequence = BoundedMean()
    low, high = 0.0, 1.0
    for _ in range(20):
        sequence.add(rng.random(10))
        interval = sequence.interval()
        assert low <= interval.low <= interval.high <= high
        low, high = interval.low, interval.high


def test_values_that_are_all_zero_bound_the_mean_from_above() -> None:
    sequence = BoundedMean()
    sequence.add(np.zeros(1000))
    interval = sequence.interval()
    assert interval.low == 0
    assert interval.high < 0.02


def test_values_outside_of_zero_to_one_are_refused() -> None:
    sequence = BoundedMean()
    with pytest.raises(EmptySampleError):
        sequence.interval()
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            sequence.add([0.5, wrong])
    assert sequence.num_values == 0
    with pytest.raises(ValueError, match="confidence is 0"):
        BoundedMean(0)
