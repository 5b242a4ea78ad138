import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.paired import ratio_of_paired_blocks

values = st.floats(1e-3, 1e6)
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=20)


@given(blocks=pairs, confidence=st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_interval_is_scipys_t_interval_of_the_log_ratios(
    blocks: list[tuple[float, float]], confidence: float
) -> None:
    a, b = np.array(blocks).T
    ratio = ratio_of_paired_blocks(a, b, confidence)
    logs = np.log(a / b)
    margin = scipy.stats.t.ppf((1 + confidence) / 2, len(a) - 1) * scipy.stats.sem(logs)
    with np.errstate(over="ignore"):
        expected = np.exp([logs.mean(), logs.mean() - margin, logs.mean() + margin])
    assert [ratio.estimate, ratio.low, ratio.high] == pytest.approx(expected, rel=1e-5)
    assert ratio.num_blocks == len(blocks)


@given(blocks=pairs, factor=values)
def test_the_units_do_not_matter_and_exchanging_sides_inverts(
    blocks: list[tuple[float, float]], factor: float
) -> None:
    a, b = np.array(blocks).T
    ratio, scaled, swapped = (
        ratio_of_paired_blocks(*sides) for sides in ((a, b), (a * factor, b * factor), (b, a))
    )
    for left, right in zip(
        (ratio.estimate, ratio.low, ratio.high, ratio.estimate, ratio.low),
        (scaled.estimate, scaled.low, scaled.high, 1 / swapped.estimate, 1 / swapped.high),
        strict=True,
    ):
        assert math.log(left) == pytest.approx(math.log(right), rel=1e-9, abs=1e-9)


def test_a_known_case_by_hand() -> None:
    """Ratios 1, 2, 4: mean log = log 2, sd = log 2, t(0.975, 2) = 4.302653."""
    ratio = ratio_of_paired_blocks([1, 2, 4], [1, 1, 1])
    assert ratio.estimate == pytest.approx(2)
    assert ratio.low == pytest.approx(2 ** (1 - 4.302652729911275 / math.sqrt(3)))
    assert ratio.high == pytest.approx(2 ** (1 + 4.302652729911275 / math.sqrt(3)))
    assert str(ratio) == "2.000 [0.357, 11.190]"


def test_blocks_without_spread_give_an_interval_of_one_point() -> None:
    ratio = ratio_of_paired_blocks([3, 6], [1, 2])
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((3, 3, 3))


@pytest.mark.parametrize("num_blocks", [2, 5, 10])
def test_the_interval_covers_the_true_ratio_as_often_as_it_says(num_blocks: int) -> None:
    """Both sides share each block's mood, and the log ratio is normal: coverage is exactly 95 %.

    Over 1,000 fixed seeds the count is binomial(1000, 0.95): 930 and 970 are 2.9 standard deviations away.
    """
    rng = np.random.default_rng(20_261)
    mood = rng.lognormal(0, 1, (1000, num_blocks))
    a = 1.3 * mood * rng.lognormal(0, 0.05, mood.shape)
    b = mood * rng.lognormal(0, 0.05, mood.shape)
    ratios = [ratio_of_paired_blocks(*sides) for sides in zip(a, b, strict=True)]
    assert 930 <= sum(ratio.low <= 1.3 <= ratio.high for ratio in ratios) <= 970


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [
        ([1, 2], [1, 2, 3], "not paired"),
        ([[1, 2]], [[1, 2]], "not paired"),
        ([1, 0], [1, 1], "block 1 has 0.0"),
        ([1, 1], [-2, 1], "block 0 has -2.0"),
        ([1, math.nan], [1, 1], "block 1 has nan"),
    ],
)
def test_what_has_no_ratio_is_refused(a: list[float], b: list[float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ratio_of_paired_blocks(a, b)


def test_a_confidence_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence is 1"):
        ratio_of_paired_blocks([1, 2], [1, 2], confidence=1)


def test_too_few_blocks_have_no_interval() -> None:
    with pytest.raises(EmptySampleError):
        ratio_of_paired_blocks([], [])
    with pytest.raises(TooFewError, match="measure at least 2"):
        ratio_of_paired_blocks([1], [2])
