"""The arithmetic under the semantic cache's policy, piece by piece."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import booleans, floats, integers, lists, tuples

from trivet.pipeline.semantic.calibrating import calibrated
from trivet.pipeline.semantic.fitting import crossed_log_odds, fit
from trivet.pipeline.semantic.looking import NUM_FEATURES, Entry, look
from trivet.pipeline.semantic.spending import allowance
from trivet.pipeline.semantic.suspecting import Suspicion
from trivet.pipeline.semantic.wording import are_opposite, read


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("How do I enable roaming?", "How do I disable roaming?", True),
        ("Is the card working", "Is the card not working", True),
        ("My card isn't working", "my card doesn't work", False),
        ("Can I pay without a card?", "Can I pay with a card?", True),
        ("Turn it on", "turn it off", True),
        ("on and off", "off", False),
        ("I can't not go", "I go", False),
        ("Wie sperre ich die Karte?", "Wie sperre ich die Karte nicht?", True),
        ("where is my card", "where is my card?", False),
    ],
)
def test_opposites_are_told(one: str, other: str, expected: bool) -> None:
    assert are_opposite(read(one), read(other)) is expected
    assert are_opposite(read(other), read(one)) is expected


def test_numbers_and_names_are_read() -> None:
    wording = read("When do two trains leave Paris? They cost 12.50 in Lyon, I think.")
    assert wording.numbers == {"2", "12.50"}
    assert wording.names == {"paris", "lyon"}
    assert not wording.is_negated


def _entry(key: int, text: str, answer: int) -> Entry:
    return Entry(key, read(text), answer, 0)


def test_the_answer_that_most_near_ones_give_is_proposed() -> None:
    found = [
        (0.80, _entry(0, "card lost", 1)),
        (0.79, _entry(1, "lost card", 2)),
        (0.78, _entry(2, "lost my card", 2)),
    ]
    seen = look(read("I lost my card"), found, {})
    assert seen is not None
    assert seen.entry.key == 1
    assert len(seen.features) == NUM_FEATURES
    assert seen.features[3] == pytest.approx(0.79 - 0.80)  # the margin to the nearest other answer


def test_the_opposite_question_is_never_proposed() -> None:
    found = [(0.99, _entry(0, "how do I disable it", 1))]
    assert look(read("how do I enable it"), found, {}) is None
    # Nor where others say the same: their entry is given instead.
    found.append((0.5, _entry(1, "enable it", 1)))
    seen = look(read("how do I enable it"), found, {})
    assert seen is not None
    assert seen.entry.key == 1


def test_nothing_near_is_no_proposal() -> None:
    assert look(read("hello"), [], {}) is None


def _rows(num: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    features = np.column_stack([np.ones(num), rng.normal(3, 2, (num, 2)), np.zeros(num)])
    return features, rng.random(num) < 1 / (1 + np.exp(2 - features[:, 1]))


def test_a_fit_is_where_the_penalised_loss_is_flat() -> None:
    features, wrong = _rows(400)
    odds = fit(features, wrong)
    probability = 1 / (1 + np.exp(-odds.of_rows(features)))
    weights, spread = np.array(odds.weights), features.std(axis=0)
    # Of a weight w of a feature with the spread s the penalty is (w s)^2 / 2; the constant's is a thousandth.
    assert (
        features[:, 1:3].T @ (probability - wrong) + weights[1:3] * spread[1:3] ** 2
    ) / 400 == pytest.approx(0, abs=1e-2)
    assert (probability - wrong).mean() == pytest.approx(0, abs=1e-4)
    assert weights[3] == 0  # says nothing
    assert odds.log_odds((1.0, 3.0, 3.0, 1.0)) == math.inf  # nobody ever had that


def test_one_row_is_scored_as_many_are() -> None:
    features, wrong = _rows(60)
    odds = fit(features, wrong)
    single = [odds.log_odds(tuple(row)) for row in features.tolist()]
    assert single == pytest.approx(odds.of_rows(features).tolist())


def test_a_fit_to_answers_that_are_told_apart_stays_finite() -> None:
    features = np.column_stack([np.ones(50), np.arange(50.0)])
    odds = fit(features, np.arange(50) < 25)
    assert np.isfinite(odds.of_rows(features)).all()
    assert odds.log_odds((1.0, -1e9)) == odds.log_odds((1.0, -1e8))  # nobody was ever there


def test_rows_are_scored_by_models_that_have_not_seen_them() -> None:
    features, wrong = _rows(8)
    rest = np.arange(8) % 4 != 1
    expected = fit(features[rest], wrong[rest]).of_rows(features[1::4])
    assert crossed_log_odds(features, wrong)[1::4].tolist() == expected.tolist()


@given(lists(tuples(floats(-8, 3), booleans()), min_size=1, max_size=400))
def test_claims_rise_with_the_odds(checks: list[tuple[float, bool]]) -> None:
    log_odds = np.array([one for one, _ in checks])
    claims = calibrated(log_odds, np.array([is_wrong for _, is_wrong in checks]))
    rising = [claims.of(value) for value in sorted(log_odds.tolist())]
    assert rising == sorted(rising)
    assert all(0 < claim <= 1 for claim in rising)
    assert claims.of_rows(np.sort(log_odds)).tolist() == rising


def test_no_claim_is_surer_than_its_checks() -> None:
    """120 alike, none wrong: one of 122 by the rule of succession; fewer than 60: as good as wrong."""
    claims = calibrated(np.full(120, -9.0), np.zeros(120, np.bool_))
    assert claims.of(-9.0) == pytest.approx(1 / 122)
    assert claims.of(0.5) == 1
    assert calibrated(np.full(59, -9.0), np.zeros(59, np.bool_)).of(-9.0) == 1


@given(floats(1e-4, 0.2), integers(0, 10**7))
def test_what_may_be_spent_leaves_room_for_chance(budget: float, num: int) -> None:
    spent = allowance(budget, num)
    total = budget * num
    assert 0 <= spent <= total
    assert spent + 2 * math.sqrt(spent + (0.3 * spent) ** 2) == pytest.approx(total, rel=1e-6, abs=1e-6)


@given(floats(1e-6, 0.5))
def test_doubt_is_a_fair_bet_where_claims_hold(claimed: float) -> None:
    factors = []
    for is_wrong in (True, False):
        doubt = Suspicion()
        doubt._capital = 5.0
        doubt.learn(claimed, is_wrong)
        factors.append(math.exp(doubt._capital - 5.0))
    assert claimed * factors[0] + (1 - claimed) * factors[1] == pytest.approx(1)


def test_a_row_of_wrong_answers_raises_the_alarm() -> None:
    doubt = Suspicion()
    alarms = [doubt.learn(0.01, True) for _ in range(7)]
    # Each multiplies the capital by 4 / 1.03: the seventh takes it past 10,000.
    assert alarms == [False] * 6 + [True]


def test_doubt_that_loses_begins_again() -> None:
    doubt = Suspicion()
    for _ in range(1_000):
        assert not doubt.learn(0.2, False)
    assert doubt.num_checks == 0
