"""Perf Analyzer's files: every form that a request may have there, and what is refused."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivet.errors import SpecError
from trivet.load.inputs.perf_analyzer import (
    folder_row,
    has_payloads,
    json_payloads,
    json_rows,
    plain_json_rows,
)
from trivet.load.inputs.reading import read_inputs
from trivet.spec.signature import Signature, TensorSpec


def signature(datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2), batch_axis: bool = True) -> Signature:
    return Signature((TensorSpec("x", datatype, shape),), (), batch_axis)


def write(folder: Path, content: Any) -> Path:
    path = folder / "d.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    ("value", "datatype", "shape", "expected"),
    [
        ([1, 2.5], "FP32", (-1, 2), [[1, 2.5]]),
        ([[1, 2]], "FP32", (-1, 2), [[1, 2]]),
        ([1, 2, 3], "INT64", (-1, -1), [[1, 2, 3]]),
        ({"content": [1, 2, 3, 4], "shape": [2, 2]}, "INT64", (-1, -1, -1), [[[1, 2], [3, 4]]]),
        ({"content": [1, 2], "shape": [1, 2]}, "INT64", (-1, 2), [[1, 2]]),
        ({"content": [[1, 2]]}, "INT64", (-1, 2), [[1, 2]]),
        (b64(np.array([1, -2], "<i2").tobytes()), "INT16", (-1, -1), [[1, -2]]),
        (
            b64(np.arange(4, dtype="<f4").tobytes()) | {"shape": [2, 2]},
            "FP32",
            (-1, -1, -1),
            [[[0, 1], [2, 3]]],
        ),
        (["a", "ä"], "BYTES", (-1, 2), [[b"a", "ä".encode()]]),
        (b64(b"\x02\0\0\0hi"), "BYTES", (-1, 1), [[b"hi"]]),
        (b64(b"\x01\0\0\0a\0\0\0\0"), "BYTES", (-1, 2), [[b"a", b""]]),
        ([True, False], "BOOL", (-1, 2), [[True, False]]),
        ([0.5], "FP16", (-1, 1), [[0.5]]),
        ([1.5], "BF16", (-1, 1), [[0x3FC0]]),
    ],
)
def test_every_form_of_an_input(
    tmp_path: Path, value: Any, datatype: str, shape: tuple[int, ...], expected: list[Any]
) -> None:
    (row,) = json_rows(write(tmp_path, {"data": [{"x": value}]}), signature(datatype, shape), 10)
    assert expected == row["x"].tolist()


def test_without_a_batch_axis_shapes_are_the_models(tmp_path: Path) -> None:
    path = write(tmp_path, {"data": [{"x": {"content": [1, 2], "shape": [2]}}]})
    (row,) = json_rows(path, signature("FP32", (-1,), batch_axis=False), 10)
    assert row["x"].tolist() == [1, 2]


def test_each_entry_is_a_request_and_validation_data_is_left(tmp_path: Path) -> None:
    path = write(
        tmp_path, {"data": [{"x": [i, i], "model": "m"} for i in range(4)], "validation_data": [{}] * 4}
    )
    assert [row["x"].tolist() for row in json_rows(path, signature(), 3)] == [[[0, 0]], [[1, 1]], [[2, 2]]]


def test_a_shape_from_outside_where_the_file_gives_none(tmp_path: Path) -> None:
    path = write(tmp_path, {"data": [{"x": [1, 2, 3, 4]}, {"x": {"content": [1, 2], "shape": [2, 1]}}]})
    rows = json_rows(path, signature("INT32", (-1, -1, -1)), 10, {"x": (1, 4)})
    assert [row["x"].shape for row in rows] == [(1, 1, 4), (1, 2, 1)]


def test_a_json_file_is_read_with_or_without_a_model(tmp_path: Path) -> None:
    path = write(tmp_path, {"data": [{"x": [1, 2]}, {"x": [3, 4]}]})
    assert [row["x"].tolist() for row in read_inputs(path, signature())] == [[[1, 2]], [[3, 4]]]
    assert [row["x"].tolist() for row in read_inputs(path, None, max_rows=1)] == [[1, 2]]
    with pytest.raises(SpecError, match=r"none.json: cannot be read: No such file"):
        json_payloads(tmp_path / "none.json")


def test_nan_is_a_number_there(tmp_path: Path) -> None:
    (row,) = json_rows(write(tmp_path, '{"data": [{"x": [NaN, -Infinity]}]}'), signature(), 1)
    assert np.isnan(row["x"][0]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "d.json: not JSON"),
        ([], r'expected {"data"'),
        ({"data": []}, "data is empty"),
        ({"data": [[{"x": [1, 2]}]]}, r"data\[0\] is a list: sequences are not supported"),
        ({"data": [{"x": [1, 2]}, 3]}, r"data\[1\] is 3"),
        ({"data": [{"x": [1, 2]}, {}]}, r"data\[1\]: no input 'x'"),
        ({"data": [{"x": [1, 2], "X": [1]}]}, r"data\[0\]: the model has no input 'X'; did you mean 'x'"),
        ({"data": [{"x": [1, 2, 3]}]}, r"data\[0\].x has 3 elements; shape \[1, 2\] needs 2"),
        ({"data": [{"x": 7}]}, r"data\[0\].x is 7; expected a list"),
        ({"data": [{"x": {"shape": [2]}}]}, 'neither "content" nor "b64"'),
        ({"data": [{"x": ["a", "b"]}]}, r"data\[0\].x does not fit FP32: could not convert"),
        ({"data": [{"x": [[1], [2, 3]]}]}, r"data\[0\].x does not fit FP32"),
        ({"data": [{"x": {"content": [1, 2], "shape": [3]}}]}, r"shape \[3\] does not fit the model's \[2\]"),
        ({"data": [{"x": {"content": [1, 2], "shape": "2"}}]}, "expected a list of sizes"),
        ({"data": [{"x": {"b64": "?"}}]}, r"data\[0\].x.b64 is not base64"),
        ({"data": [{"x": b64(b"abc")}]}, "3 bytes of binary data"),
    ],
)
def test_a_bad_file_is_told_with_its_place(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        json_rows(write(tmp_path, content), signature(), 10)


@pytest.mark.parametrize(("value", "datatype"), [([1.5], "INT32"), ([300], "UINT8"), ([2], "BOOL")])
def test_a_value_is_never_changed_to_fit(tmp_path: Path, value: list[Any], datatype: str) -> None:
    with pytest.raises(SpecError, match="is not exact in"):
        json_rows(write(tmp_path, {"data": [{"x": value}]}), signature(datatype, (-1, 1)), 1)


def test_several_free_dimensions_need_a_shape(tmp_path: Path) -> None:
    path = write(tmp_path, {"data": [{"x": [1, 2]}]})
    with pytest.raises(SpecError, match="give its shape, as the model leaves several dimensions free"):
        json_rows(path, signature("FP32", (-1, -1, -1)), 1)
    with pytest.raises(SpecError, match="a shape is given for 'y': the model has no such input"):
        json_rows(path, signature(), 1, {"y": (1,)})


def test_without_a_model_values_are_what_they_are(tmp_path: Path) -> None:
    entry = {"t": ["a"], "n": {"content": [1, 2], "shape": [2, 1]}, "i": b64(b"\xff\0")}
    (row,) = plain_json_rows(write(tmp_path, {"data": [entry]}), 10)
    assert (row["t"].tolist(), row["n"].tolist(), row["i"].item()) == ([b"a"], [[1], [2]], b"\xff\0")


@pytest.mark.parametrize(
    "value", [{"shape": [1]}, None, [None], {"content": [1], "shape": [2]}, {"content": [1], "shape": "x"}]
)
def test_without_a_model_a_value_must_still_be_one(tmp_path: Path, value: Any) -> None:
    with pytest.raises(SpecError, match=r"data\[0\].v: "):
        plain_json_rows(write(tmp_path, {"data": [{"v": value}]}), 10)


def test_whole_bodies(tmp_path: Path) -> None:
    bodies = [{"messages": [{"role": "user", "content": word}]} for word in "ab"]
    path = write(tmp_path, {"data": [{"payload": [body]} for body in bodies]})
    assert has_payloads(path)
    assert bodies == json_payloads(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"x": [1]}, r'expected {"payload"'),
        ({"payload": []}, r'expected {"payload"'),
        ({"payload": [{}, {}]}, "sessions of several requests are not supported"),
        ({"payload": [{}], "session_id": "a"}, "sessions of several requests are not supported"),
    ],
)
def test_sessions_are_refused(tmp_path: Path, entry: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        json_payloads(write(tmp_path, {"data": [entry]}))


def test_a_folder_with_a_file_for_each_input(tmp_path: Path) -> None:
    specs = (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "BYTES", (-1, 2)))
    both = Signature(specs, (), True)
    (tmp_path / "x").write_bytes(np.array([1, 2], "<f4").tobytes())
    (tmp_path / "t").write_bytes("ä\nb\n".encode())
    (row,) = read_inputs(tmp_path, both)
    assert ([[1, 2]], [["ä".encode(), b"b"]]) == (row["x"].tolist(), row["t"].tolist())
    (tmp_path / "x").write_bytes(b"123")
    with pytest.raises(SpecError, match=r"/x: input 'x': 3 bytes"):
        folder_row(tmp_path, both)
    (tmp_path / "x").unlink()
    with pytest.raises(SpecError, match="no file for the input 'x'; known: t"):
        folder_row(tmp_path, both)
    with pytest.raises(SpecError, match="needs a model that tells its inputs"):
        read_inputs(tmp_path, None)
