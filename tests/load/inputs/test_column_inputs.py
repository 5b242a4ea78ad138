"""Inputs from tables, and from nothing at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.load.inputs.columns import plain_rows
from trivet.load.inputs.random_rows import HIGH, LOW, random_rows
from trivet.load.inputs.reading import read_inputs, service_inputs
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.service import Data
from trivet.spec.signature import DATATYPES, Signature, TensorSpec

X = Signature((TensorSpec("x", "FP32", (-1, 2)),), (), True)


def csv(folder: Path, text: str) -> Path:
    (folder / "d.csv").write_text(text)
    return folder / "d.csv"


def test_columns_feed_inputs_by_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(6, dtype=np.float64).reshape(3, 2), other=np.zeros(3))
    rows = read_inputs(tmp_path / "d.npz", X, max_rows=2)
    assert [row["x"].tolist() for row in rows] == [[[0, 1]], [[2, 3]]]
    pq.write_table(pa.table({"x": [[1.0, 2.0]]}), tmp_path / "d.parquet")
    (row,) = read_inputs(tmp_path / "d.parquet", X)
    assert ([[1, 2]], np.float32) == (row["x"].tolist(), row["x"].dtype)


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b\n1,2\n3,4\n")
    rows = read_inputs(path, X, columns={"x": ("b", "a")})
    assert [row["x"].tolist() for row in rows] == [[[2, 1]], [[4, 3]]]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("x\n", {}, "d.csv: has no rows"),
        ("X\n1\n", {}, "d.csv: no column 'x'; did you mean 'X'"),
        (
            "a,b\n1,2\n3,no\n",
            {"x": ("a", "b")},
            "d.csv: columns 'a', 'b' for input 'x': row 2 does not fit FP32",
        ),
        (
            "a\n1\n",
            {"x": "a"},
            "d.csv: column 'a' for input 'x': row 1 does not fit FP32 .-1, 2.: cannot reshape",
        ),
        ("x\n1\n", {"z": "x"}, "d.csv: column 'x' for input 'z': the model has no input 'z'"),
    ],
)
def test_a_table_that_does_not_fit_is_told_with_file_row_and_column(
    tmp_path: Path, text: str, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        read_inputs(csv(tmp_path, text), X, columns=columns)


def test_without_a_model_columns_of_numbers_are_numbers(tmp_path: Path) -> None:
    path = csv(tmp_path, 'text,n,zip,v,mixed\n"a, b",1,01,"[1, 2]",[1]\nc,2.5e1,02,"[3, 4]",x\n')
    first, second = plain_rows(path, 10)
    assert tuple(array.tolist() for array in first.values()) == (b"a, b", 1, b"01", [1, 2], b"[1]")
    assert tuple(array.tolist() for array in second.values()) == (b"c", 25.0, b"02", [3, 4], b"x")


def test_text_that_begins_like_a_list_is_text(tmp_path: Path) -> None:
    rows = plain_rows(csv(tmp_path, "t\n[sic]\n[1\n"), 10)
    assert [row["t"].item() for row in rows] == [b"[sic]", b"[1"]


def test_complex_numbers_are_no_values(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", c=np.zeros(1, np.complex64))
    with pytest.raises(SpecError, match=r"d.npz: row 1, column 'c': values of type complex64"):
        plain_rows(tmp_path / "d.npz", 10)


def test_without_a_model_columns_can_be_renamed(tmp_path: Path) -> None:
    path = csv(tmp_path, "question,id\nwhy,7\n")
    (row,) = read_inputs(path, None, columns={"text": "question"})
    assert {name: array.item() for name, array in row.items()} == {"text": b"why"}
    with pytest.raises(SpecError, match=r"d.csv: no column 'q' for the input 'text'; it has question, id"):
        read_inputs(path, None, columns={"text": "q"})


def test_a_missing_cell_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": ["a", None]}), tmp_path / "d.parquet")
    with pytest.raises(SpecError, match=r"d.parquet: row 2, column 't': no value"):
        plain_rows(tmp_path / "d.parquet", 10)


def test_arrays_of_different_lengths_are_no_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=np.zeros(2), b=np.zeros(3))
    with pytest.raises(SpecError, match=r"columns of different lengths: {'a': 2, 'b': 3}"):
        plain_rows(tmp_path / "d.npz", 10)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no file .*none.csv"):
        read_inputs(tmp_path / "none.csv", X)
    (tmp_path / "d.txt").touch()
    with pytest.raises(
        SpecError, match=r"expected a .json, .csv, .parquet or .npz file or a folder, got 'd.txt'"
    ):
        read_inputs(tmp_path / "d.txt", X)


def test_a_services_own_data(tmp_path: Path) -> None:
    csv(tmp_path, "a,b\n1,2\n")
    data = Data(path="d.csv", columns={"x": ("a", "b")})
    assert [row["x"].tolist() for row in service_inputs(data, tmp_path, X)] == [[[1, 2]]]
    csv(tmp_path, "a,b\n")
    with pytest.raises(SpecError, match=r"d.csv: has no rows"):
        service_inputs(data, tmp_path, X)


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(DATATYPES), st.integers(0, 2**32), st.booleans())
def test_random_rows_have_the_type_and_shape_of_the_input(datatype: str, seed: int, batch_axis: bool) -> None:
    spec = TensorSpec("x", datatype, (-1, 3, -1))
    rows = random_rows(Signature((spec,), (), batch_axis), 2, np.random.default_rng(seed))
    again = random_rows(Signature((spec,), (), batch_axis), 2, np.random.default_rng(seed))
    for row, same in zip(rows, again, strict=True):
        assert ((1, 3, 1), np.dtype(NUMPY_OF_DATATYPE[datatype])) == (row["x"].shape, row["x"].dtype)
        assert row["x"].tolist() == same["x"].tolist()
        if "INT" in datatype:
            assert LOW <= row["x"].min() <= row["x"].max() < HIGH
        if datatype == "BYTES":
            assert all(element.decode().replace(" ", "").isalpha() for element in row["x"].flat)
        if datatype.startswith("FP"):
            assert np.isfinite(row["x"]).all()


def test_free_dimensions_take_the_sizes_that_are_given() -> None:
    signature = Signature((TensorSpec("x", "INT64", (-1, -1)), TensorSpec("y", "FP32", (-1, 4))), (), True)
    rng = np.random.default_rng(0)
    (row,) = random_rows(signature, 1, rng, {"x": (16,)})
    assert (row["x"].shape, row["y"].shape) == ((1, 16), (1, 4))
    with pytest.raises(SpecError, match=r"input 'y': shape \[5\] does not fit the model's \[4\]"):
        random_rows(signature, 1, rng, {"y": (5,)})
    with pytest.raises(SpecError, match="a shape is given for 'z'"):
        random_rows(signature, 1, rng, {"z": (5,)})
