"""Metrics with a value for each row: errors, cosines, and what the user's own function returns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.judge.errors import JudgeError
from trivet.judge.intervals import NUM_RESAMPLES
from trivet.judge.metric import figure, measure, smaller_is_better
from trivet.stats import student_t
from trivet.stats.errors import EmptySampleError, TooFewError

ROOT = Path()
NUMBERS = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=20)


@given(NUMBERS)
def test_mae_and_rmse_are_their_formulas(rows: list[tuple[float, float]]) -> None:
    predictions, labels = (list(column) for column in zip(*rows, strict=True))
    mae = figure("mae", predictions, labels, root=ROOT)
    rmse = figure("rmse", predictions, labels, root=ROOT)
    assert pytest.approx(sum(abs(p - t) for p, t in rows) / len(rows)) == mae.estimate
    assert pytest.approx((sum((p - t) ** 2 for p, t in rows) / len(rows)) ** 0.5) == rmse.estimate
    assert mae.low <= mae.estimate <= mae.high
    assert 0 <= rmse.low <= rmse.high


def test_the_interval_of_a_mean_is_that_of_resampled_t_values() -> None:
    """A slow loop over the same draws."""
    errors = [0.1, 0.2, 0.3, 0.1, 2.5, 0.4, 0.2, 9.0]
    mean, error = np.mean(errors), np.std(errors, ddof=1) / len(errors) ** 0.5
    t_values = []
    for row in np.random.default_rng(3).integers(0, len(errors), (NUM_RESAMPLES, len(errors))):
        sample = [errors[i] for i in row]
        if len(set(sample)) > 1:
            t_values.append((np.mean(sample) - mean) / (np.std(sample, ddof=1) / len(sample) ** 0.5))
    found = figure("mae", errors, [0.0] * len(errors), root=ROOT, seed=3)
    students = student_t.quantile(0.975, len(errors) - 1)
    lowest, highest = (
        min(-students, np.quantile(t_values, 0.025)),
        max(students, np.quantile(t_values, 0.975)),
    )
    assert highest == students  # the long tail is on the other side
    assert pytest.approx((max(0, mean - highest * error), mean - lowest * error)) == (found.low, found.high)


def test_the_interval_of_two_rows_is_students() -> None:
    """Resamples of two rows have no spread, or are the sample itself."""
    found = figure("cosine", [1.0, -1.0], [1.0, 1.0], root=ROOT)
    assert (found.estimate, found.low, found.high) == (0, -1, 1)
    found = figure("rmse", [3.0, 4.0], [0.0, 0.0], root=ROOT)
    margin = student_t.quantile(0.975, 1) * np.std([9, 16], ddof=1) / 2**0.5
    assert pytest.approx((12.5**0.5, 0, (12.5 + margin) ** 0.5)) == (found.estimate, found.low, found.high)


@pytest.mark.parametrize("law", ["normal", "exponential", "square"])
def test_intervals_of_means_cover_what_they_promise(law: str) -> None:
    """200 samples of 30 rows each, fixed seed."""
    rng = np.random.default_rng(8)
    covered = 0
    for seed in range(200):
        values = rng.normal(size=30) + 5 if law == "normal" else rng.exponential(size=30)
        values = rng.normal(size=30) ** 2 if law == "square" else values
        found = figure("mae", values.tolist(), [0.0] * 30, root=ROOT, seed=seed)
        covered += found.low <= (5 if law == "normal" else 1) <= found.high
    assert covered >= 0.93 * 200


def test_errors_of_zero_and_one_are_no_shares() -> None:
    found = figure("mae", [0.0, 1.0, 1.0, 0.0], [0.0] * 4, root=ROOT)
    assert found.high > 1  # no error is bound to be 1 at most


def test_rows_may_have_several_elements() -> None:
    predictions, labels = [np.array([1.0, 3.0]), np.array([0.0, 0.0])], ["[0, 0]", np.array([0, 4])]
    assert measure("mae", predictions, labels, root=ROOT).tolist() == [2.0, 2.0]  # type: ignore[union-attr]
    assert measure("rmse", predictions, labels, root=ROOT).tolist() == [5.0, 8.0]  # type: ignore[union-attr]


def test_cosine_to_a_reference() -> None:
    predictions = [np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([0.0, 0.0]), np.array([-2.0, 0.0])]
    values = measure("cosine", predictions, ["[3, 0]", "[0, 2]", "[1, 0]", "[1, 0]"], root=ROOT)
    assert pytest.approx([1, 0.5**0.5, 0, -1]) == values


def test_labels_of_text_are_numbers() -> None:
    assert measure("mae", [1.0, 2], ["1.5", b"1"], root=ROOT).tolist() == [0.5, 1.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([1.0, 2.0], ["1", "two"], "row 2: the label is 'two'; mae needs numbers"),
        ([1.0, None], ["1", "2"], "row 2: the prediction is None; mae needs finite numbers"),
        ([1.0, float("nan")], ["1", "2"], "row 2: the prediction is nan; mae needs finite numbers"),
        ([1.0, np.zeros(2)], ["1", "2"], "row 2: the prediction has 2 elements, the label 1"),
        ([1.0], ["1", "2"], "1 predictions for 2 labels"),
    ],
)
def test_what_has_no_error_is_named(predictions: list[Any], labels: list[Any], message: str) -> None:
    with pytest.raises(JudgeError, match=message):
        figure("mae", predictions, labels, root=ROOT)


def test_one_row_has_no_spread() -> None:
    for metric in ("mae", "rmse", "cosine"):
        with pytest.raises(TooFewError, match="at least 2"):
            figure(metric, [1.0], [1.0], root=ROOT)
        with pytest.raises(EmptySampleError):
            figure(metric, [], [], root=ROOT)


def test_identical_errors_have_an_interval_of_no_width() -> None:
    found = figure("rmse", [2.0, 2.0, 2.0], [0.0, 0.0, 0.0], root=ROOT)
    assert (found.estimate, found.low, found.high) == (2.0, 2.0, 2.0)


METRICS = """
def overlap(predictions, labels):
    return [len(set(p.split()) & set(t.split())) / len(set(t.split())) for p, t in zip(predictions, labels)]
def exact(predictions, labels):
    return [p == t for p, t in zip(predictions, labels)]
def short(predictions, labels):
    return [1.0]
def words(predictions, labels):
    return ["a"] * len(labels)
def nan(predictions, labels):
    return [0.0, float("nan")]
def fails(predictions, labels):
    raise ValueError("no")
"""


def test_a_function_returns_one_value_a_row(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(METRICS)
    predictions, labels = ["a b", "c"], ["a", "c d"]
    assert measure("m.py:overlap", predictions, labels, root=tmp_path).tolist() == [1.0, 0.5]  # type: ignore[union-attr]
    assert figure("m:overlap", predictions, labels, root=tmp_path).estimate == 0.75
    share = figure("m:exact", ["a"] * 9, ["a"] * 9, root=tmp_path)
    assert (share.estimate, share.high) == (1.0, 1.0)
    assert pytest.approx(0.025 ** (1 / 9)) == share.low  # Clopper-Pearson, all right


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("m:short", r"m:short returned values of the shape \[1\]; expected one for each of 2 rows"),
        ("m:words", "m:words returned list; expected one number for each row"),
        ("m:nan", "row 2: m:nan returned nan; expected a finite number"),
        ("m:fails", "m:fails raised ValueError: no"),
        ("m:none", "has no attribute 'none'"),
        ("acuracy", "unknown metric 'acuracy'; did you mean 'accuracy'"),
    ],
)
def test_a_function_that_returns_something_else(tmp_path: Path, metric: str, message: str) -> None:
    (tmp_path / "m.py").write_text(METRICS)
    with pytest.raises(JudgeError, match=message):
        figure(metric, ["a", "b"], ["a", "b"], root=tmp_path)


def test_which_way_is_better() -> None:
    assert [smaller_is_better(metric) for metric in ("f1", "mae", "rmse")] == [False, True, True]
