import math

import numpy as np
import pytest
from numpy.typing import NDArray

from trivet.stats._dependence import Dependence, dependence, level_shape, long_run_factor
from trivet.stats.errors import TooFewError


def persistent(num: int, stay: float, seed: int) -> NDArray[np.bool_]:
    """A chain of two states, each kept with probability `stay`: autocorrelation (2 stay - 1)^lag."""
    switches = np.random.default_rng(seed).random(num) >= stay
    return np.cumsum(switches) % 2 == 1


def factor_by_definition(above: list[bool]) -> float | None:
    """The slow way: sums of products, lag by lag, until the lag is 5 times their sum."""
    num = len(above)
    share = sum(above) / num
    centred = [flag - share for flag in above]
    variance = sum(x * x for x in centred) / num
    total = variance
    for lag in range(1, num // 4):
        total += 2 * sum(centred[i] * centred[i + lag] for i in range(num - lag)) / num
        if lag * variance >= 5 * total:
            return total / (share * (1 - share)) / (1 - (2 * lag + 1) / num)
    return None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stay", [0.3, 0.5, 0.8, 0.9])
def test_the_factor_is_one_and_twice_the_autocorrelations(stay: float, seed: int) -> None:
    above = persistent(400, stay, seed)
    expected = factor_by_definition(above.tolist())
    if expected is None:
        with pytest.raises(TooFewError, match="several times"):
            long_run_factor(above)
    else:
        assert long_run_factor(above) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("stay", [0.5, 0.75, 0.9, 0.98])
def test_the_factor_of_a_chain_is_known(stay: float) -> None:
    """1 + 2 sum r^k = (1 + r) / (1 - r) = stay / (1 - stay). The run is looked at in pieces of four."""
    assert long_run_factor(persistent(120_000, stay, seed=1)) == pytest.approx(stay / (1 - stay), rel=0.12)


def test_what_never_settles_is_refused() -> None:
    with pytest.raises(TooFewError, match=r"quarter of the run \(10,000 requests\)"):
        long_run_factor(np.arange(10_000) > 5_000)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05, 0.001])
def test_the_shape_is_the_integral_it_comes_from(share: float) -> None:
    """4 / s^2 times the integral, with drift -1 and s^2 = 2, over its limit 4 and the indicator's variance."""
    level = -math.log(share)
    y = np.linspace(0, level + 40, 400_001)
    above = np.where(y >= level, np.exp(-y) * (1 - share), share - share * np.exp(-y))
    integral = float(np.trapezoid(np.exp(y) * above**2, y))
    assert float(level_shape(np.array([share]))[0]) == pytest.approx(
        2 * integral / (4 * share * (1 - share)), rel=1e-4
    )


def test_independent_requests_count_as_themselves() -> None:
    values = np.random.default_rng(2).permutation(50_000)
    found = dependence(values, np.sort(values), 0.01)
    assert 1 <= found.factor < 1.2
    assert found.degrees > 1_000


def test_values_in_runs_count_once_a_run() -> None:
    values = np.repeat(np.random.default_rng(3).permutation(5_000), 20)
    assert dependence(values, np.sort(values), 0.05).factor == pytest.approx(20, rel=0.15)


def test_sections_that_differ_more_than_neighbours_tell_are_believed() -> None:
    """Independent from one request to the next, but the load changes every 5,000: no window of a few lags sees it."""
    rng = np.random.default_rng(4)
    moods = np.repeat([1.0, 1.2, 0.9, 1.1, 1.3, 1.0, 1.25, 0.95, 1.15, 1.05], 5_000)
    values = (moods * rng.exponential(1e6, 50_000)).astype(np.int64)
    assert dependence(values, np.sort(values), 0.05).factor > 10


def test_two_values_have_a_level_between_them() -> None:
    values = (np.random.default_rng(5).random(10_000) < 0.3).astype(np.int64)
    found = dependence(values, np.sort(values), 0.01)
    assert 1 <= found.factor < 1.3


def test_one_value_has_no_level() -> None:
    values = np.full(1_000, 7)
    assert dependence(values, values, 0.01) == Dependence(1.0, math.inf)
