"""Calibration: the error as a slow loop, its interval on models whose calibration is known."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import ExtraMissingError
from trivet.judge.calibration import (
    MAX_BINS,
    MIN_IN_BIN,
    calibration_error,
    top_confidences,
    yes_probabilities,
)
from trivet.stats.errors import EmptySampleError


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=120))
def test_the_error_is_the_weighted_gap_of_bins_of_equal_mass(rows: list[tuple[float, bool]]) -> None:
    confidences, right = np.array([c for c, _ in rows]), np.array([r for _, r in rows])
    found, num_bins = calibration_error(confidences, right)
    ordered = sorted(rows, key=lambda row: row[0])
    num = len(rows)
    larger = num % num_bins
    sizes = [num // num_bins + (i < larger) for i in range(num_bins)]
    expected, at = 0.0, 0
    for size in sizes:
        part = ordered[at : at + size]
        expected += abs(sum(hit - claimed for claimed, hit in part)) / num
        at += size
    assert max(1, min(MAX_BINS, num // MIN_IN_BIN)) == num_bins
    assert pytest.approx(expected) == found.estimate
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@pytest.mark.parametrize("lie", [0.0, 0.1, 0.3])
def test_the_interval_covers_the_truth(lie: float) -> None:
    """Models that claim `lie` more than they keep: 200 samples of 400 rows each, fixed seeds."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        kept = rng.uniform(0.3, 0.6, 400)
        found, _ = calibration_error(kept + lie, rng.random(400) < kept)
        covered += found.low <= lie <= found.high
    assert covered >= 0.95 * 200


def test_a_large_error_is_told_from_none() -> None:
    rng = np.random.default_rng(5)
    kept = rng.uniform(0.3, 0.6, 2000)
    found, _ = calibration_error(kept + 0.3, rng.random(2000) < kept)
    assert found.low > 0.2


def test_all_right_in_a_bin_is_not_certainty() -> None:
    found, _ = calibration_error(np.full(20, 0.99), np.ones(20, np.bool_))
    assert found.high > 0.1


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ExtraMissingError, match=r"the interval of a calibration error needs an extra"):
        calibration_error(np.ones(1), np.ones(1, np.bool_))


def test_no_rows() -> None:
    with pytest.raises(EmptySampleError):
        calibration_error(np.zeros(0), np.zeros(0, np.bool_))


def test_probabilities_are_taken_as_they_are() -> None:
    confidences, assumed = top_confidences([np.array([0.2, 0.8]), np.array([0.5, 0.5004])])
    assert (confidences.tolist(), "probabilities" in assumed) == ([0.8, 0.5004], True)
    yes, assumed = yes_probabilities([np.array([0.2]), np.array([1.0])])
    assert (yes.tolist(), "probabilities" in assumed) == ([0.2, 1.0], True)


def test_logits_become_probabilities_and_that_is_told() -> None:
    confidences, assumed = top_confidences([np.array([0.0, np.log(3)]), np.array([1000.0, 0.0])])
    assert pytest.approx([0.75, 1.0]) == confidences
    assert "softmax was taken" in assumed
    yes, assumed = yes_probabilities([np.array([np.log(3)]), np.array([-2000.0])])
    assert pytest.approx([0.75, 0.0]) == yes
    assert "sigmoid was taken" in assumed
