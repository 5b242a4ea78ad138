"""The guard of a certified cascade: exact losses in, points in force out."""

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.pipeline.certified import NOTHING_LEAVES, CertifiedPoint, Guard, _Bets

DELTA = 0.05


def point(threshold: float, changed: float) -> CertifiedPoint:
    return CertifiedPoint(thresholds=(threshold,), risk_bound=0.004, saving=0.5, rows=6000, changed=changed)


POINTS = (point(0.99, 0.01), point(0.9, 0.02), point(0.8, 0.04))


def guard(share: float = 0.02, seed: int = 0) -> Guard:
    return Guard(POINTS, 0.005, DELTA, share, seed)


def test_the_cheapest_point_is_in_force_at_first() -> None:
    assert guard().point == 2
    assert guard().thresholds == (0.8,)


@pytest.mark.parametrize("direction", [+1, -1])
def test_capital_is_a_fair_game_at_the_limit(direction: int) -> None:
    """Its mean over all outcomes is exactly 1, after every number of audits."""
    limit = 0.3
    for num in range(1, 8):
        total = 0.0
        for outcome in product([True, False], repeat=num):
            bets = _Bets(limit, direction)
            chance = 1.0
            for lost in outcome:
                bets.learn(lost)
                chance *= limit if lost else 1 - limit
            total += chance * bets.capital()
        assert total == pytest.approx(1.0, abs=1e-12)


def test_answers_that_all_differ_end_in_nothing_leaving() -> None:
    one = guard()
    for _ in range(30):
        one.learn(True)
    assert one.point == NOTHING_LEAVES
    assert one.thresholds is None
    assert one.num_steps_back == 3


def test_only_the_points_that_lose_are_withdrawn() -> None:
    one = guard()
    for _ in range(30):
        one.learn_each([False, False, True])
    assert one.point == 1


def test_what_was_right_for_long_is_withdrawn_soon_after_it_changes() -> None:
    one = guard()
    for _ in range(20_000):
        one.learn(False)
    assert one.point == 2
    count = 0
    while one.point == 2:
        one.learn(True)
        count += 1
    assert count < 15


def test_a_withdrawn_point_comes_back_when_audits_speak_for_it() -> None:
    one = guard()
    while one.point != NOTHING_LEAVES:
        one.learn(True)
    count = 0
    while one.point < 2:
        one.learn(False)
        count += 1
    assert one.num_relaxed == 3
    assert 100 < count < 5_000  # the strictest limit is 1 %: no fewer audits can show that


def test_at_its_limits_hardly_any_guard_ever_moves() -> None:
    moved = 0
    for seed in range(200):
        one, draw = guard(), random.Random(seed)
        for _ in range(500):
            value = draw.random()
            one.learn_each([value < 0.01, value < 0.02, value < 0.04])
        moved += one.num_steps_back > 0
    assert moved <= 200 * DELTA + 2 * (200 * DELTA * (1 - DELTA)) ** 0.5


def test_audits_are_drawn_by_the_seed() -> None:
    drawn = [[one.audit(0) for _ in range(2000)] for one in (guard(seed=1), guard(seed=1), guard(seed=2))]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 20 <= sum(drawn[0]) <= 60
    assert not any(guard(share=0.0).audit(0) for _ in range(100))


@pytest.mark.parametrize("wrong", [{"max_loss": 0.0}, {"delta": 1.0}, {"audit_share": 1.1}])
def test_shares_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="must be in"):
        Guard(POINTS, **({"max_loss": 0.005} | wrong))
    with pytest.raises(SpecError, match="at least one"):
        Guard((), 0.005)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    limit=st.sampled_from([0.001, 0.02, 0.4]),
    direction=st.sampled_from([+1, -1]),
    lost=st.lists(st.booleans(), max_size=12),
    num=st.integers(1, 100),
)
def test_many_that_are_kept_are_learned_as_one_by_one(
    limit: float, direction: int, lost: list[bool], num: int
) -> None:
    one, other = _Bets(limit, direction), _Bets(limit, direction)
    for bets in (one, other):
        for each in lost:
            bets.learn(each)
    for _ in range(num):
        one.learn(False)
    other.learn_kept(num)
    assert other.capital() == pytest.approx(one.capital(), rel=1e-9)


def test_many_that_are_kept_bring_a_withdrawn_point_back() -> None:
    found = guard()
    while found.point == 2:
        found.learn(True)
    before = found.point
    found.learn_kept(5_000)
    assert (found.point, found.num_relaxed) == (2, 2 - before)
