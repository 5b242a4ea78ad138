"""How many rows a certified bound needs, against the definition."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats.risk_control import risk_p_value, rows_needed


def _p_value(num_lost: int, num: int, risk: float) -> float:
    """The binomial distribution by its formula."""
    return sum(math.comb(num, k) * risk**k * (1 - risk) ** (num - k) for k in range(num_lost + 1))


def test_without_losses_it_is_the_power_of_what_is_left() -> None:
    assert rows_needed(0.01, 0.05) == 299
    assert 0.99**299 <= 0.05 < 0.99**298


@settings(deadline=None, max_examples=30)
@given(risk=st.floats(0.05, 0.5), delta=st.floats(0.01, 0.3), share=st.floats(0, 0.7))
def test_so_many_rows_certify_and_one_less_does_not(risk: float, delta: float, share: float) -> None:
    num = rows_needed(risk, delta, share * risk)
    assert num is not None
    lost = next(k for k in range(num + 1) if k >= share * risk * num)
    assert _p_value(lost, num, risk) <= delta
    assert _p_value(lost, num - 1, risk) > delta or lost > 0
    assert risk_p_value([1.0] * lost + [0.0] * (num - lost), risk) <= delta


def test_a_loss_at_the_limit_needs_more_rows_than_there_are() -> None:
    assert rows_needed(0.01, 0.05, 0.01) is None
    assert rows_needed(0.01, 0.05, 0.5) is None


@pytest.mark.parametrize("arguments", [(0, 0.05, 0), (0.1, 1, 0), (0.1, 0.05, -1)])
def test_levels_out_of_range_are_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be in"):
        rows_needed(*arguments)
