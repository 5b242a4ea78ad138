"""Rows with what is known about them: labels, cohorts, splits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivet.spec.data import labelled_rows
from trivet.spec.fields import FieldError
from trivet.spec.service import Data
from trivet.spec.signature import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 1)),), (), True)
CSV = "x,truth,language,part\n1,a,de,train\n2,b,en,test\n3,a,en,test\n4,b,de,test\n"


def data(path: str = "d.csv", **more: Any) -> Data:
    settings = {"columns": {"x": "x"}, "label": "truth", "cohort": "language", "split": "part"} | more
    return Data(path=path, **settings)


def rows(folder: Path, text: str, wanted: str | None, max_rows: int = 10, **more: Any) -> tuple[Any, ...]:
    (folder / "d.csv").write_text(text)
    found = labelled_rows(data(**more), folder, SIGNATURE, max_rows, wanted)
    return [row["x"].item() for row in found.inputs], found.labels, found.cohorts


def test_all_rows_or_those_of_a_split(tmp_path: Path) -> None:
    assert rows(tmp_path, CSV, None) == ([1, 2, 3, 4], ["a", "b", "a", "b"], ["de", "en", "en", "de"])
    assert rows(tmp_path, CSV, "test", max_rows=2) == ([2, 3], ["b", "a"], ["en", "en"])
    assert rows(tmp_path, CSV, "train", cohort=None) == ([1], ["a"], [])


def test_labels_may_be_vectors(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros(2), truth=np.eye(2), part=np.array([1, 2]))
    found = labelled_rows(data("d.npz", cohort=None), tmp_path, SIGNATURE, 10, "2")
    assert [label.tolist() for label in found.labels] == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "split", "more", "message"),
    [
        (CSV, None, {"label": None}, "data.label: answers are judged by labels"),
        (CSV, "test", {"split": None}, "data.split: no column tells which rows are in the split 'test'"),
        (CSV, "dev", {}, "data.split: d.csv: no row is in the split 'dev'; found: train, test"),
        (CSV, None, {"label": "thruth"}, "no column 'thruth'; did you mean 'truth'"),
        (CSV + "5, ,de,test\n", None, {}, "data.label: d.csv: row 5 has no label"),
        (CSV + "no,a,de,test\n", "test", {}, "data.columns.x: row 5 does not fit FP32"),
        ("x,truth,language,part\n", "test", {}, "no row is in the split 'test'; found: no rows at all"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, text: str, split: str | None, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(FieldError, match=message):
        rows(tmp_path, text, split, **more)


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros(3), truth=np.zeros(2))
    with pytest.raises(FieldError, match=r"d.npz: columns of different lengths: {'x': 3, 'truth': 2}"):
        labelled_rows(data("d.npz", cohort=None, split=None), tmp_path, SIGNATURE, 10)
