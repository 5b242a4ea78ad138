import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats.errors import EmptySampleError
from trivet.stats.risk_control import learn_then_test, risk_p_value


@pytest.mark.parametrize(
    ("n", "losses", "max_risk", "certified"),
    [(299, 0, 0.01, True), (298, 0, 0.01, False), (598, 0, 0.005, True), (597, 0, 0.005, False)],
)
def test_so_many_rows_without_a_loss_certify(n: int, losses: int, max_risk: float, certified: bool) -> None:
    """(1 - risk)^n <= 0.05."""
    row = np.zeros(n)
    row[:losses] = 1
    assert learn_then_test([row], max_risk=max_risk, delta=0.05) == ([0] if certified else [])


@settings(max_examples=50, deadline=None)
@given(lost=st.integers(0, 50), more=st.integers(0, 200), risk=st.floats(0.01, 0.9))
def test_zeros_and_ones_have_the_exact_p_value(lost: int, more: int, risk: float) -> None:
    losses = np.array([1.0] * lost + [0.0] * (more + 1))
    assert risk_p_value(losses, risk) == pytest.approx(
        scipy.stats.binom.cdf(lost, len(losses), risk), abs=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=30), risk=st.floats(0.05, 0.95))
def test_other_losses_have_the_bound_of_hoeffding_and_bentkus(values: list[float], risk: float) -> None:
    losses = np.array([*values, 0.5])
    n, mean = len(losses), losses.mean()
    relative = sum(
        q * math.log(q / p) if q else 0.0
        for q, p in ((min(mean, risk), risk), (1 - min(mean, risk), 1 - risk))
    )
    bentkus = math.e * scipy.stats.binom.cdf(math.ceil(losses.sum()), n, risk)
    assert risk_p_value(losses, risk) == pytest.approx(min(1, math.exp(-n * relative), bentkus), abs=1e-9)


@pytest.mark.parametrize("n", [20, 60])
def test_a_setting_over_its_risk_is_certified_with_probability_delta_at_most(n: int) -> None:
    """Exact: the sum over all numbers of losses that certify, at the risk itself."""
    for risk in (0.05, 0.1, 0.3):
        certified = sum(
            float(scipy.stats.binom.pmf(k, n, risk))
            for k in range(n + 1)
            if risk_p_value(np.arange(n) < k, risk) <= 0.1
        )
        assert certified <= 0.1


def test_settings_are_certified_in_order_until_the_first_that_fails() -> None:
    rows = np.zeros((4, 400))
    rows[2, :40] = 1
    assert learn_then_test(rows, max_risk=0.02, delta=0.05) == [0, 1]
    assert learn_then_test(rows[2:], max_risk=0.02, delta=0.05) == []


def test_any_violation_at_all_is_as_rare_as_promised() -> None:
    """20 thresholds whose losses share their rows and grow with the threshold; from the eighth on the risk is over 5 %.

    Fixed seeds. At delta = 0.1 the number of 500 trials with a violation is at most binomial(500, 0.1) in distribution.
    """
    rng = np.random.default_rng(10)
    risks = np.linspace(0.015, 0.11, 20)
    violated = 0
    for _ in range(500):
        losses = rng.random(300) < risks[:, np.newaxis]
        certified = learn_then_test(losses, max_risk=0.05, delta=0.1)
        violated += any(risks[index] > 0.05 for index in certified)
    assert 0 < violated <= 50


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(EmptySampleError):
        risk_p_value([], 0.1)
    with pytest.raises(ValueError, match=r"losses must be in \[0, 1\]"):
        risk_p_value([1.5], 0.1)
    with pytest.raises(ValueError, match="max_risk is 1"):
        risk_p_value([0.5], 1.0)
    with pytest.raises(ValueError, match="delta is 0"):
        learn_then_test([[0.0]], max_risk=0.1, delta=0)
    with pytest.raises(ValueError, match="shape"):
        learn_then_test([0.0], max_risk=0.1, delta=0.1)
