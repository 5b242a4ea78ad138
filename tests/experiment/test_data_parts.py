"""Rows for fitting, certifying and judging share none."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trivet.engine.onnx import OnnxEngine
from trivet.experiment.data_parts import data_parts, divided, why_no_data
from trivet.spec.service_file import load_configuration

NAMES = ["train", "test", "validation", "", "Other"]


@given(st.lists(st.sampled_from(NAMES), max_size=80), st.booleans(), st.booleans())
def test_no_row_is_in_two_parts_and_none_is_lost(
    splits: list[str], has_column: bool, has_labels: bool
) -> None:
    parts = divided(range(len(splits)), splits if has_column else [], has_labels=has_labels)
    together = [place for part in parts for place in part]
    assert sorted(together) == list(range(len(splits)))
    if not has_labels:
        assert parts[2] == []


def test_a_split_column_decides() -> None:
    splits = ["train"] * 6 + ["TEST"] * 3 + ["val"]
    fitting, certifying, judging = divided(range(10), splits, has_labels=True)
    assert (fitting, certifying, judging) == ([0, 1, 2, 3, 4, 5], [9], [6, 7, 8])


def test_without_one_half_is_for_fitting() -> None:
    fitting, certifying, judging = divided(range(100), [], has_labels=True)
    assert (len(fitting), len(certifying), len(judging)) == (50, 20, 30)


def test_the_same_seed_gives_the_same_parts(service: Path) -> None:
    configuration = load_configuration(service)
    signature = OnnxEngine(configuration.model_path("tiny")).signature
    first, second, other = (data_parts(configuration, signature, seed) for seed in (1, 1, 2))
    assert first.judging == second.judging != other.judging
    assert first.fitting != sorted(first.fitting)
    rows = first.judged_rows(7)
    assert len(rows.inputs) == len(rows.labels) == len(rows.cohorts) == 7
    assert rows.labels[0] == first.rows.labels[first.judging[0]]


def test_what_is_missing_is_named(models: Path, service: Path) -> None:
    assert why_no_data(load_configuration(models / "tiny.onnx")) == "no data is declared"
    assert why_no_data(load_configuration(service)) == ""
