"""Variants of a real service, judged through real servers."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from trivet.cli.main import cli
from trivet.experiment.model_rows import sources_of
from trivet.experiment.placement import place
from trivet.experiment.variants.judged_answers import judged_answers
from trivet.experiment.variants.judged_variants import JudgedVariant, judge_variants, kept_judgements
from trivet.experiment.variants.laid_out import laid_out
from trivet.judge.errors import JudgeError
from trivet.spec.configuration import Configuration
from trivet.spec.data import LabelledRows
from trivet.spec.service_file import load_configuration
from trivet.variants.apply import with_variant
from trivet.variants.build import build_variants
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import Variant

NUM_ROWS = 240

SERVICE = """
name: two
inputs: [{name: x, datatype: FP32, shape: [-1, 8]}]
outputs: [{name: scores, datatype: FP32, shape: [-1, 4]}]
models: {linear: {file: linear.onnx}}
pipeline:
  - {preprocess: steps.py:scale, outputs: [{name: x, datatype: FP32, shape: [-1, 8]}]}
  - model: linear
  - postprocess: steps.py:scores
data: {path: rows.npz, columns: {x: x}, label: label, cohort: site}
decode: argmax
metric: accuracy
variants: {exclude: [int8-static]}
"""

STEPS = """
from trivet.errors import BadRequestError

def scale(inputs):
    if inputs["x"][0, 0] > 2.5:
        raise BadRequestError("too large")
    return {"x": inputs["x"] * 2}

def scores(outputs):
    return {"scores": -outputs["y"]}
"""


@pytest.fixture(scope="module")
def two(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step that refuses some rows, a product, and a step that turns the scores around."""
    from trivet.engine.onnx import OnnxEngine

    folder = tmp_path_factory.mktemp("two")
    (folder / "linear.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    (folder / "steps.py").write_text(STEPS)
    (folder / "service.yaml").write_text(SERVICE)
    rows = np.random.default_rng(3).normal(size=(NUM_ROWS, 8)).astype(np.float32)
    rows[:5, 0] = 3.0
    labels = (-OnnxEngine(folder / "linear.onnx").run({"x": rows * 2})["y"]).argmax(axis=1)
    labels[::20] = (labels[::20] + 1) % 4
    np.savez(folder / "rows.npz", x=rows, label=labels, site=np.where(np.arange(NUM_ROWS) % 2, "n", "s"))
    return folder / "service.yaml"


@pytest.fixture(scope="module")
def configuration(two: Path) -> Configuration:
    return load_configuration(two)


@pytest.fixture(scope="module")
def sources(configuration: Configuration) -> list[Source]:
    return sources_of(configuration)


def test_rows_reach_the_model_through_the_step_before_it(two: Path, sources: list[Source]) -> None:
    (source,) = sources
    assert source.model == "linear"
    data = np.load(two.parent / "rows.npz")
    known = {tuple(row) for row in (data["x"] * 2).tolist()}
    assert all(tuple(row["x"][0].tolist()) in known for row in source.rows)
    assert all(row["x"][0, 0] <= 5.0 for row in source.rows)
    assert len(source.calibration) + len(source.certification) == len(source.rows)
    assert source.decode is None


def test_answers_are_judged_behind_the_steps_that_follow(sources: list[Source]) -> None:
    (source,) = sources
    assert source.judge is not None
    assert source.labels is not None
    scores = np.zeros((len(source.rows), 1, 4), np.float32)
    for place_, label in enumerate(source.labels):
        scores[place_, 0, int(label)] = -1.0  # the step behind turns it around
    answers = [{"y": one} for one in scores]
    assert source.judge(answers, range(len(answers))) == [1.0] * len(answers)
    assert source.judge([{"y": -answers[3]["y"]}], [3]) == [0.0]


def test_a_bare_model_has_a_source_without_rows(models: Path) -> None:
    said: list[str] = []
    (source,) = sources_of(load_configuration(models / "matmul.onnx"), say=said.append)
    assert list(source.rows) == []
    assert source.judge is None
    assert any("no data is declared" in text for text in said)


def test_a_configuration_that_no_file_says_is_laid_out(configuration: Configuration, tmp_path: Path) -> None:
    path = laid_out(configuration, tmp_path)
    assert load_configuration(path).hash == configuration.hash
    assert (tmp_path / "steps.py").is_symlink()


@pytest.fixture(scope="module")
def judged(
    configuration: Configuration, sources: list[Source], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[JudgedVariant], VariantStore]:
    store = VariantStore(tmp_path_factory.mktemp("judged") / "store")
    built = build_variants(sources, ["int8-dynamic"], store)
    return judge_variants(
        configuration, built, store, placement=place(), sources=sources, times_ns=10**8
    ), store


def test_the_original_and_a_variant_are_judged_on_the_same_rows(
    judged: tuple[list[JudgedVariant], VariantStore],
) -> None:
    original, variant = judged[0]
    assert (original.variant.name, original.verdict, original.in_search) == ("original", "original", True)
    assert original.accuracy is not None
    assert variant.accuracy is not None
    assert 0.85 < original.accuracy.estimate < 1
    assert set(original.cohorts) == {"n", "s"}
    assert original.difference is None
    assert variant.difference is not None
    assert variant.difference.estimate == pytest.approx(
        variant.accuracy.estimate - original.accuracy.estimate
    )
    assert variant.difference.low is not None
    assert original.calibration_error is not None
    assert variant.verdict in ("faster", "no gain", "worse")
    assert set(variant.times_ns[0]) == set(original.times_ns[0])
    assert len(variant.times_ns[0][1]) == len(original.times_ns[0][1]) >= 16


def test_judgements_are_kept(
    configuration: Configuration, judged: tuple[list[JudgedVariant], VariantStore]
) -> None:
    found, store = judged
    assert kept_judgements(configuration, store) == found
    assert kept_judgements(configuration, VariantStore(store.folder / "other")) == []


def test_a_variant_is_another_configuration(
    configuration: Configuration, judged: tuple[list[JudgedVariant], VariantStore]
) -> None:
    found, store = judged
    changed = with_variant(configuration, found[1].variant, store)
    assert changed.hash != configuration.hash
    assert changed.service.data == configuration.service.data


def test_the_command_prints_a_table_and_json(two: Path, tmp_path: Path) -> None:
    catalog = str(tmp_path / "catalog")
    arguments = [
        "variants",
        str(two),
        "--only",
        "int8-dynamic,int8-static",
        "--catalog",
        catalog,
        "--no-judge",
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "int8-dynamic" in done.stdout
    assert "int8-static" not in done.stdout
    as_json = CliRunner().invoke(cli, [*arguments, "--json"])
    tree = json.loads(as_json.stdout)
    assert [one["name"] for one in tree["built"]] == ["int8-dynamic"]
    assert Path(tree["store"]) == tmp_path / "catalog" / "variants"
    wrong = CliRunner().invoke(cli, ["variants", str(two), "--only", "int7", "--catalog", catalog])
    assert wrong.exit_code == 1
    assert "there is no variant 'int7'" in wrong.output


def test_labels_that_the_model_does_not_know_are_told(
    configuration: Configuration, sources: list[Source]
) -> None:
    rows = LabelledRows([{"x": np.zeros((1, 8), np.float32)}] * 3, [9, 9, 9], [])
    with pytest.raises(JudgeError, match="labels 9 are not among what decode gives"):
        judged_answers(configuration, rows, place())


def test_a_table_names_what_was_left_out(judged: tuple[list[JudgedVariant], VariantStore]) -> None:
    from trivet.report.variants_text import judged_text, size

    lines = judged_text(judged[0])
    assert lines[0] == "linear:"
    assert any(line.split()[0] == "int8-dynamic" and "left out" in line for line in lines[1:4]) == (
        not judged[0][1].in_search
    )
    assert size(2_500_000) == "2.5 MB"
    assert size(900) == "0.9 kB"
    assert isinstance(judged[0][1].variant, Variant)
