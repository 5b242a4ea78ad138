import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats.equivalence import effect_of_blocks
from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Interval, Ratio
from trivet.stats.verdict import verdict_of_difference, verdict_of_ratio

blocks = st.lists(st.tuples(st.floats(1, 1.2), st.floats(1, 1.2)), min_size=3, max_size=12)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.01, 1.2, "worse"),
        (0.8, 0.99, "better"),
        (0.9, 1.2, "cannot tell"),
        (0.96, 1.04, "equivalent"),
        (1.01, 1.04, "equivalent"),
        (0.0, math.inf, "cannot tell"),
        (1.0, 1.2, "cannot tell"),
    ],
)
def test_the_verdict_follows_from_where_the_interval_lies(low: float, high: float, expected: str) -> None:
    ratio = Ratio((low + min(high, 9)) / 2, low, high, 10)
    assert verdict_of_ratio(ratio, ratio, 0.05, smaller_is_better=True) == expected
    swapped = {"better": "worse", "worse": "better"}.get(expected, expected)
    assert verdict_of_ratio(ratio, ratio, 0.05, smaller_is_better=False) == swapped


def test_equivalent_rests_on_the_inner_interval() -> None:
    outer, inner = Ratio(1, 0.94, 1.06, 10), Ratio(1, 0.96, 1.04, 10)
    assert verdict_of_ratio(outer, inner, 0.05, smaller_is_better=True) == "equivalent"
    assert verdict_of_ratio(outer, outer, 0.05, smaller_is_better=True) == "cannot tell"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.002, 0.03, "better"),
        (-0.03, -0.002, "worse"),
        (-0.004, 0.004, "equivalent"),
        (-0.03, 0.004, "cannot tell"),
    ],
)
def test_differences_of_accuracies_have_verdicts_too(low: float, high: float, expected: str) -> None:
    difference = Interval((low + high) / 2, low, high)
    assert verdict_of_difference(difference, difference, 0.005, smaller_is_better=False) == expected


@pytest.mark.parametrize("margin", [0.0, -0.1, math.inf, math.nan])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        verdict_of_ratio(Ratio(1, 1, 1, 2), Ratio(1, 1, 1, 2), margin, smaller_is_better=True)
    with pytest.raises(ValueError, match="must be positive"):
        verdict_of_difference(Interval(0, 0, 0), Interval(0, 0, 0), margin, smaller_is_better=True)


@settings(max_examples=50, deadline=None)
@given(pairs=blocks, margin=st.floats(0.01, 0.3))
def test_equivalent_is_what_two_one_sided_t_tests_say(
    pairs: list[tuple[float, float]], margin: float
) -> None:
    a, b = np.array(pairs).T
    logs = np.log(b / a)
    if logs.std() < 1e-12:
        return
    above = scipy.stats.ttest_1samp(logs, -math.log1p(margin), alternative="greater").pvalue
    below = scipy.stats.ttest_1samp(logs, math.log1p(margin), alternative="less").pvalue
    effect = effect_of_blocks(a, b, margin=margin, smaller_is_better=True)
    assert (effect.verdict == "equivalent") == (max(above, below) < 0.05)
    if effect.verdict != "equivalent":
        assert (effect.verdict == "cannot tell") == (scipy.stats.ttest_1samp(logs, 0).pvalue > 0.05)


def test_the_second_side_is_judged() -> None:
    a, b = [100, 101, 99, 100], [120, 122, 119, 121]
    effect = effect_of_blocks(a, b, margin=0.05, smaller_is_better=True)
    assert (effect.verdict, effect.margin) == ("worse", 0.05)
    assert effect.ratio.estimate == pytest.approx(1.205, abs=0.002)
    assert effect_of_blocks(a, b, margin=0.05, smaller_is_better=False).verdict == "better"
    assert effect_of_blocks(b, a, margin=0.05, smaller_is_better=True).verdict == "better"


def test_sides_a_margin_apart_are_rarely_called_equivalent() -> None:
    """Normal log ratios: the t test is exact, 5 %. Binomial(2000, 0.05) over 130 would be 1 in 1,000."""
    rng = np.random.default_rng(6)
    noise = rng.normal(math.log(1.05), 0.01, (2000, 6))
    found = sum(
        effect_of_blocks(np.ones(6), np.exp(row), margin=0.05, smaller_is_better=True).verdict == "equivalent"
        for row in noise
    )
    assert 70 <= found <= 130


def test_too_few_blocks_and_wrong_settings_are_refused() -> None:
    with pytest.raises(EmptySampleError):
        effect_of_blocks([], [], margin=0.05, smaller_is_better=True)
    with pytest.raises(TooFewError):
        effect_of_blocks([1], [1], margin=0.05, smaller_is_better=True)
    with pytest.raises(ValueError, match=r"confidence is 0\.5"):
        effect_of_blocks([1, 2], [1, 2], margin=0.05, confidence=0.5, smaller_is_better=True)
