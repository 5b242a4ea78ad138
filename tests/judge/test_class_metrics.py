"""Accuracy, F1 and AUC against the formulas as slow loops; intervals against exact laws."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import ExtraMissingError
from trivet.judge.errors import JudgeError
from trivet.judge.metric import Rows, figure, measure
from trivet.stats.errors import EmptySampleError

ROOT = Path()
CLASSES = st.sampled_from("abcd")
ROWS = st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=40)


def f1_of(name: str, predictions: list[str], labels: list[str]) -> float:
    tp = sum(p == name == t for p, t in zip(predictions, labels, strict=True))
    fp = sum(p == name != t for p, t in zip(predictions, labels, strict=True))
    fn = sum(t == name != p for p, t in zip(predictions, labels, strict=True))
    return 2 * tp / (2 * tp + fp + fn)


@given(ROWS)
def test_accuracy_is_the_share_that_is_right(rows: list[tuple[str, str]]) -> None:
    predictions, labels = (list(column) for column in zip(*rows, strict=True))
    found = figure("accuracy", predictions, labels, root=ROOT, classes="abcd")
    right = [float(p == t) for p, t in rows]
    assert right == measure("accuracy", predictions, labels, root=ROOT, classes="abcd").tolist()  # type: ignore[union-attr]
    assert pytest.approx(sum(right) / len(right)) == found.estimate
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_the_interval_of_accuracy_is_the_exact_one() -> None:
    """Clopper-Pearson by its definition: the tail of the binomial at each limit is 2.5 %."""
    n, k = 12, 9
    found = figure("accuracy", ["a"] * n, ["a"] * k + ["b"] * (n - k), root=ROOT, classes="ab")

    def tail(p: float, counts: range) -> float:
        return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in counts)

    assert pytest.approx(0.025) == tail(found.low, range(k, n + 1))
    assert pytest.approx(0.025) == tail(found.high, range(k + 1))


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auc"])
def test_no_rows_have_no_figure(metric: str) -> None:
    with pytest.raises(EmptySampleError):
        figure(metric, [], [], root=ROOT)


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ExtraMissingError, match=r"the interval of a share needs an extra: .*trivet\[bench\]"):
        figure("accuracy", ["a"], ["a"], root=ROOT)


def test_all_right_is_not_certainty() -> None:
    for metric in ("accuracy", "f1"):
        for classes in ("ab", "abc"):
            found = figure(metric, ["b"] * 20, ["b"] * 20, root=ROOT, classes=classes)
            assert (found.estimate, found.high) == (1.0, 1.0)
            assert found.low < 0.95


@given(ROWS)
def test_f1_of_several_classes_is_the_mean_over_those_that_occur(rows: list[tuple[str, str]]) -> None:
    predictions, labels = (list(column) for column in zip(*rows, strict=True))
    present = sorted({*predictions, *labels})
    expected = sum(f1_of(name, predictions, labels) for name in present) / len(present)
    found = figure("f1", predictions, labels, root=ROOT, classes="abcd")
    assert pytest.approx(expected) == found.estimate
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert measure("f1", predictions, labels, root=ROOT, classes="abcd") is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_f1_of_two_classes_is_that_of_the_positive_one(rows: list[tuple[bool, bool]]) -> None:
    names = ["no", "yes"]
    predictions, labels = ([names[value] for value in column] for column in zip(*rows, strict=True))
    if "yes" not in {*predictions, *labels}:
        with pytest.raises(EmptySampleError, match="no row is 'yes' or was said to be"):
            figure("f1", predictions, labels, root=ROOT, classes=names)
        return
    found = figure("f1", predictions, labels, root=ROOT, classes=names)
    assert pytest.approx(f1_of("yes", predictions, labels)) == found.estimate
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@pytest.mark.parametrize(
    ("metric", "prediction", "label", "classes", "told"),
    [
        ("f1", "a", "b", ("a", "b"), "f1 of 'b'"),
        ("f1", "a", "b", ("a", "b", "c"), "f1, macro over 3 classes"),
        ("auc", 0.1, "b", ("a", "b"), "auc of 'b'"),
        ("auc", 0.1, 1, None, "auc of True"),
        ("mae", 0.1, "1", None, "mae"),
    ],
)
def test_what_was_chosen_is_told(metric: str, prediction: Any, label: Any, classes: Any, told: str) -> None:
    assert told == Rows.of(metric, [prediction], [label], root=ROOT, classes=classes).told


def test_figures_of_some_rows_are_of_the_classes_of_all() -> None:
    """In the last two rows no label is among the predictions: of all rows' classes they are misses, not strangers."""
    rows = Rows.of("f1", ["a", "b", "a", "b"], ["a", "b", "c", "c"], root=ROOT, classes=None)
    assert rows.figure([2, 3], confidence=0.95, seed=0).estimate == 0
    assert rows.figure([0, 1], confidence=0.95, seed=0).estimate == 1


def test_a_row_without_a_prediction_is_wrong_and_no_class_of_its_own() -> None:
    predictions, labels = ["a", None, "b", "c"], ["a", "a", "b", "c"]
    assert figure("accuracy", predictions, labels, root=ROOT, classes="abc").estimate == 0.75
    # a: 1 hit, 1 miss: 2/3; b and c: 1.
    assert (
        pytest.approx((2 / 3 + 2) / 3) == figure("f1", predictions, labels, root=ROOT, classes="abc").estimate
    )


@pytest.mark.parametrize(
    ("predictions", "labels", "classes"),
    [
        ([0, 2, 1], ["0", "2", "1"], range(3)),
        ([0, 2, 1], [0.0, np.int64(2), "1.0"], range(3)),
        ([True, False], ["true", "0"], (False, True)),
        ([True, False], [1, np.bool_(False)], (False, True)),
        (["3", "x"], [3.0, b"x"], None),
        ([2.0, 1.0], ["2", "1"], None),
        (["a"], [np.array(["a"])], ("a", "b")),
    ],
)
def test_labels_are_read_as_what_decode_gives(
    predictions: list[Any], labels: list[Any], classes: Any
) -> None:
    assert figure("accuracy", predictions, labels, root=ROOT, classes=classes).estimate == 1


@pytest.mark.parametrize(
    ("predictions", "labels", "classes", "message"),
    [
        (
            [0, 1],
            ["cat", "dog"],
            range(2),
            "labels 'cat', 'dog' are not among what decode gives, 0, 1: give `decode.labels`",
        ),
        (["cat"], ["bird"], ["cat", "dog"], "labels 'bird' are not among what decode gives, 'cat', 'dog'"),
        ([0, 1], [0, 7], range(2), "labels 7 are not among what decode gives, 0, 1"),
        (["a", "b"], ["c", "d"], None, "labels 'c', 'd' are not among what decode gives, 'a', 'b'"),
        ([True], ["maybe"], (False, True), "labels 'maybe' are not among what decode gives, False, True"),
        (["a"], [f"c{i}" for i in range(1)], [f"n{i}" for i in range(99)], "'n7' and 91 more"),
        ([0.25], [1], None, "decode gives 0.25, which is no class: declare `decode: threshold`"),
        ([np.zeros(3)], [1], None, r"an array of shape \[3\], which is no class: declare `decode: argmax`"),
        (["a", 1], ["a", "b"], None, "decode gives int, str; classes are all text"),
    ],
)
def test_labels_that_do_not_match_are_told_with_both_sets(
    predictions: list[Any], labels: list[Any], classes: Any, message: str
) -> None:
    predictions = (predictions * len(labels))[: len(labels)]
    with pytest.raises(JudgeError, match=message):
        figure("accuracy", predictions, labels, root=ROOT, classes=classes)


def test_a_class_that_only_labels_have_may_be_missed() -> None:
    """Decode by a function, whose classes nobody declared."""
    assert figure("accuracy", ["a", "b"], ["a", "c"], root=ROOT).estimate == 0.5


SCORES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30)


@given(SCORES)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, labels = ([float(score) for score, _ in rows], [label for _, label in rows])
    above = [score for score, label in zip(scores, labels, strict=True) if label]
    below = [score for score, label in zip(scores, labels, strict=True) if not label]
    if not above or not below:
        with pytest.raises(EmptySampleError, match="so nothing is ranked"):
            figure("auc", scores, labels, root=ROOT)
        return
    expected = sum((a > b) + (a == b) / 2 for a in above for b in below) / (len(above) * len(below))
    found = figure("auc", scores, labels, root=ROOT)
    assert pytest.approx(expected) == found.estimate
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_the_positive_class_of_auc_is_the_second_that_is_declared() -> None:
    scores, labels = [0.1, 0.9], ["spam", "ham"]
    assert figure("auc", scores, labels, root=ROOT, classes=("spam", "ham")).estimate == 1
    assert figure("auc", scores, labels, root=ROOT, classes=("ham", "spam")).estimate == 0
    with pytest.raises(JudgeError, match="labels 'spam', 'ham' are not among what decode gives, False, True"):
        figure("auc", scores, labels, root=ROOT)


def test_perfect_order_is_not_certainty() -> None:
    found = figure("auc", [0.0] * 10 + [1.0] * 10, [0] * 10 + [1] * 10, root=ROOT)
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert 0.7 < found.low < 0.95


def test_seeds_decide_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    predictions, labels = rng.choice(list("abc"), 60).tolist(), rng.choice(list("abc"), 60).tolist()
    first, again, other = (
        figure("f1", predictions, labels, root=ROOT, classes="abc", seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize("metric", ["f1", "auc", "rmse"])
def test_bootstrapped_intervals_cover_what_they_promise(metric: str) -> None:
    """100 samples of 60 rows each, from a law whose figure is known from 200,000 rows; fixed seeds."""
    rng = np.random.default_rng(12)

    def sample(num: int) -> tuple[list[Any], list[Any], Any]:
        actual = rng.integers(0, 3 if metric == "f1" else 2, num)
        noisy = actual + rng.normal(0, 0.8, num)
        if metric == "f1":
            return np.clip(np.rint(noisy), 0, 2).astype(int).tolist(), actual.tolist(), range(3)
        return noisy.tolist(), actual.tolist(), None

    def estimate(predictions: list[Any], labels: list[Any], classes: Any) -> Any:
        return figure(metric, predictions, labels, root=ROOT, classes=classes)

    if metric == "rmse":
        truth = 0.8
    elif metric == "auc":
        truth = 0.5 * (1 + math.erf(1 / (0.8 * 2**0.5) / 2**0.5))
    else:
        truth = estimate(*sample(200_000)).estimate
    intervals = [estimate(*sample(60)) for _ in range(100)]
    assert sum(found.low <= truth <= found.high for found in intervals) >= 0.93 * 100
