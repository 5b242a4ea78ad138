"""The judge as a whole: a service's declaration, labelled rows, answers as they came."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivet.judge.accuracy import Judgement, judge
from trivet.judge.errors import JudgeError
from trivet.spec.service import Decode, Model, Service

NAMES = ("cat", "dog")


def service(metric: str | None = "accuracy", decode: Decode | None = None, **decode_settings: Any) -> Service:
    decode = decode or Decode(by="argmax", labels=NAMES, **decode_settings)
    return Service(name="s", models={"m": Model(file="m.onnx")}, decode=decode, metric=metric)


def scores(*rows: list[float] | None) -> list[dict[str, np.ndarray] | None]:
    return [None if row is None else {"y": np.array([row], np.float32)} for row in rows]


LABELS = ["cat", "dog", "dog", "cat"]
ANSWERS = scores([0.9, 0.1], [0.2, 0.8], [0.7, 0.3], None)


def judged(
    metric: str | None = "accuracy", answers: Any = ANSWERS, cohorts: Any = (), **more: Any
) -> Judgement:
    return judge(service(metric), Path(), LABELS, cohorts, answers, **more)


def test_answers_are_judged_and_failures_counted_apart() -> None:
    found = judged()
    assert (found.overall.estimate, found.num, found.failures) == (2 / 3, 3, 1)
    assert found.predictions == ["cat", "dog", "cat", None]
    assert found.values is not None
    np.testing.assert_array_equal([1, 1, 0, np.nan], found.values)
    assert (found.told, found.smaller_is_better) == ("accuracy", False)


def test_cohorts_have_figures_of_their_own() -> None:
    found = judged(cohorts=["en", "de", "de", "fr"])
    assert {name: figure.estimate for name, figure in found.by_cohort.items()} == {"en": 1.0, "de": 0.5}
    assert found.no_figure == {}


def test_a_cohort_that_is_too_small_says_so() -> None:
    found = judged("f1", cohorts=["en", "de", "de", "fr"])
    assert found.told == "f1 of 'dog'"
    assert ({"de"}, {"en": "no row is 'dog' or was said to be, so there is no F1"}) == (
        set(found.by_cohort),
        found.no_figure,
    )
    assert found.values is None


def test_auc_ranks_by_the_second_score() -> None:
    found = judged("auc")
    assert (found.overall.estimate, found.told) == (1.0, "auc of 'dog'")


def test_calibration_comes_with_what_was_assumed() -> None:
    found = judged().calibration
    assert found is not None
    # Confidence 0.9, 0.8, 0.7 against 2 of 3 right, in one bin.
    assert pytest.approx(0.8 - 2 / 3, abs=1e-6) == found.error.estimate
    assert found.assumed.startswith("outputs are probabilities")


def test_calibration_of_a_threshold_is_that_of_yes() -> None:
    declared = service(decode=Decode(by="threshold", threshold=0.3, labels=NAMES))
    found = judge(declared, Path(), LABELS, [], scores([0.1], [0.4], [0.2], [0.1]))
    assert found.overall.estimate == 0.75
    assert found.calibration is not None
    assert pytest.approx(abs(0.2 - 0.5)) == found.calibration.error.estimate


def test_where_there_are_no_scores_there_is_no_calibration() -> None:
    texts = [{"y": np.array([[text]], object)} for text in (b"cat", b"dog", b"dog", b"dog")]
    found = judge(service(decode=Decode(by="identity")), Path(), LABELS, [], texts)
    assert (found.overall.estimate, found.calibration) == (0.75, None)
    broken = scores([0.9, 0.1], [0.2, 0.8], [float("nan"), 0.3], [1, 0])
    found = judged(answers=broken)
    assert (found.overall.estimate, found.calibration) == (0.75, None)
    assert found.predictions[2] is None


def test_errors_of_numbers() -> None:
    declared = service("mae", Decode(by="identity"))
    found = judge(declared, Path(), ["1", "2", "3"], ["a", "a", "b"], scores([1.5], [2], [4]))
    assert (found.overall.estimate, found.smaller_is_better, found.calibration) == (0.5, True, None)
    assert found.no_figure == {
        "b": "one row has no spread, so its figure has no interval; at least 2 are needed"
    }


def test_auc_by_a_score_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "def margin(row):\n    return row[1] - row[0]\ndef word(row):\n    return 'x'\n"
    )
    declared = service("auc", Decode(by="m:margin", labels=NAMES))
    assert judge(declared, tmp_path, LABELS, [], ANSWERS).overall.estimate == 1
    with pytest.raises(JudgeError, match="row 1: m:word gives 'x'; auc ranks rows by a number"):
        judge(service("auc", Decode(by="m:word", labels=NAMES)), tmp_path, LABELS, [], ANSWERS)


def test_positions_are_judged_without_names() -> None:
    found = judge(service(decode=Decode(by="argmax")), Path(), ["0", "1", "1", "0"], [], ANSWERS)
    assert (found.overall.estimate, found.calibration_error is None) == (2 / 3, False)
    assert found.predictions[:2] == [0, 1]
    with pytest.raises(JudgeError, match="labels '2' are not among what decode gives, 0, 1"):
        judge(service(decode=Decode(by="argmax")), Path(), ["2"], [], ANSWERS[:1])


def test_a_users_metric_is_called_once(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "calls = []\ndef f(predictions, labels):\n"
        "    calls.append(1)\n    return [len(calls) * (p == t) for p, t in zip(predictions, labels)]\n"
    )
    found = judge(service("m:f"), tmp_path, LABELS, ["a", "b", "b", "b"], ANSWERS)
    assert {name: figure.estimate for name, figure in found.by_cohort.items()} == {"a": 1.0, "b": 0.5}


@pytest.mark.parametrize(
    ("metric", "answers", "cohorts", "message"),
    [
        (None, ANSWERS, (), "service 's' declares no metric; add `metric:`"),
        ("accuracy", scores(None, None, None, None), (), "none of 4 rows was answered"),
        ("accuracy", ANSWERS[:3], (), "3 answers and 0 cohorts for 4 labels"),
        ("accuracy", ANSWERS, ["a"], "4 answers and 1 cohorts for 4 labels"),
        ("accuracy", scores([1, 2], [1, 2, 3], None, None), (), "row 2: the output has 3 scores"),
        ("mae", ANSWERS, (), "row 1: the prediction is 'cat'; mae needs numbers"),
        ("mae", scores(None, [0, 1], None, None), (), "row 2: the prediction is 'dog'; mae needs numbers"),
        ("auc", scores([1, 0], None, None, [1, 0]), (), "auc of 'dog': no row is positive"),
    ],
)
def test_what_cannot_be_judged_is_told(metric: str | None, answers: Any, cohorts: Any, message: str) -> None:
    with pytest.raises(JudgeError, match=message):
        judged(metric, answers, cohorts)


def test_labels_of_another_vocabulary() -> None:
    with pytest.raises(JudgeError, match="labels 'Katze' are not among what decode gives, 'cat', 'dog'"):
        judge(service(), Path(), ["Katze"], [], ANSWERS[:1])
