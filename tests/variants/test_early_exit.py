"""An early exit built from one model: where it can be cut, that its halves are the whole, and what is certified."""

import dataclasses
import itertools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper

from benchmarks import models as build
from tests.support.runtime import Served, serve
from trivet.engine.onnx import OnnxEngine
from trivet.pipeline.exits import confidences
from trivet.runtime.preparing.preparing import prepare
from trivet.spec.exit import Exit
from trivet.spec.service import Model
from trivet.spec.service_file import load_configuration
from trivet.variants._models import read_model, write_model
from trivet.variants._session import Watched
from trivet.variants.apply import with_variant
from trivet.variants.builder import Built
from trivet.variants.early_exit import FRONT, REST, EarlyExit
from trivet.variants.early_exit_cuts import Cut, cuts, varying
from trivet.variants.early_exit_fitting import candidates_of
from trivet.variants.early_exit_head import Head, Pooling
from trivet.variants.early_exit_split import Answering, front_of, rest_of, tensor_at
from trivet.variants.errors import VariantError
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import Variant

WIDTH, CLASSES = 48, 4


class Untimed(EarlyExit, frozen=True, kw_only=True):
    """Its parts take what their work says: how fast this machine is, is not what is tested."""

    times: ClassVar[Any] = staticmethod(lambda source, folder: {"whole": 1.0, "front": 0.3, "rest": 0.7})


def layers(num: int = 4, *, last: Sequence[Any] = (), outputs: Sequence[Any] = ()) -> ModelProto:
    """x [n, 8] -> `num` layers of random weights -> y [n, classes]. Layer i's result is called h<i>."""
    rng = np.random.default_rng(0)
    sizes = [8, *[WIDTH] * (num - 1), CLASSES]
    nodes, weights, before = [], {}, "x"
    for place, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        weights[f"w{place}"] = rng.normal(size=(rows, columns), scale=rows**-0.5).astype(np.float32)
        if place == num - 1:
            weights[f"w{place}"] *= 6
            nodes.append(helper.make_node("MatMul", [before, f"w{place}"], ["y"]))
            break
        nodes.append(helper.make_node("MatMul", [before, f"w{place}"], [f"m{place}"]))
        nodes.append(helper.make_node("Relu", [f"m{place}"], [f"h{place}"]))
        before = f"h{place}"
    tensors = outputs or [build.tensor("y", "FP32", ["n", CLASSES])]
    return build.build("layers", [*nodes, *last], [build.tensor("x", "FP32", ["n", 8])], tensors, weights)


def values_of(model: ModelProto, row: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return Watched(model, varying(model)).run(row)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("early-exit")
    build.write(layers(), folder / "m.onnx")
    build.write(build.encoder(), folder / "encoder.onnx")
    return folder


ROW = {"x": np.ones((1, 8), np.float32)}


def test_a_chain_can_be_cut_behind_each_layer(folder: Path) -> None:
    model = read_model(folder / "m.onnx")
    found = cuts(model, ROW, values_of(model, ROW), 10)
    assert [cut.tensor for cut in found] == ["h0", "h1"]  # behind h2 there is nothing left to save
    work = [8 * WIDTH, WIDTH * WIDTH, WIDTH * WIDTH, WIDTH * CLASSES]
    relu = 4 * WIDTH
    total = sum(work) + 3 * relu
    assert found[0].share == pytest.approx((work[0] + relu) / total)
    assert found[1].share == pytest.approx((sum(work[:2]) + 2 * relu) / total)
    assert all(cut.inputs == () for cut in found)


def test_of_many_places_some_are_taken_from_all_over() -> None:
    model = layers(12)
    found = cuts(model, ROW, values_of(model, ROW), 3)
    assert [cut.tensor for cut in found] == ["h1", "h5", "h8"]
    assert found[0].share < 0.35 < found[1].share < 0.6 < found[2].share


def residual() -> ModelProto:
    """x -> a -> Add(a, f(a)) -> y: inside f the sum still needs a, which is a product away from x."""
    rng = np.random.default_rng(1)
    weights = {f"w{i}": rng.normal(size=(8, 8)).astype(np.float32) for i in range(4)}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("MatMul", ["a", "w1"], ["inside"]),
        helper.make_node("MatMul", ["inside", "w2"], ["f"]),
        helper.make_node("Add", ["a", "f"], ["b"]),
        helper.make_node("MatMul", ["b", "w3"], ["y"]),
    ]
    outputs = [build.tensor("y", "FP32", ["n", 8])]
    return build.build("residual", nodes, [build.tensor("x", "FP32", ["n", 8])], outputs, weights)


def test_nothing_that_must_be_computed_twice_is_cut_around() -> None:
    model = residual()
    assert [cut.tensor for cut in cuts(model, ROW, values_of(model, ROW), 10)] == ["a", "b"]


def test_a_mask_may_be_looked_at_again_behind_the_cut(folder: Path) -> None:
    model = read_model(folder / "encoder.onnx")
    ids = np.arange(1, 6, dtype=np.int64)[None]
    row = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    found = cuts(model, row, values_of(model, row), 10)
    assert found
    assert {cut.inputs for cut in found} <= {(), ("attention_mask",)}


def halves(model: Any, cut: Cut, folder: Path, pooling: Pooling, value: NDArray[Any]) -> tuple[Path, Path]:
    """Both files, with a head of zeros."""
    width = pooling.features(value, np.ones(value.shape[:2])).size
    head = Head(np.zeros((width, CLASSES), np.float32), np.zeros(CLASSES, np.float32), 1.0)
    tensor = tensor_at(model, cut, pooling.channels, batch_axis=True, value=value)
    scores = Answering(model.graph.output[0].name, "logits")
    write_model(front_of(model, cut, tensor, pooling, head, scores), folder / FRONT)
    write_model(rest_of(model, cut, tensor), folder / REST)
    return folder / FRONT, folder / REST


def test_both_halves_together_are_the_model(folder: Path, tmp_path: Path) -> None:
    """At every cut of the encoder, with batches and lengths that nobody has looked at; to the last bit of its rounding."""
    model = read_model(folder / "encoder.onnx")
    ids = np.array([[5, 6, 7, 8], [9, 3, 0, 0]], np.int64)
    batch = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
    row = {name: array[:1] for name, array in batch.items()}
    values = values_of(model, row)
    whole = OnnxEngine(folder / "encoder.onnx", graph_optimization="off").run(batch)
    found = cuts(model, row, values, 4)
    for cut in found:
        pooling = Pooling(len(cut.shape) - 1, mask="attention_mask" if len(cut.shape) == 3 else "")
        front, rest = halves(model, cut, tmp_path, pooling, values[cut.tensor])
        given = {**batch, **OnnxEngine(front, graph_optimization="off").run(batch)}
        engine = OnnxEngine(rest, graph_optimization="off")
        answer = engine.run({spec.name: given[spec.name] for spec in engine.signature.inputs})
        for name, array in whole.items():
            np.testing.assert_allclose(answer[name], array, rtol=1e-5, atol=1e-6)


SHAPES = {
    "plain": ((2, 6), Pooling(1)),
    "sequence": ((2, 5, 6), Pooling(2)),
    "masked": ((2, 5, 6), Pooling(2, mask="mask")),
    "first": ((2, 5, 6), Pooling(2, first=True)),
    "signal": ((2, 6, 5), Pooling(1)),
    "picture": ((2, 6, 3, 4), Pooling(1)),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_the_head_in_the_graph_is_the_head_that_was_fitted(kind: str, tmp_path: Path) -> None:
    shape, pooling = SHAPES[kind]
    rng = np.random.default_rng(4)
    value = rng.normal(size=shape).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int64)
    inputs = [build.tensor("x", "FP32", ["n", *shape[1:]]), build.tensor("mask", "INT64", ["n", 5])]
    nodes = [
        helper.make_node("Neg", ["x"], ["t"]),
        helper.make_node("Flatten", ["t"], ["f"], axis=1),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"w": np.zeros((value[0].size, 3), np.float32)}
    model = build.build("m", nodes, inputs, [build.tensor("y", "FP32", ["n", 3])], weights)
    cut = Cut("t", (), 0.5, (1, *shape[1:]))
    features = np.array(
        [pooling.features(-value[i : i + 1], mask[i : i + 1] if pooling.mask else None) for i in (0, 1)]
    )
    head = Head(
        rng.normal(size=(features.shape[1], 3)).astype(np.float32), rng.normal(size=3).astype(np.float32), 1.0
    )
    tensor = tensor_at(model, cut, pooling.channels, batch_axis=True, value=value[:1])
    front = front_of(model, cut, tensor, pooling, head, Answering("y", "probabilities"))
    write_model(front, tmp_path / "front.onnx")
    given = OnnxEngine(tmp_path / "front.onnx").run({"x": value, "mask": mask})
    np.testing.assert_allclose(given["y"], head.probabilities(features), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(given["t"], -value)


# --- the builder --------------------------------------------------------------------------------------------------


def decode(outputs: Mapping[str, NDArray[Any]]) -> str:
    return f"class {int(np.argmax(outputs['y']))}"


def source_of(path: Path, num: int = 800, *, noise: float = 0.05, judged: bool = True) -> Source:
    """Rows whose truth is what the model says, but for a share of noise."""
    rng = np.random.default_rng(7)
    rows = [{"x": x[None]} for x in rng.normal(size=(num, 8), scale=2).astype(np.float32)]
    engine = OnnxEngine(path)
    said = [decode(engine.run(row)) for row in rows]
    labels = [f"class {rng.integers(CLASSES)}" if rng.random() < noise else one for one in said]

    def judge(answers: Sequence[Mapping[str, NDArray[Any]]], places: Sequence[int]) -> list[float]:
        return [float(decode(answer) == labels[place]) for answer, place in zip(answers, places, strict=True)]

    return Source(
        model="m",
        path=path,
        signature=engine.signature,
        declared=Model(file=path.name),
        rows=rows,
        labels=labels,
        decode=decode,
        calibration=range(num // 2),
        certification=range(num // 2, num),
        judge=judge if judged else None,
        seed=3,
    )


@pytest.fixture(scope="module")
def source(folder: Path) -> Source:
    return source_of(folder / "m.onnx")


def options(**changed: Any) -> Untimed:
    return Untimed(**{"max_loss": 0.05, "places": 2, **changed})


@pytest.fixture(scope="module")
def built(source: Source, tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Path]:
    folder = tmp_path_factory.mktemp("built")
    return options().build(source, folder, lambda _: None), folder


def test_what_is_certified_is_what_the_two_files_give(built: tuple[Built, Path], source: Source) -> None:
    """The offline computation on the certification rows: share and loss as recorded, and within the limit."""
    made, folder = built
    assert (made.files, [stage["model"] for stage in made.stages or ()]) == ((FRONT, REST), [FRONT, REST])
    rule = msgspec.convert((made.stages or ())[0]["exit"], Exit)
    front, whole = OnnxEngine(folder / FRONT), OnnxEngine(source.path)
    lost, left = 0, 0
    for place in source.certification:
        row = source.rows[place]
        exit_, full = front.run(row), whole.run(row)
        if confidences(rule, exit_["y"])[0] >= rule.at_least:
            left += 1
            assert source.labels is not None
            lost += decode(full) == source.labels[place] != decode(exit_)
    num = len(source.certification)
    assert made.settings["share_left"] == pytest.approx(left / num)
    assert left / num > 0.1
    assert lost <= 12  # the most losses of 400 rows that a binomial test at 5 % lets pass for a loss of 5 %
    assert "with 95 % confidence at most 5 points worse than the original, on 400 rows" in made.notes


def test_the_same_source_gives_the_same_bytes_in_another_process(
    built: tuple[Built, Path], folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.variants.test_early_exit import *\n"
        "made = options().build(source_of(Path(sys.argv[1])), Path(sys.argv[2]), lambda _: None)"
    )
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code, str(folder / "m.onnx"), str(tmp_path)], check=True, cwd=root, timeout=120
    )
    for name in (FRONT, REST):
        assert (tmp_path / name).read_bytes() == (built[1] / name).read_bytes()


def test_the_variant_serves_as_it_was_computed(
    built: tuple[Built, Path], source: Source, folder: Path, tmp_path: Path
) -> None:
    made, files = built
    store = VariantStore(tmp_path / "store")
    record = Variant(
        name="early-exit",
        model="m",
        digest="",
        files=made.files,
        size_bytes=0,
        built_from="0",
        settings=made.settings,
        stages=made.stages,
    )
    with store.draft() as draft:
        for name in made.files:
            (draft / name).write_bytes((files / name).read_bytes())
        variant = store.put(draft, "key", made, record)
    (folder / "service.yaml").write_text("models: {m: {file: m.onnx}}\nslo: {deadline: 20s}\n")
    before = load_configuration(folder / "service.yaml")
    after = with_variant(before, variant, store)
    assert after.hash != before.hash
    rule = after.service.pipeline[0].exit
    assert rule is not None
    rows = np.concatenate([source.rows[place]["x"] for place in source.certification])
    given = OnnxEngine(files / FRONT).run({"x": rows})
    sure = confidences(rule, given["y"]) >= rule.at_least
    expected = np.where(sure[:, None], given["y"], OnnxEngine(source.path).run({"x": rows})["y"])
    found: list[NDArray[Any]] = []

    async def work(served: Served) -> None:
        found.append((await served.ask({"x": rows}))["y"])
        assert [spec.name for spec in served.live.signature.inputs] == ["x"]

    serve(prepare(after, "1", lambda: 0, lambda _: None), work)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_what_the_model_gives_decides_what_the_exit_gives(kind: str, labelled: bool, tmp_path: Path) -> None:
    scores = "y" if kind == "logits" else "p"
    last = [helper.make_node("Softmax", ["y"], ["p"], axis=1)] if scores == "p" else []
    outputs = [build.tensor(scores, "FP32", ["n", CLASSES])]
    if labelled:
        last.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, build.tensor("label", "INT64", ["n"]))
    source = bare_source(layers(last=last, outputs=outputs), tmp_path)
    teacher, candidates = candidates_of(read_model(source.path), source, range(8), 2, lambda _: None)
    assert (teacher.answering.scores, teacher.answering.kind) == (scores, kind)
    if labelled:
        assert teacher.answering.label is not None
        assert teacher.answering.label[1].tolist() == list(range(CLASSES))
    np.testing.assert_allclose(teacher.targets.sum(axis=1), 1.0)
    assert len(candidates) == 2


def bare_source(model: ModelProto, folder: Path) -> Source:
    """Eight rows, and nothing that says what an answer means."""
    path = build.write(model, folder / "m.onnx")
    rng = np.random.default_rng(0)
    rows = [{"x": x[None]} for x in rng.normal(size=(8, 8)).astype(np.float32)]
    signature = OnnxEngine(path).signature
    return Source(model="m", path=path, signature=signature, declared=Model(file="m.onnx"), rows=rows)


@pytest.mark.parametrize("outputs", [["y", "h0"], ["h0", "h1"]])
def test_a_model_that_decides_nothing_has_no_exit(outputs: list[str], tmp_path: Path) -> None:
    tensors = [build.tensor(name, "FP32", ["n", "d"]) for name in outputs]
    source = bare_source(layers(outputs=tensors), tmp_path)
    with pytest.raises(VariantError, match=r"scores of classes|no place for an exit"):
        candidates_of(read_model(source.path), source, range(8), 2, lambda _: None)


def changed(source: Source, **fields: Any) -> Source:
    return dataclasses.replace(source, **fields)


def test_what_is_missing_is_told_with_how_much(source: Source) -> None:
    assert options().applies(source) == ""
    assert "at least 100" in options().applies(changed(source, calibration=range(40)))
    assert "needs at least 299" in options(max_loss=0.01).applies(
        changed(source, certification=range(600, 800))
    )
    assert "declare `data:` and `decode:`" in options().applies(changed(source, decode=None, judge=None))


class Slow(Untimed, frozen=True, kw_only=True):
    times: ClassVar[Any] = staticmethod(lambda source, folder: {"whole": 1.0, "front": 0.99, "rest": 0.5})


def test_no_gain_is_an_outcome(source: Source, tmp_path: Path) -> None:
    with pytest.raises(VariantError, match=r"no gain on this processor: the front takes 0.99 ms"):
        Slow(max_loss=0.05, places=1).build(source, tmp_path, lambda _: None)


def test_what_cannot_be_certified_is_told_with_the_rows_it_needs(source: Source, tmp_path: Path) -> None:
    """Labels that the model only guesses: every second answer of an exit that disagrees loses."""
    few = changed(source, certification=range(600, 660))
    with pytest.raises(VariantError, match=r"not certified: .* at most 1 are allowed|no gain"):
        options(max_loss=0.01).build(few, tmp_path, lambda _: None)


def test_without_labels_the_original_is_the_truth(source: Source, tmp_path: Path) -> None:
    made = options(places=1).build(changed(source, judge=None, labels=None), tmp_path, lambda _: None)
    assert any("% of answers differ from the original's" in note for note in made.notes)
