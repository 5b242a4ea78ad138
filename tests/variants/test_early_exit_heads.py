"""What a head is fitted to, and which confidences are tried: against slow and exact computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.variants.early_exit_fitting import _share_left, _thresholds
from trivet.variants.early_exit_head import _calibrated, _loss, fitted, softmax

RNG_SEED = 11


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_answers_is_found(temperature: float) -> None:
    logits = np.random.default_rng(RNG_SEED).normal(size=(200, 4), scale=3)
    found = _calibrated(logits, softmax(logits / temperature))
    assert found == pytest.approx(temperature, rel=0.03)  # a step of the grid is 2 %


def test_a_linear_teacher_is_learned_and_features_are_put_back_on_their_scale() -> None:
    rng = np.random.default_rng(RNG_SEED)
    features = rng.normal(size=(400, 5)) * [1, 10, 0.1, 1, 0] + [0, 100, 0, -3, 7]
    standard = np.where(
        features.std(axis=0) > 0, (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-12), 0
    )
    targets = softmax(standard @ rng.normal(size=(5, 3)))
    head = fitted(features, targets, range(300), range(300, 400))
    entropy = -(targets[300:] * np.log(targets[300:])).sum(axis=1).mean()
    assert _loss(np.log(head.probabilities(features[300:])), targets[300:]) < entropy + 0.005
    assert (head.weights.dtype, head.bias.dtype) == (np.float32, np.float32)


ROWS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30)


@given(rows=ROWS, limit=st.sampled_from((0.0, 0.05, 0.2, 1.0)))
def test_the_share_that_may_leave_is_the_largest_within_the_limit(
    rows: list[tuple[int, bool]], limit: float
) -> None:
    sure, losses = np.array([one for one, _ in rows]) / 20, np.array([float(lost) for _, lost in rows])
    order = sorted(range(len(rows)), key=lambda i: (-sure[i], i))
    possible = [
        num for num in range(len(rows) + 1) if sum(losses[i] for i in order[:num]) / len(rows) <= limit
    ]
    assert _share_left(sure, losses, limit) == max(possible) / len(rows)


@given(
    rows=st.lists(st.integers(0, 1000), min_size=1, max_size=40),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_confidences_are_tried_from_the_strictest_on(rows: list[int], shares: tuple[float, float]) -> None:
    expected, most = sorted(shares)
    sure = np.array(rows) / 1000
    found = _thresholds(sure, expected, most)
    assert found == sorted(set(found), reverse=True)
    assert set(found) <= set(sure.tolist())
    # The loosest lets at least the wanted share leave, and would not if it were stricter.
    assert (sure >= found[-1]).mean() >= most
    assert (sure > found[-1]).mean() <= max(most, 1 / len(rows))
