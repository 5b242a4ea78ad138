"""The file of precomputed answers: what was written is found again, and nothing else is ever given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.runtime.fronts.answer_table import (
    AnswersHeader,
    AnswerTable,
    TableError,
    answers_table,
    publish,
    read_answers,
)
from trivet.runtime.fronts.key_index import KeyIndex
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.row_key import RowKeys
from trivet.wire.tensor import pack
from trivet.wire.v2_input import InferInput

CONFIGURATION = "c" * 64
EXACT = settings(deadline=None, derandomize=True, max_examples=60)
TEXT_AND_NUMBERS = Signature(
    (TensorSpec("text", "BYTES", (-1, -1)), TensorSpec("x", "FP32", (-1, 2))),
    (TensorSpec("label", "BYTES", (-1, 1)), TensorSpec("scores", "FP32", (-1, -1))),
    batch_axis=True,
)


def header(num_rows: int, **changes: Any) -> AnswersHeader:
    fields: dict[str, Any] = {"configuration": CONFIGURATION, "created": "2026-01-01T00:00:00+00:00"}
    return AnswersHeader(**(fields | {"num_rows": num_rows} | changes))


def write(path: Path, keys: list[bytes], rows: list[dict[str, Any]], **changes: Any) -> Path:
    publish(answers_table(keys, rows, TEXT_AND_NUMBERS), header(len(rows), **changes), path)
    return path


def read(path: Path) -> AnswerTable:
    return read_answers(path, CONFIGURATION, TEXT_AND_NUMBERS)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def answer(label: bytes, *scores: float) -> dict[str, Any]:
    return {"label": np.array([label], object), "scores": np.array(scores, np.float32)}


@EXACT
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 45))
def test_the_index_finds_the_last_of_equal_keys_and_no_others(numbers: list[int], wanted: int) -> None:
    # Small numbers share their first eight bytes, the shifted ones do not.
    for shift in (0, 80):
        index = KeyIndex(b"".join(key(number << shift) for number in numbers))
        places = {number: place for place, number in enumerate(numbers)}
        assert index.find(key(wanted << shift)) == places.get(wanted, -1)
        assert len(index) == len(numbers)


def test_answers_are_found_by_their_keys_with_shapes_of_their_own(tmp_path: Path) -> None:
    rows = [answer(b"a", 1, 2, 3), answer(b"", 4), answer("ü".encode(), 5)]
    table = read(write(tmp_path / "t.parquet", [key(1), key(2), key(3)], rows))
    assert (len(table), table.header.configuration) == (3, CONFIGURATION)
    one = table.find([key(1)])
    assert one is not None
    assert one["label"].tolist() == [[b"a"]]
    assert (one["scores"].tolist(), one["scores"].dtype) == ([[1, 2, 3]], np.float32)
    two = table.find([key(3), key(2)])
    assert two is not None
    assert (two["label"].tolist(), two["scores"].tolist()) == ([["ü".encode()], [b""]], [[5], [4]])


def test_rows_that_are_not_all_there_or_do_not_fit_together_are_no_answer(tmp_path: Path) -> None:
    table = read(write(tmp_path / "t.parquet", [key(1), key(2)], [answer(b"a", 1, 2), answer(b"b", 3)]))
    assert table.find([key(1), key(9)]) is None
    assert table.find([key(1), key(2)]) is None  # two scores and one
    assert table.find([key(2), key(2)]) is not None


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT64", "FP16", "BF16", "FP64"])
def test_every_datatype_comes_back_as_it_was(tmp_path: Path, datatype: str) -> None:
    from trivet.spec.dtypes import NUMPY_OF_DATATYPE

    signature = Signature((), (TensorSpec("y", datatype, (2, 2)),))
    values = np.array([[0, 1], [1, 3]]).astype(NUMPY_OF_DATATYPE[datatype])
    publish(answers_table([key(5)], [{"y": values}], signature), header(1), tmp_path / "t.parquet")
    found = read_answers(tmp_path / "t.parquet", CONFIGURATION, signature).find([key(5)])
    assert found is not None
    assert found["y"].dtype == values.dtype
    np.testing.assert_array_equal(found["y"], values)


def test_a_table_that_is_cut_off_anywhere_is_unreadable(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.parquet", [key(i) for i in range(50)], [answer(b"a", i) for i in range(50)])
    content = whole.read_bytes()
    cut = tmp_path / "cut.parquet"
    for size in range(0, len(content), 97):
        cut.write_bytes(content[:size])
        with pytest.raises(TableError) as caught:
            read(cut)
        assert caught.value.reason == "unreadable"


def test_a_page_with_a_flipped_bit_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", [key(i) for i in range(50)], [answer(b"a", i) for i in range(50)])
    content = bytearray(path.read_bytes())
    content[60] ^= 0x10  # inside the first column's page: its keys
    path.write_bytes(content)
    with pytest.raises(TableError, match="not a whole answer table") as caught:
        read(path)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"configuration": "d" * 64},
            "answers of configuration dddddddddddd; this is cccccccccccc: run trivet",
        ),
        ({"format": 2}, "its format is 2; this version reads 1: run trivet precompute again"),
    ],
)
def test_a_table_of_something_else_is_a_mismatch(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "t.parquet", [key(1)], [answer(b"a", 1)], **changes)
    with pytest.raises(TableError, match=message) as caught:
        read(path)
    assert caught.value.reason == "mismatch"


def test_a_file_that_is_not_there_or_is_another_parquet_file_is_told_apart(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(TableError, match="no such file; write it with trivet precompute") as caught:
        read(tmp_path / "none.parquet")
    assert caught.value.reason == "missing"
    pq.write_table(pa.table({"key": [1]}), tmp_path / "other.parquet")
    with pytest.raises(TableError, match="no answer table of trivet precompute") as caught:
        read(tmp_path / "other.parquet")
    assert caught.value.reason == "mismatch"


def test_nothing_is_left_beside_a_published_table(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [key(1)], [answer(b"a", 1)])
    write(tmp_path / "t.parquet", [key(2)], [answer(b"b", 1)])
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    assert read(tmp_path / "t.parquet").find([key(1)]) is None


def text_and_numbers(texts: list[list[bytes]], numbers: list[list[float]]) -> list[InferInput]:
    array = np.array(texts, object)
    packed = pack("FP32", [value for row in numbers for value in row])
    return [InferInput(array.shape, array.reshape(-1)), InferInput((len(numbers), 2), packed)]


def test_a_rows_key_is_the_same_alone_and_among_others_and_from_an_array() -> None:
    keys = RowKeys(TEXT_AND_NUMBERS)
    both = keys.of(text_and_numbers([[b"a", b"bc"], [b"ab", b"c"]], [[1, 2], [1, 2]]))
    assert both[0] != both[1]  # where one element ends counts
    assert keys.of(text_and_numbers([[b"ab", b"c"]], [[1, 2]])) == both[1:]
    arrays = [
        InferInput((1, 2), np.array([[b"ab", b"c"]], object)),
        InferInput((1, 2), np.array([[1, 2]], np.float32)),
    ]
    assert keys.of(arrays) == both[1:]


WORDS = st.lists(st.lists(st.binary(max_size=3), min_size=2, max_size=2), min_size=1, max_size=4)


@EXACT
@given(WORDS)
def test_rows_have_equal_keys_only_where_their_inputs_are_equal(texts: list[list[bytes]]) -> None:
    keys = RowKeys(TEXT_AND_NUMBERS).of(text_and_numbers(texts, [[0, 0]] * len(texts)))
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            assert (keys[i] == keys[j]) == (one == other)


def test_shapes_are_part_of_the_key() -> None:
    keys = RowKeys(Signature((TensorSpec("x", "FP32", (-1, -1)),), ()))
    data = pack("FP32", [1, 2, 3, 4])
    assert len({keys.of([InferInput(shape, data)])[0] for shape in ((1, 4), (4, 1), (2, 2))}) == 3
