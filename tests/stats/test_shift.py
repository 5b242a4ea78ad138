import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.shift import DECILES_AND_TAIL, harrell_davis, shift_function


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), p=st.floats(0.02, 0.98))
def test_the_quantile_is_scipys(values: list[float], p: float) -> None:
    expected = scipy.stats.mstats.hdquantiles(values, [p])[0]
    assert harrell_davis(values, p) == pytest.approx(float(expected), rel=1e-9, abs=1e-6)


def test_the_weights_are_integrals_of_the_beta_density() -> None:
    values, p = np.array([3.0, 1.0, 10.0, 5.0]), 0.7
    beta = scipy.stats.beta(p * 5, (1 - p) * 5)
    weights = [scipy.integrate.quad(beta.pdf, i / 4, (i + 1) / 4)[0] for i in range(4)]
    assert harrell_davis(values, p) == pytest.approx(float(np.dot(weights, np.sort(values))))


def blocks(num: int, size: int, seed: int, factor: float = 1.0) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return [factor * np.exp(0.05 * rng.standard_normal()) * rng.exponential(1, size) for _ in range(num)]


def test_a_slower_side_is_slower_at_every_quantile() -> None:
    base = blocks(10, 300, 1)
    shifts = shift_function(base, [1.2 * block for block in base], np.random.default_rng(2))
    assert [shift.p for shift in shifts] == list(DECILES_AND_TAIL)
    for shift in shifts:
        assert shift.b == pytest.approx(1.2 * shift.a)
        assert shift.difference.estimate == pytest.approx(shift.b - shift.a)
        assert shift.difference.low > 0
        assert shift.p_value < 0.001


def test_a_slower_tail_alone_is_seen_in_the_tail_alone() -> None:
    """The largest tenth of each block's values takes 1.5 times as long."""
    base = blocks(12, 400, 3)
    slower = [np.where(block > np.quantile(block, 0.9), 1.5 * block, block) for block in base]
    shifts = {shift.p: shift for shift in shift_function(base, slower, np.random.default_rng(4))}
    assert shifts[0.5].difference.estimate == pytest.approx(0, abs=1e-6)
    assert shifts[0.99].difference.low > 0
    assert shifts[0.99].p_value < 0.01 < shifts[0.2].p_value


def test_alike_sides_are_rarely_told_apart_and_their_intervals_cover() -> None:
    """40 comparisons on fixed seeds: coverage is binomial(40, 0.95) for one quantile, any alarm binomial(40, 0.05)."""
    covered, alarms = 0, 0
    for seed in range(40):
        a, b = blocks(8, 100, 2 * seed), blocks(8, 100, 2 * seed + 1)
        shifts = shift_function(a, b, np.random.default_rng(seed), num_resamples=150)
        covered += shifts[4].difference.low <= 0 <= shifts[4].difference.high
        alarms += min(shift.p_value for shift in shifts) < 0.05
    assert covered >= 35
    assert alarms <= 5


def test_sides_that_are_the_same_do_not_differ() -> None:
    base = blocks(5, 50, 5)
    for shift in shift_function(base, base, np.random.default_rng(1), num_resamples=20):
        assert (shift.difference.low, shift.difference.high, shift.p_value) == (0, 0, 1)


def test_blocks_may_differ_in_length_and_the_seed_decides() -> None:
    a = [block[: 80 - i] for i, block in enumerate(blocks(6, 80, 6))]
    b = [block[: 60 + i] for i, block in enumerate(blocks(6, 80, 7))]
    first, second = (shift_function(a, b, np.random.default_rng(3), num_resamples=50) for _ in range(2))
    assert first == second
    assert all(shift.difference.low < shift.difference.estimate < shift.difference.high for shift in first)


def test_what_has_no_quantiles_is_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(EmptySampleError):
        harrell_davis([], 0.5)
    with pytest.raises(EmptySampleError):
        shift_function([], [], rng)
    with pytest.raises(EmptySampleError, match="block 2 has no values"):
        shift_function([[1.0], [1.0], [], [1.0], [1.0]], [[1.0]] * 5, rng)
    with pytest.raises(TooFewError, match="at least 5"):
        shift_function(blocks(4, 10, 1), blocks(4, 10, 2), rng)
    with pytest.raises(ValueError, match="not paired"):
        shift_function(blocks(5, 10, 1), blocks(6, 10, 2), rng)
    for p in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="p is"):
            harrell_davis([1.0], p)
