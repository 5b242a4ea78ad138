"""Rows of a data file as inputs of requests."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trivet.errors import SpecError
from trivet.spec.data import column_names, input_rows, read_columns
from trivet.spec.fields import FieldError
from trivet.spec.service import Data
from trivet.spec.signature import Signature, TensorSpec


def csv(folder: Path, text: str) -> Path:
    (folder / "d.csv").write_text(text)
    return folder / "d.csv"


def signature(*inputs: TensorSpec, batch_axis: bool = True) -> Signature:
    return Signature(inputs=inputs, outputs=(), batch_axis=batch_axis)


def test_a_csv_has_named_columns_of_text(tmp_path: Path) -> None:
    path = csv(tmp_path, '\ufefftext,n\n"a, ""b""",1\n\n c ,2\nd,3\n')
    assert column_names(path) == ("text", "n")
    assert read_columns(path, ["n", "text"], 2) == {"n": ["1", "2"], "text": ['a, "b"', " c "]}


def test_a_parquet_file_has_typed_columns(tmp_path: Path) -> None:
    table = pa.table({"ids": [[1, 2], [3]], "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "d.parquet")
    assert column_names(tmp_path / "d.parquet") == ("ids", "label")
    assert read_columns(tmp_path / "d.parquet", ["ids"], 1) == {"ids": [[1, 2]]}
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    assert read_columns(tmp_path / "empty.parquet", None, 5) == {"ids": [], "label": []}


def test_an_npz_file_has_arrays_of_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(6).reshape(3, 2), y=np.array([0, 1, 0]))
    columns = read_columns(tmp_path / "d.npz", None, 2)
    assert list(columns) == ["x", "y"]
    assert [row.tolist() for row in columns["x"]] == [[0, 1], [2, 3]]


def test_a_folder_of_folders_has_files_and_labels(tmp_path: Path) -> None:
    for name in ("dog/1.jpg", "cat/2.jpg", "cat/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "README").touch()
    assert read_columns(tmp_path, None, 9) == {
        "file": [b"cat/1.jpg", b"cat/2.jpg", b"dog/1.jpg"],
        "label": ["cat", "cat", "dog"],
    }


def test_rows_become_inputs_of_one_request_each(tmp_path: Path) -> None:
    csv(tmp_path, "a,b,text\n1,2.5,one\n3,4,two\n")
    data = Data(path="d.csv", columns={"x": ("a", "b"), "t": "text"})
    rows = input_rows(
        data, tmp_path, signature(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "BYTES", (-1, 1))), 10
    )
    assert [row["x"].tolist() for row in rows] == [[[1.0, 2.5]], [[3.0, 4.0]]]
    assert [row["t"].tolist() for row in rows] == [[[b"one"]], [[b"two"]]]
    assert rows[0]["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("value", "datatype", "shape", "batch_axis", "expected"),
    [
        ([1, 2, 3], "INT64", (-1, -1), True, [[1, 2, 3]]),
        ([1, 2, 3], "INT64", (-1,), False, [1, 2, 3]),
        ([[1, 2], [3, 4]], "FP32", (-1, 2, -1), True, [[[1, 2], [3, 4]]]),
        (7, "INT32", (1,), False, [7]),
        (7, "INT32", (-1,), True, [7]),
        (2**63 + 1, "UINT64", (-1, 1), True, [[2**63 + 1]]),
        (True, "BOOL", (-1, 1), True, [[True]]),
        (1.5, "BF16", (-1, 1), True, [[0x3FC0]]),
        ("text", "BYTES", (-1, 1), True, [[b"text"]]),
        (["a", "b"], "BYTES", (-1, 2), True, [[b"a", b"b"]]),
        (b"\x01\x02", "UINT8", (-1, -1), True, [[1, 2]]),
        (b"\x01\x02", "FP32", (-1, -1), True, [[1.0, 2.0]]),
    ],
)
def test_a_cell_takes_the_datatype_and_shape_of_its_input(
    tmp_path: Path, value: Any, datatype: str, shape: tuple[int, ...], batch_axis: bool, expected: list[Any]
) -> None:
    column = pa.array([value], pa.uint64() if datatype == "UINT64" else None)
    pq.write_table(pa.table({"x": column}), tmp_path / "d.parquet")
    spec = TensorSpec("x", datatype, shape)
    (row,) = input_rows(
        Data(path="d.parquet", columns={"x": "x"}), tmp_path, signature(spec, batch_axis=batch_axis), 5
    )
    assert expected == row["x"].tolist()


@pytest.mark.parametrize(
    ("cell", "datatype", "expected"),
    [
        ("true", "BOOL", True),
        ("0", "BOOL", False),
        ("9007199254740993", "INT64", 2**53 + 1),
        ("1e3", "INT32", 1000),
    ],
)
def test_text_is_read_as_the_number_that_is_wanted(
    tmp_path: Path, cell: str, datatype: str, expected: object
) -> None:
    csv(tmp_path, f"x\n{cell}\n")
    data = Data(path="d.csv", columns={"x": "x"})
    (row,) = input_rows(data, tmp_path, signature(TensorSpec("x", datatype, (-1, 1))), 5)
    assert [[expected]] == row["x"].tolist()


@pytest.mark.parametrize(
    ("cell", "datatype", "shape", "message"),
    [
        (
            "dog",
            "FP32",
            (-1, 1),
            "x: row 1 does not fit FP32 [-1, 1]: could not convert string to float: 'dog'",
        ),
        ("1.5", "INT32", (-1, 1), "1.5 is not exact in INT32"),
        ("300", "UINT8", (-1, 1), "300 is not exact in UINT8"),
        ("-1", "UINT8", (-1, 1), "-1 is not exact in UINT8"),
        ("nan", "INT8", (-1, 1), "nan is not exact in INT8"),
        ("2", "BOOL", (-1, 1), "2.0 is not exact in BOOL"),
        ("1", "FP32", (-1, 3), "cannot reshape array of size 1 into shape (1,3)"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_row(
    tmp_path: Path, cell: str, datatype: str, shape: tuple[int, ...], message: str
) -> None:
    csv(tmp_path, f"x\n{cell}\n")
    with pytest.raises(FieldError) as caught:
        input_rows(
            Data(path="d.csv", columns={"x": "x"}), tmp_path, signature(TensorSpec("x", datatype, shape)), 5
        )
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"z": "a"}, "data.columns.z: the model has no input 'z'; known: x"),
        ({}, "data.columns: no column feeds the input 'x'"),
        ({"x": "A"}, "no column 'A'; did you mean 'a'?"),
    ],
)
def test_columns_and_inputs_must_exist(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    csv(tmp_path, "a\n1\n")
    with pytest.raises(FieldError) as caught:
        input_rows(
            Data(path="d.csv", columns=columns), tmp_path, signature(TensorSpec("x", "FP32", (-1, 1))), 5
        )
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.txt", b"", r"expected a \.csv, \.parquet or \.npz file or a folder"),
        ("d.csv", b"", "the file is empty"),
        ("d.csv", b"a,b\n1\n", "row 1 has 1 cells; the header has 2"),
        ("d.csv", b"a,a\n1,2\n", "column 'a' is there twice"),
        ("d.csv", b"a\n\xff\n", "not UTF-8 text"),
        ("d.csv", b'a\n"x', "not valid CSV"),
        ("d.parquet", b"PAR1", "not a Parquet file"),
        ("d.npz", b"PK", "not an npz file"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=message):
        read_columns(tmp_path / name, None, 5)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SpecError, match="not an npz file of plain arrays"):
        read_columns(tmp_path / "d.npz", None, 5)


@pytest.mark.parametrize(("datatype", "cells"), [("BYTES", ["a", None]), ("INT64", [1, None])])
def test_a_missing_cell_is_no_value(tmp_path: Path, datatype: str, cells: list[Any]) -> None:
    pq.write_table(pa.table({"x": cells}), tmp_path / "d.parquet")
    data = Data(path="d.parquet", columns={"x": "x"})
    with pytest.raises(FieldError, match=r"data.columns.x: row 2 does not fit"):
        input_rows(data, tmp_path, signature(TensorSpec("x", datatype, (-1, 1))), 5)


def test_a_missing_float_is_nan(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [None, 1.5]}), tmp_path / "d.parquet")
    data = Data(path="d.parquet", columns={"x": "x"})
    rows = input_rows(data, tmp_path, signature(TensorSpec("x", "FP32", (-1, 1))), 5)
    np.testing.assert_array_equal([[np.nan], [1.5]], [row["x"][0] for row in rows])


def test_a_single_value_is_no_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.float32(1))
    with pytest.raises(SpecError, match="array 'x' is a single value"):
        read_columns(tmp_path / "d.npz", None, 5)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SpecError, match=r"none\.csv: cannot be read: No such file"):
        column_names(Path("none.csv"))
