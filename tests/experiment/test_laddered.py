"""Variants before their model: the cascade that is written, certified and served, and what cannot be one."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import helper

from benchmarks import models as build
from trivet.cli.main import cli
from trivet.errors import UserError
from trivet.experiment.certifying.laddered import write_ladder
from trivet.spec.certified import read_certificate
from trivet.spec.levers import Levers
from trivet.spec.service_file import load_configuration, load_service
from trivet.variants.builder import Built
from trivet.variants.store import VariantStore
from trivet.variants.variant import Variant

SERVICE = """
name: signs
models:
  large: {file: large.onnx, levers: {threads: 1}}
data: {path: rows.npz, columns: {x: x}, label: label, split: part}
decode: argmax
metric: accuracy
variants: {exclude: [fp16]}
tune: {objective: latency}
deployment: {workers: 1}
"""
SCALE = np.float32(5)


def model(path: Path, *, softmax: bool, noise: float = 0.0) -> None:
    """x -> y: its four numbers times a matrix that a `noise` bends; as scores or as probabilities."""
    matrix = SCALE * (np.eye(4, 3) + noise * np.random.default_rng(3).normal(size=(4, 3))).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "matrix"], ["scores" if softmax else "y"])]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["scores"], ["y"]))
    ends = [build.tensor("x", "FP32", ["n", 4])], [build.tensor("y", "FP32", ["n", 3])]
    build.write(build.build("signs", nodes, *ends, {"matrix": matrix}), path)


def put(store: VariantStore, name: str, built_from: str, *, softmax: bool, noise: float) -> Variant:
    record = Variant(
        name=name, model="large", digest="", files=("model.onnx",), size_bytes=0, built_from=built_from
    )
    with store.draft() as draft:
        model(draft / "model.onnx", softmax=softmax, noise=noise)
        return store.put(draft, f"key-of-{name}", Built(("model.onnx",), ()), record)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path, softmax=True)


def made(folder: Path, *, softmax: bool) -> Path:
    model(folder / "large.onnx", softmax=softmax)
    (folder / "service.yaml").write_text(SERVICE)
    x = np.random.default_rng(1).normal(size=(900, 4)).astype(np.float32)
    part = np.where(np.arange(900) % 9 == 0, "train", "test")
    np.savez(folder / "rows.npz", x=x, label=x[:, :3].argmax(axis=1), part=part)
    store = VariantStore(folder / ".trivet" / "variants")
    digest = load_configuration(folder / "service.yaml").files[0].digest
    put(store, "distilled", digest, softmax=softmax, noise=0.05)
    put(store, "int8-static", digest, softmax=softmax, noise=0.01)
    return folder


def store_of(folder: Path) -> VariantStore:
    return VariantStore(folder / ".trivet" / "variants")


def test_a_variant_before_its_model_is_certified_in_one_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(folder / "cache"))
    catalog = str(folder / ".trivet")
    arguments = [
        str(folder / "service.yaml"),
        "--before",
        "distilled",
        "--max-loss",
        "2%",
        "--catalog",
        catalog,
    ]
    result = CliRunner().invoke(cli, ["certify", *arguments])
    assert result.exit_code == 0, result.output
    found = load_configuration(folder / "cascade.yaml")
    assert read_certificate(folder / "certified.yaml").exits == ("distilled",)
    assert [stage.model for stage in found.service.pipeline] == ["distilled", "large"]
    assert "a server with it gave" in result.output


def test_what_is_written_is_the_service_with_exits_and_files_of_its_own(folder: Path) -> None:
    path = write_ladder(folder / "service.yaml", ["distilled", "int8-static"], 0.01, store_of(folder))
    written, declared = load_service(path), load_service(folder / "service.yaml")
    assert [stage.model for stage in written.pipeline] == ["distilled", "int8-static", "large"]
    rules = [stage.exit for stage in written.pipeline[:2]]
    assert rules[0] == rules[1]
    assert rules[0] is not None
    assert (rules[0].output, rules[0].scores, rules[0].max_loss) == ("y", "probabilities", 0.01)
    assert written.models["large"] == declared.models["large"]
    assert written.models["distilled"].levers == Levers()
    assert written.deployment == declared.deployment
    assert not written.variants
    assert written.tune is None
    for name in ("distilled", "int8-static"):
        file = written.models[name].file or ""
        assert file.startswith("cascade-files/")
        assert (folder / file).is_file()


def test_scores_that_are_no_probabilities_are_told_apart(tmp_path: Path) -> None:
    path = write_ladder(
        made(tmp_path, softmax=False) / "service.yaml", ["distilled"], 0.01, store_of(tmp_path)
    )
    rule = load_service(path).pipeline[0].exit
    assert rule is not None
    assert rule.scores == "logits"


def test_variants_of_the_original_stand_before_a_variant_that_was_chosen(folder: Path) -> None:
    """As a configuration that the tuner wrote: its model is int8 already."""
    (chosen,) = (one for one in store_of(folder).family(digest_of(folder)) if one.name == "int8-static")
    assert isinstance(chosen, Variant)
    (folder / "large.onnx").write_bytes(store_of(folder).path(chosen).read_bytes())
    path = write_ladder(folder / "service.yaml", ["distilled"], 0.01, store_of(folder))
    assert [stage.model for stage in load_service(path).pipeline] == ["distilled", "large"]
    with pytest.raises(UserError, match="runs variant 'int8-static' already"):
        write_ladder(folder / "service.yaml", ["int8-static"], 0.01, store_of(folder))


def digest_of(folder: Path) -> str:
    return load_configuration(folder / "service.yaml").files[0].digest


def test_a_variant_that_there_is_not_is_named_beside_those_there_are(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no variant 'distiled' .* distilled, int8-static.*trivet variants"):
        write_ladder(folder / "service.yaml", ["distiled"], 0.01, store_of(folder))
    with pytest.raises(UserError, match="nothing was built of it yet"):
        write_ladder(folder / "service.yaml", ["distilled"], 0.01, VariantStore(folder / "empty"))
    assert not (folder / "cascade.yaml").exists()


def test_a_service_with_exits_of_its_own_is_not_rewritten(folder: Path) -> None:
    path = write_ladder(folder / "service.yaml", ["distilled"], 0.01, store_of(folder))
    with pytest.raises(UserError, match="has exits or a route already"):
        write_ladder(path, ["int8-static"], 0.01, store_of(folder))


def test_what_cannot_be_certified_leaves_what_stood_there(folder: Path) -> None:
    arguments = ["certify", str(folder / "service.yaml"), "--before", "distilled", "--max-loss", "0.01%"]
    arguments += ["--catalog", str(folder / ".trivet")]
    for before in (None, "name: mine\n"):
        if before is not None:
            (folder / "cascade.yaml").write_text(before)
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 1
        assert "a loss of at most 0.01 points" in result.output
        assert [path.read_text() for path in folder.glob("cascade.yaml")] == (
            [] if before is None else [before]
        )


@pytest.mark.parametrize("arguments", [["--before", "distilled"], ["--max-loss", "1%"]])
def test_the_two_options_belong_together(folder: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, ["certify", str(folder / "service.yaml"), *arguments])
    assert result.exit_code == 1
    assert "--before distilled --max-loss 1%" in result.output


def test_without_rows_it_is_said_what_to_declare(folder: Path) -> None:
    text = "".join(line for line in SERVICE.splitlines(keepends=True) if not line.startswith("data"))
    (folder / "service.yaml").write_text(text)
    with pytest.raises(UserError, match="declare `data:`"):
        write_ladder(folder / "service.yaml", ["distilled"], 0.01, store_of(folder))
