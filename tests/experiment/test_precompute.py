"""The batch job: every row is answered as the server would, once, and a job that was broken off goes on."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trivet.errors import SpecError, UserError
from trivet.experiment.precomputing.precompute import Progress, Published, precompute
from trivet.runtime.fronts.answer_table import AnswerTable, TableError, read_answers
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.row_key import RowKeys
from trivet.wire.v2_input import InferInput

# y is x; steps make it a text service that counts letters.
ECHO = Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),), batch_axis=True)
STEPS = """
import numpy as np

def letters(tensors):
    word = tensors["text"][0].decode()
    if word == "bad":
        raise ValueError("a bad word")
    return {"x": np.array([[float(len(word)), 1.0]], np.float32)}

def named(tensors):
    return {"name": np.array([b"n%d" % int(tensors["y"][0, 0])], object)}
"""
TEXTS = """
inputs: [{name: text, datatype: BYTES, shape: [1]}]
outputs: [{name: name, datatype: BYTES, shape: [1]}]
models: {identity: {file: identity.onnx, levers: {execution: inline}}}
pipeline: [{preprocess: "steps.py:letters"}, {model: identity}, {postprocess: "steps.py:named"}]
"""
CREATED = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    (tmp_path / "identity.onnx").write_bytes((models / "fp32.onnx").read_bytes())
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "texts.yaml").write_text(TEXTS)
    (tmp_path / "numbers.yaml").write_text("models: {identity: {file: identity.onnx}}\n")
    return tmp_path


def run(configuration: Configuration, inputs: Path, **changes: Any) -> Published:
    output = inputs.with_name("answers.parquet")
    return precompute(configuration, inputs, output, date=lambda: CREATED, **changes)


def numbers(folder: Path, count: int) -> Path:
    path = folder / "inputs.parquet"
    pq.write_table(
        pa.table({"x": [[float(i), 2.0 * i, 1.0] for i in range(count)], "other": range(count)}), path
    )
    return path


def check_numbers(table: AnswerTable, count: int) -> None:
    keys = RowKeys(ECHO)
    for i in range(count):
        row = np.array([[i, 2 * i, 1]], np.float32)
        found = table.find(keys.of([InferInput(row.shape, row)]))
        assert found is not None
        assert found["y"].tolist() == [[i, 2 * i, 1]]


def test_every_row_of_a_file_is_answered_once(folder: Path) -> None:
    configuration = load_configuration(folder / "numbers.yaml")
    seen: list[Progress] = []
    published = run(configuration, numbers(folder, 50), chunk_rows=16, progress=seen.append)
    assert (published.rows, published.distinct, published.resumed, published.failed) == (50, 50, 0, 0)
    assert [(one.done, one.of) for one in seen] == [(16, 50), (32, 50), (48, 50), (50, 50)]
    table = read_answers(Path(published.table), configuration.hash, ECHO)
    check_numbers(table, 50)
    assert datetime.fromisoformat(table.header.created) == CREATED
    assert not list(folder.glob("*.parts"))


def test_a_job_that_was_broken_off_goes_on_where_it_was(folder: Path) -> None:
    configuration = load_configuration(folder / "numbers.yaml")
    inputs = numbers(folder, 50)

    def break_off(progress: Progress) -> None:
        if progress.done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(configuration, inputs, chunk_rows=16, progress=break_off)
    assert not (folder / "answers.parquet").exists()
    cut = sorted((folder / "answers.parquet.parts").glob("*.parquet"))[0]
    cut.write_bytes(cut.read_bytes()[:40])  # as a crash of the machine may leave it
    published = run(configuration, inputs, chunk_rows=16)
    assert (published.resumed, published.rows) == (16, 50)
    check_numbers(read_answers(Path(published.table), configuration.hash, ECHO), 50)


def test_parts_of_other_inputs_or_another_configuration_are_not_gone_on_with(folder: Path) -> None:
    configuration = load_configuration(folder / "numbers.yaml")

    def break_off(_progress: Progress) -> None:
        raise KeyboardInterrupt

    for count, service in ((40, "numbers.yaml"), (20, "numbers.yaml"), (20, "other.yaml")):
        (folder / "other.yaml").write_text("models: {identity: {file: identity.onnx, batching: 'off'}}\n")
        with pytest.raises(KeyboardInterrupt):
            run(
                load_configuration(folder / service), numbers(folder, count), chunk_rows=8, progress=break_off
            )
    published = run(configuration, numbers(folder, 20), chunk_rows=8)
    assert (published.resumed, published.rows) == (0, 20)
    with pytest.raises(TableError, match="answers of configuration"):
        read_answers(Path(published.table), load_configuration(folder / "other.yaml").hash, ECHO)


def test_a_row_that_fails_is_not_in_the_table_and_is_told(folder: Path) -> None:
    (folder / "words.csv").write_text("text\none\nbad\nthree\nbad\none\n")
    configuration = load_configuration(folder / "texts.yaml")
    published = run(configuration, folder / "words.csv")
    assert (published.rows, published.distinct, published.failed) == (3, 2, 2)
    assert "a bad word" in published.first_error
    service = configuration.service
    assert service.inputs is not None
    assert service.outputs is not None
    signature = Signature(service.inputs, service.outputs)
    table = read_answers(Path(published.table), configuration.hash, signature)
    keys = RowKeys(signature)
    words = [InferInput((1,), np.array([word], object)) for word in (b"one", b"three", b"bad")]
    found = [table.find(keys.of([word])) for word in words]
    assert [one and one["name"].tolist() for one in found] == [[b"n3"], [b"n5"], None]


def test_without_one_answer_there_is_no_table(folder: Path) -> None:
    (folder / "words.csv").write_text("text\nbad\n")
    with pytest.raises(UserError, match=r"no row was answered.*a bad word"):
        run(load_configuration(folder / "texts.yaml"), folder / "words.csv")
    assert not (folder / "answers.parquet").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, "no such file"),
        ("cut.parquet", b"PAR1 and no more", "not a whole Parquet file"),
        ("other.csv", b"y\n1\n", "no column 'x' for the input 'x'"),
        ("empty.csv", b"x\n", "no rows to answer"),
        ("text.csv", b"x\nseven\n", "in the rows from 1 on, row 1 does not fit FP32"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(
    folder: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(SpecError, match=message):
        run(load_configuration(folder / "numbers.yaml"), folder / name)


def test_columns_of_other_names_come_from_the_services_data(folder: Path) -> None:
    (folder / "data.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "data.yaml").write_text(
        "models: {identity: {file: identity.onnx}}\ndata: {path: data.csv, columns: {x: [a, b]}}\n"
    )
    configuration = load_configuration(folder / "data.yaml")
    published = run(configuration, folder / "data.csv")
    table = read_answers(Path(published.table), configuration.hash, ECHO)
    row = np.array([[3, 4]], np.float32)
    found = table.find(RowKeys(ECHO).of([InferInput(row.shape, row)]))
    assert found is not None
    assert found["y"].tolist() == [[3, 4]]
