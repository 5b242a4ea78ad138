"""A student takes a model's place: the same inputs and outputs, and nearly the same answers."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.variants.learned_models import (
    bytes_rows,
    bytes_teacher,
    number_rows,
    source,
    text_rows,
    text_teacher,
)
from trivet.engine.onnx import OnnxEngine
from trivet.spec.service import Model, Ragged
from trivet.spec.signature import Signature, TensorSpec
from trivet.variants._models import MODEL_FILE
from trivet.variants.build import build_variants
from trivet.variants.builder import Built
from trivet.variants.builders import BUILDERS, builder_of
from trivet.variants.errors import VariantError
from trivet.variants.learned.distil import Distilled
from trivet.variants.learned.reading import reading_of, why_unreadable
from trivet.variants.learned.sizes import Wanted, sizes
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import BuildFailure, Variant

QUICK = Distilled(hidden=0, ngrams=(1,), vector=8, epochs=40, buckets=101)


def _build(made: Source, folder: Path, builder: Distilled = QUICK) -> Built:
    folder.mkdir()
    return builder.build(made, folder, lambda line: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("students")


def text_source(folder: Path) -> Source:
    rows = text_rows(800)
    path = text_teacher(folder / "text.onnx")
    engine = OnnxEngine(path)
    labels = ["abc"[int(engine.run(row)["scores"].argmax())] for row in rows]
    return source(path, rows, labels=labels, decode=lambda answer: "abc"[int(answer["scores"].argmax())])


def student_digest(folder: Path) -> str:
    """Of the student of a model that is made anew in this folder."""
    _build(text_source(folder), folder / "student")
    return hashlib.sha256((folder / "student" / MODEL_FILE).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def text(folder: Path) -> Source:
    return text_source(folder)


@pytest.fixture(scope="module")
def text_student(text: Source, folder: Path) -> tuple[Built, Path]:
    return _build(text, folder / "student"), folder / "student" / MODEL_FILE


def test_a_student_answers_like_the_model(text: Source, text_student: tuple[Built, Path]) -> None:
    built, path = text_student
    teacher, student = OnnxEngine(text.path), OnnxEngine(path)
    assert student.signature == teacher.signature
    held = [text.rows[place] for place in text.certification]
    same = [teacher.run(row)["scores"].argmax() == student.run(row)["scores"].argmax() for row in held]
    assert np.mean(same) > 0.9
    assert f"scores: the same class as the model in {np.mean(same):.1%} (" in built.notes[1]
    assert built.settings["learned_rows"] == 600


def test_the_axes_keep_their_names(text_student: tuple[Built, Path]) -> None:
    inputs = onnx.load(text_student[1]).graph.input
    assert [[axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in inputs] == [
        ["b", "s"]
    ] * 2


def test_padding_and_batches_do_not_change_a_student(text: Source, text_student: tuple[Built, Path]) -> None:
    student = OnnxEngine(text_student[1])
    row = {"ids": np.array([[3, 9, 4]]), "mask": np.array([[1, 1, 1]])}
    alone = student.run(row)["scores"][0]
    padded = {"ids": np.array([[3, 9, 4, 8], [1, 1, 1, 1]]), "mask": np.array([[1, 1, 1, 0], [1, 1, 1, 1]])}
    np.testing.assert_allclose(student.run(padded)["scores"][0], alone, rtol=1e-5)
    nothing = student.run({"ids": np.zeros((1, 0), np.int64), "mask": np.zeros((1, 0), np.int64)})
    assert np.isfinite(nothing["scores"]).all()


def test_the_same_rows_give_the_same_bytes_in_another_process(
    text_student: tuple[Built, Path], tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.variants.test_student_builder import student_digest\n"
        "print(student_digest(Path(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    again = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
    assert again.strip() == hashlib.sha256(text_student[1].read_bytes()).hexdigest()


def test_vectors_of_bytes_are_learned_with_their_length(folder: Path) -> None:
    made = source(bytes_teacher(folder / "bytes.onnx"), bytes_rows(800))
    built = _build(made, folder / "bytes", Distilled(hidden=0, ngrams=(1,), vector=16, epochs=40))
    teacher, student = OnnxEngine(made.path), OnnxEngine(folder / "bytes" / MODEL_FILE)
    answers = [
        (teacher.run(row)["vector"][0], student.run(row)["vector"][0])
        for row in map(made.rows.__getitem__, made.certification)
    ]
    assert [np.linalg.norm(b) for _, b in answers] == pytest.approx([1] * len(answers), rel=1e-5)
    assert np.mean([a @ b for a, b in answers]) > 0.7
    assert built.notes[1].startswith("vector: a mean cosine of 0.")


@pytest.fixture(scope="module")
def wine(folder: Path) -> Source:
    """A scikit-learn model with two outputs: names of classes, and their probabilities."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_wine()
    x = np.repeat(data.data.astype(np.float32), 3, axis=0)
    x += np.random.default_rng(2).normal(0, 0.05, x.shape).astype(np.float32) * x.std(axis=0)
    y = np.array(["red", "white", "green"])[np.repeat(data.target, 3)]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    path = folder / "wine.onnx"
    exported = to_onnx(model, x[:1], options={"zipmap": False})
    path.write_bytes(exported.SerializeToString())
    order = np.random.default_rng(3).permutation(len(x))
    return source(path, [{exported.graph.input[0].name: x[i : i + 1]} for i in order])


def test_labels_follow_from_the_scores(wine: Source, folder: Path) -> None:
    _build(wine, folder / "wine", Distilled(hidden=8, epochs=40))
    teacher, student = OnnxEngine(wine.path), OnnxEngine(folder / "wine" / MODEL_FILE)
    assert [s.name for s in student.signature.outputs] == [s.name for s in teacher.signature.outputs]
    label, scores = (spec.name for spec in student.signature.outputs)
    names = np.array([b"green", b"red", b"white"])
    same = 0
    for place in wine.certification:
        given, wanted = student.run(wine.rows[place]), teacher.run(wine.rows[place])
        assert given[label].shape == wanted[label].shape
        assert given[label][0] == names[given[scores].argmax()]
        same += given[label][0] == wanted[label][0]
    assert same > 0.9 * len(wine.certification)


def test_students_are_kept_like_all_variants(text: Source, tmp_path: Path) -> None:
    store = VariantStore(tmp_path)
    options = {"distilled": {"hidden": 0, "vector": 4, "epochs": 5, "buckets": 11}, "pruned": {}}
    made = replace(text, options=options)
    distilled, pruned = build_variants([made], ["distilled", "pruned"], store)
    assert isinstance(distilled, Variant)
    assert distilled.answers_change
    assert distilled.settings["learned_rows"] == 600
    assert isinstance(pruned, BuildFailure)
    assert "nothing can be cut out" in pruned.reason
    told: list[str] = []
    again = build_variants([made], ["distilled", "pruned"], store, say=told.append)
    assert isinstance(again[0], Variant)
    assert (again[0].digest, again[1], told) == (distilled.digest, pruned, [])


def test_too_few_rows_are_refused_with_how_many_are_sensible(text: Source, tmp_path: Path) -> None:
    small = source(text.path, text.rows[:68], decode=text.decode)
    with pytest.raises(VariantError, match=r"51 rows to learn from; at least 200 are sensible"):
        _build(small, tmp_path / "few")


def test_a_student_needs_rows(text: Source) -> None:
    assert "declare `data:`" in QUICK.applies(source(text.path, []))
    assert QUICK.applies(text) == ""


TEXTS = TensorSpec("words", "BYTES", (-1, 1))
NUMBERS = TensorSpec("x", "FP32", (-1, 4))
SCORES = TensorSpec("y", "FP32", (-1, 2))


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (Signature((TEXTS,), (SCORES,), True), "takes text"),
        (Signature((NUMBERS,), (SCORES,), False), "no batch axis"),
        (Signature((NUMBERS,), (TensorSpec("y", "FP32", (-1, -1, 8)),), True), "answers once for each row"),
        (Signature((TensorSpec("image", "FP32", (-1, 3, -1, -1)),), (SCORES,), True), "has a free size"),
        (Signature((TensorSpec("image", "FP32", (-1, 3, 64, 64)),), (SCORES,), True), "takes 12288 numbers a row"),
        (Signature((TensorSpec("x", "BF16", (-1, 4)),), (SCORES,), True), "is BF16"),
        (Signature((NUMBERS,), (SCORES,), True), ""),
    ],
)
def test_what_no_student_can_replace_is_said(signature: Signature, why: str) -> None:
    found = why_unreadable(signature)
    assert why in found
    assert bool(found) == bool(why)


def test_inputs_are_told_apart() -> None:
    ids, mask, types = (
        TensorSpec(name, "INT64", (-1, -1)) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    rows = [
        {
            "input_ids": np.array([[5, 9, 2]]),
            "attention_mask": np.ones((1, 3)),
            "token_type_ids": np.zeros((1, 3)),
        },
        {"input_ids": np.array([[7]]), "attention_mask": np.ones((1, 1)), "token_type_ids": np.zeros((1, 1))},
    ]
    reading = reading_of(Signature((ids, mask, types, NUMBERS), (SCORES,), True), rows)
    assert reading.ids is not None
    assert (reading.ids.name, reading.ids.mask, reading.ids.width) == ("input_ids", "attention_mask", None)
    assert [spec.name for spec in reading.numbers] == ["x"]
    assert reading.ignored == ("token_type_ids",)
    signature = Signature((ids, TensorSpec("other", "INT64", (-1, -1))), (SCORES,), True)
    both = [{**row, "other": row["input_ids"] + i} for i, row in enumerate(rows)]
    with pytest.raises(VariantError, match="several sequences \\(input_ids, other\\)"):
        reading_of(signature, both)


def test_few_integers_are_columns_of_a_table() -> None:
    reading = reading_of(Signature((TensorSpec("x", "INT64", (-1, 4)),), (SCORES,), True), [])
    assert reading.ids is None
    assert [spec.name for spec in reading.numbers] == ["x"]


def test_effort_is_counted_and_cuts_the_sizes() -> None:
    def tried(minutes: float) -> tuple[list[int], int]:
        wanted = Wanted(ngrams=(), buckets=None, vector=None, hidden=None, epochs=60, minutes=minutes)
        some, left_out = sizes(wanted, None, None, features=64, outputs=10, grams_a_row=0, rows=2000)
        return [size.epochs for size in some], len(left_out)

    assert tried(100) == ([60, 60, 60], 0)
    assert tried(1e-6) == ([5], 2)  # the smallest is always tried


def test_declared_padding_is_left_out(text: Source) -> None:
    from trivet.variants.learned.studying import grams_of

    ids = reading_of(Signature((TensorSpec("ids", "INT64", (-1, -1)),), (SCORES,), True), text.rows).ids
    assert ids is not None
    declared = Model(file="text.onnx", ragged={"ids": Ragged(axis=1, pad=3)})
    made = Source(model="m", path=text.path, signature=text.signature, declared=declared, rows=text.rows)
    assert grams_of(made, text.rows, ids).pad == 3


def test_options_come_from_the_service_file() -> None:
    builder = builder_of("distilled", {"hidden": 64, "ngrams": (1, 2)})
    assert isinstance(builder, Distilled)
    assert (builder.hidden, builder.ngrams, builder.name, builder.answers_change) == (
        64,
        (1, 2),
        "distilled",
        True,
    )
    assert "pruned" in BUILDERS


def test_numbers_that_are_missing_are_refused(folder: Path, wine: Source, tmp_path: Path) -> None:
    from tests.variants.learned_models import layers

    weights = np.ones((2, 1))
    path = layers(tmp_path / "m.onnx", [weights], [np.zeros(1)])
    rows = number_rows(400, 2)
    rows[0]["x"][0, 0] = np.nan
    with pytest.raises(VariantError, match="not finite"):
        _build(source(path, rows), tmp_path / "student")
