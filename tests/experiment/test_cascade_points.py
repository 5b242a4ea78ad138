"""Settings of cascades: what they do to rows, in which order they come, and that what is certified holds."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.experiment.certifying.cascade_points import NEVER, Recorded, certified, outcome, proposed
from trivet.stats.proportion import paired_difference

COSTS = np.array([1.0, 3.0, 10.0])


def recorded(num_rows: int, seed: int, *, weak: float = 0.25) -> Recorded:
    """Two exits that are wrong the rarer the surer they are, and a last model that is wrong now and then."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(size=(2, num_rows))
    wrong = np.stack([weak * (1 - sure[0]) * 2, 0.5 * weak * (1 - sure[1]) * 2])
    right = np.concatenate([rng.uniform(size=sure.shape) >= wrong, rng.uniform(size=(1, num_rows)) >= 0.05])
    return Recorded(sure, right, np.where(right, 0, [[1], [2], [3]]), COSTS, 10.0)


def test_a_row_leaves_at_the_first_exit_that_is_sure() -> None:
    sure = np.array([[0.9, 0.1, 0.1], [0.9, 0.9, np.nan]])
    right = np.array([[True, True, False], [True, False, False], [False, True, True]])
    rows = Recorded(sure, right, np.arange(9).reshape(3, 3), COSTS, 10.0)
    found = outcome(rows, (0.5, 0.5))
    np.testing.assert_array_equal(found.left_at, [0, 1, 2])
    assert (found.lost, found.gained, found.changed) == (1, 1, 2)
    assert found.cost == pytest.approx((1 + 4 + 14) / 3)
    assert found.net_loss == 0


def test_settings_come_from_safe_to_cheap_and_each_is_freer_than_the_one_before() -> None:
    rows = recorded(3000, 1)
    settings = proposed(rows, 0.02)
    assert len(settings) > 5
    costs = [outcome(rows, one).cost for one in settings]
    assert costs == sorted(costs, reverse=True)
    for one, other in pairwise(settings):
        assert all(a >= b for a, b in zip(one, other, strict=True))


def test_an_exit_that_tells_nothing_is_never_taken() -> None:
    """The first exit is always wrong: nobody may leave there."""
    rows = recorded(2000, 2)
    right = rows.right.copy()
    right[0] = False
    settings = proposed(Recorded(rows.sure, right, rows.said, COSTS, 10.0), 0.02)
    assert settings
    assert all(first == NEVER for first, _ in settings)


def test_the_certificate_is_the_exact_test_of_each_setting_up_to_the_first_that_fails() -> None:
    rows = recorded(4000, 3)
    settings = [*proposed(recorded(2000, 4), 0.01)[::4], (0.0, 0.0)]
    points = certified(rows, settings, max_loss=0.01, confidence=0.95)
    assert 0 < len(points) < len(settings)
    for point, setting in zip(points, settings, strict=False):
        left = outcome(rows, setting)
        cascade = rows.right[left.left_at, np.arange(4000)]
        low = paired_difference(rows.right[-1], cascade, 0.9).low
        assert point.thresholds == setting
        assert point.risk_bound == -low <= 0.01
        assert point.lost >= left.lost / 4000
        assert point.changed >= left.changed / 4000
        assert point.saving == pytest.approx(1 - left.cost / 10)


def test_the_one_sided_loss_is_the_stricter_one() -> None:
    rows, settings = recorded(4000, 3), proposed(recorded(2000, 4), 0.01)[::4]
    net = certified(rows, settings, max_loss=0.02, confidence=0.95)
    strict = certified(rows, settings, max_loss=0.02, confidence=0.95, loss="one-sided")
    assert len(strict) < len(net)
    assert all(point.lost <= 0.02 for point in strict)


def test_what_is_certified_holds_on_the_population() -> None:
    """6 certificates of 2,000 rows each, against 100,000: at most as many are wrong as a level of 5 % allows."""
    population = recorded(100_000, 5)
    settings = proposed(recorded(2000, 6), 0.02)[::2]
    wrong, savings = 0, []
    for seed in range(6):
        points = certified(recorded(2000, 100 + seed), settings, max_loss=0.02, confidence=0.95)
        if points:
            wrong += outcome(population, points[-1].thresholds).net_loss > 0.02
            savings.append(points[-1].saving)
    assert wrong <= 6 * 0.05 + 2 * (6 * 0.05 * 0.95) ** 0.5
    assert float(np.median(savings)) > 0


@pytest.mark.parametrize("num_rows", [10, 298])
def test_too_few_rows_say_how_many_it_takes(num_rows: int) -> None:
    with pytest.raises(UserError, match=r"needs at least 299, even if"):
        certified(recorded(num_rows, 7), [(0.9, 0.9)], max_loss=0.01, confidence=0.95)


def test_rows_without_losses_certify_at_the_smallest_number() -> None:
    rows = recorded(299, 8)
    same: NDArray[np.bool_] = np.ones_like(rows.right)
    points = certified(
        Recorded(rows.sure, same, np.zeros_like(rows.said), COSTS, 10.0),
        [(0.9, 0.9), (0.0, 0.0)],
        max_loss=0.01,
        confidence=0.95,
        loss="one-sided",
    )
    assert [point.thresholds for point in points] == [(0.9, 0.9), (0.0, 0.0)]
    assert points[0].lost <= 0.01


def test_points_that_only_just_hold_are_left_out_where_others_save_too() -> None:
    """Of 4,000 rows 30 are lost at the cheaper setting: certified at 1 %, but not by half of the rows."""
    rows = recorded(4000, 9)
    sure = np.stack([np.linspace(0, 1, 4000), np.zeros(4000)])
    right = np.ones_like(rows.right)
    right[0, 1000:1030] = False
    settings = [(0.5, NEVER), (0.2, NEVER)]
    whole = Recorded(sure, right, np.where(right, 0, 1), np.array([1.0, 0.0, 10.0]), 10.0)
    points = certified(whole, settings, max_loss=0.0105, confidence=0.95)
    assert [point.thresholds for point in points] == settings[:1]
    alone = certified(whole, settings[1:], max_loss=0.0105, confidence=0.95)
    assert [point.thresholds for point in alone] == settings[1:]
