"""Answers that were given are claimed anew when more is known."""

import numpy as np
import pytest

from trivet.pipeline.semantic.calibrating import Claims, calibrated
from trivet.pipeline.semantic.fitting import Odds
from trivet.pipeline.semantic.giving import Given
from trivet.pipeline.semantic.looking import NUM_FEATURES

_ODDS = Odds((0.0, 1.0) + (0.0,) * (NUM_FEATURES - 2), (-100.0,) * NUM_FEATURES, (100.0,) * NUM_FEATURES)


def _features(log_odds: float) -> tuple[float, ...]:
    return (1.0, log_odds) + (0.0,) * (NUM_FEATURES - 2)


def _claims(low: float, high: float) -> Claims:
    """low: under even odds.  high: above."""
    num_groups = len(calibrated(np.zeros(1), np.zeros(1, np.bool_)).by_group)
    return Claims((low,) * (num_groups - 1) + (high,))


def test_doubt_is_taken_back_and_what_went_worse_is_charged() -> None:
    given = Given()
    given.add(_features(-9.0), 0.02)
    given.add(_features(3.0), 0.03)
    assert given.claimed == pytest.approx(0.05)
    given.claim_anew(_ODDS, _claims(0.005, 0.4))
    assert given.claimed == pytest.approx(0.405)
    given.add(_features(-9.0), 0.005)
    given.claim_anew(_ODDS, _claims(0.001, 0.2))
    assert given.claimed == pytest.approx(0.202)


def test_older_answers_stay_as_they_were() -> None:
    given = Given(capacity=2)
    for _ in range(3):
        given.add(_features(-9.0), 0.02)
    given.claim_anew(_ODDS, _claims(0.0, 1.0))
    assert given.claimed == pytest.approx(
        0.02
    )  # the first: two newer ones took the places that are claimed anew


def test_the_doubt_of_a_small_number_is_shared_by_sure_groups() -> None:
    """Three groups of 100, none wrong: the first counts one more, the others a quarter as the model expects few."""
    log_odds = np.repeat([-9.0, -7.2, -6.5], 100)
    claims = calibrated(log_odds, np.zeros(300, np.bool_))
    assert claims.of(-9.0) == claims.of(-6.5) == pytest.approx(1.5 / 303)


def test_a_model_that_is_too_sure_does_not_push_claims_under_what_was_seen() -> None:
    wrong = np.zeros(400, np.bool_)
    wrong[:8] = True
    claims = calibrated(np.full(400, -12.0), wrong)
    assert claims.of(-12.0) == pytest.approx(9 / 402)
