"""`accuracy_drop`: how much worse answers may get, judged on the same rows."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.tune.studies import goal, share, study, trial
from trivet.catalog.records import Figure
from trivet.errors import SpecError
from trivet.experiment.variants.variant_verdict import verdict
from trivet.spec.accuracy_drop import drop_in_words, parse_drop
from trivet.spec.service_file import load_configuration
from trivet.spec.yaml_text import service_yaml
from trivet.tune.goals import floor_standing, goal_of
from trivet.tune.recommending.promises import checks
from trivet.tune.recommending.recommend import recommend


def difference(estimate: float, low: float, high: float) -> Figure:
    return Figure(estimate=estimate, low=low, high=high, unit="accuracy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2 points", 0.02), ("0.5 points", 0.005), ("1 point", 0.01), (0.03, 0.03), (0, 0.0)],
)
def test_points_are_hundredths(text: Any, expected: float) -> None:
    assert parse_drop(text) == expected


@pytest.mark.parametrize("wrong", ["2%", "two points", "", -0.1, True, None, "9" * 100, float("inf")])
def test_what_is_no_difference_is_refused(wrong: Any) -> None:
    with pytest.raises(SpecError, match=r"points|worse by 0"):
        parse_drop(wrong)


def test_it_is_part_of_the_service_file_and_not_of_the_hash(models: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    text = (
        "models: {m: {file: m.onnx}}\nmetric: accuracy\ndata: {path: rows.csv, columns: {x: x}, label: y}\n"
    )
    path = tmp_path / "service.yaml"
    path.write_text(text)
    plain = load_configuration(path)
    path.write_text(text + "slo: {accuracy_drop: 2 points}\n")
    found = load_configuration(path)
    assert found.service.slo.most_drop == 0.02
    assert found.hash == plain.hash
    assert goal_of(found.service, None, 1).accuracy_drop == 0.02
    path.write_text(service_yaml(found.service))
    assert load_configuration(path).service.slo == found.service.slo
    path.write_text(text + "slo: {accuracy_drop: 2%}\n")
    with pytest.raises(SpecError, match="2 points"):
        load_configuration(path)
    path.write_text("models: {m: {file: m.onnx}}\nslo: {accuracy_drop: 2 points}\n")
    with pytest.raises(SpecError, match="add `data:`"):
        load_configuration(path)


@pytest.mark.parametrize(
    ("figure", "metric", "expected"),
    [
        (difference(-0.01, -0.018, 0.0), "accuracy", 2),
        (difference(-0.01, -0.03, 0.0), "accuracy", 1),
        (difference(-0.05, -0.07, -0.03), "accuracy", 0),
        (None, "accuracy", 1),
        (difference(0.01, 0.0, 0.015), "mae", 2),
        (difference(0.05, 0.03, 0.07), "mae", 0),
    ],
)
def test_the_whole_interval_of_the_difference_decides(
    figure: Figure | None, metric: str, expected: int
) -> None:
    aim = goal(accuracy_drop=0.02, metric=metric)
    assert floor_standing(None, aim, answers_change=True, difference=figure) == expected
    assert floor_standing(None, aim, answers_change=False) == 2
    figures = {} if figure is None else {"accuracy_difference": figure}
    (found,) = (one for one in checks(figures, aim, answers_change=True) if one.name == "accuracy drop")
    assert found.is_met == (expected == 2)
    assert found.is_met or found.words


def test_with_a_floor_beside_it_both_have_to_be_kept() -> None:
    aim = goal(accuracy_drop=0.02, accuracy_floor=0.95)
    fine = difference(-0.01, -0.018, 0.0)
    assert floor_standing(share(0.97), aim, answers_change=True, difference=fine) == 2
    assert floor_standing(share(0.90), aim, answers_change=True, difference=fine) == 0


def test_a_faster_variant_within_the_drop_is_recommended_and_one_beyond_is_not() -> None:
    """As accurate for all that 300 rows can tell alone, and told apart on the same rows."""
    trials = [
        trial(0, 100, accuracy=share(0.95, 0.03), stage="default"),
        _with_difference(
            trial(1, 200, accuracy=share(0.94, 0.03), variant="int8"), difference(-0.01, -0.018, -0.002)
        ),
        _with_difference(
            trial(2, 400, accuracy=share(0.91, 0.03), variant="student"), difference(-0.04, -0.06, -0.025)
        ),
    ]
    found = recommend(study(trials, goal(accuracy_drop=0.02)))
    assert (found.trial, found.meets) == (1, True)
    assert recommend(study(trials, goal(accuracy_floor=0.93))).trial == 0


def _with_difference(one: Any, figure: Figure) -> Any:
    return msgspec.structs.replace(one, measured={**one.measured, "accuracy_difference": figure})


def test_a_variant_that_loses_more_is_not_searched() -> None:
    found = verdict(
        None,
        accuracy=share(0.9),
        difference=difference(-0.05, -0.07, -0.03),
        floor=None,
        drop=0.02,
        answers_change=True,
        smaller_is_better=False,
    )
    assert (found.word, found.in_search) == ("worse", False)
    assert f"loses more than the {drop_in_words(0.02)}" in found.reason
