"""What makes wrong answers that nobody claims be seen: audits, novelty, and the charge."""

import math
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from trivet.pipeline.semantic.auditing import Audits
from trivet.pipeline.semantic.charging import Charge
from trivet.pipeline.semantic.novelty import novelty
from trivet.pipeline.semantic.spending import horizon

_ALIKE = np.full(10, 0.01), np.full(10, 5.0)


def _aimed(budget: float, least: float, num_requests: int) -> Audits:
    audits = Audits(budget, least, Random(0))
    audits.aim(num_requests, *_ALIKE)
    return audits


@pytest.mark.parametrize("num_requests", [2_000, 4_000])
def test_three_of_the_wrong_answers_that_take_the_whole_budget_are_audited(num_requests: int) -> None:
    share = _aimed(0.01, 0.03, num_requests).share(0.01, 5.0)
    assert share * 0.01 * horizon(num_requests) == pytest.approx(3)


def test_never_fewer_are_audited_than_declared_nor_more_than_half() -> None:
    assert _aimed(0.01, 0.03, 10**6).share(0.01, 5.0) == pytest.approx(0.03)
    assert _aimed(0.001, 0.03, 0).share(0.01, 5.0) == 0.5


def test_more_are_audited_where_more_can_be_wrong_and_where_nearly_nothing_is_known() -> None:
    audits = _aimed(0.01, 0.03, 10**6)
    assert audits.share(0.04, 5.0) == pytest.approx(0.06)  # four times as probable: twice the deviation
    assert audits.share(0.01, 30.0) == pytest.approx(0.27)  # three times what stands out: nine times
    assert audits.share(1e-6, 1.0) == pytest.approx(0.03)  # the surest: no less than declared


class _Drawn(Random):
    """Gives what it is told to."""

    def __init__(self, numbers: tuple[float, ...]) -> None:
        super().__init__(0)
        self._numbers = iter(numbers)

    def random(self) -> float:
        return next(self._numbers)


def test_an_answer_is_as_likely_audited_the_first_time_as_ever() -> None:
    """Summed over all draws, in twentieths: the share, but for strata that end and begin within one time."""
    starts = [(place + 0.5) / 20 for place in range(20)]
    places = [(place + 0.25) / 20 for place in range(20)]
    draws = product(starts, places, places)
    num_audits = sum(Audits(0.01, 0.25, _Drawn(numbers)).is_due(7, 0.25) for numbers in draws)
    assert 0.25 - 0.25**3 / 6 <= num_audits / 20**3 <= 0.25


@given(integers(0, 1_000), floats(0.03, 0.5))
def test_no_answer_is_left_alone_for_longer_than_two_strata(seed: int, share: float) -> None:
    audits = Audits(0.01, share, Random(seed))
    num_alone = 0
    for _ in range(200):
        num_alone = 0 if audits.is_due(7, share) else num_alone + 1
        assert num_alone <= math.ceil(2 / share)


def test_what_audits_show_is_charged_to_all_that_was_given() -> None:
    charge = Charge()
    charge.gave(10.0)
    charge.audited(0.4, True)
    charge.audited(0.6, False)
    assert charge.charged(8.0) == 8.0  # one was claimed, one was wrong
    charge.audited(0.5, True)
    charge.audited(0.5, True)
    assert charge.charged(8.0) == pytest.approx(
        10.0 * 5 / 4
    )  # three wrong where two were claimed, and two more of each
    assert charge.charged(20.0) == 20.0  # the claims have seen it themselves


def test_novelty_is_the_leverage_of_a_proposal() -> None:
    rng = np.random.default_rng(3)
    features = np.column_stack(
        [np.ones(300), rng.normal(2, 3, 300), rng.normal(0, 1, 300), np.full(300, 4.0)]
    )
    found = novelty(features)
    leverages = found.of_rows(features)
    assert 2.9 < leverages.mean() < 3  # a constant and two features: the third never differs
    assert found.of(tuple(features[17].tolist())) == pytest.approx(leverages[17])
    scaled = (np.array([8.0, 0.0]) - features[:, 1:3].mean(axis=0)) / features[:, 1:3].std(axis=0)
    alone = 1 + scaled @ np.linalg.inv(np.corrcoef(features[:, 1:3].T)) @ scaled
    assert found.of((1.0, 8.0, 0.0, 4.0)) == pytest.approx(alone, rel=0.02)
