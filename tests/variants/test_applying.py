"""A service with one model replaced."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import models as small
from trivet.engine.onnx import OnnxEngine
from trivet.spec.service_file import load_configuration
from trivet.variants.apply import with_variant
from trivet.variants.build import build_variants, original_of
from trivet.variants.builder import Built
from trivet.variants.errors import VariantError
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import Variant


@pytest.fixture(scope="module")
def built(bare: Source, tmp_path_factory: pytest.TempPathFactory) -> tuple[Variant, VariantStore]:
    store = VariantStore(tmp_path_factory.mktemp("store"))
    (variant,) = build_variants([bare], ["int8-dynamic"], store)
    assert isinstance(variant, Variant)
    return variant, store


def _service(bare: Source, folder: Path) -> Path:
    (folder / "net.onnx").write_bytes(bare.path.read_bytes())
    path = folder / "service.yaml"
    path.write_text("name: s\nmodels: {net: {file: net.onnx, levers: {threads: 2}}}\n")
    return path


def test_only_the_file_changes(bare: Source, built: tuple[Variant, VariantStore], tmp_path: Path) -> None:
    variant, store = built
    before = load_configuration(_service(bare, tmp_path))
    after = with_variant(before, variant, store)
    assert after.hash != before.hash
    assert after.model_path("net") == store.path(variant)
    assert after.service.models["net"].levers == before.service.models["net"].levers
    answer = OnnxEngine(after.model_path("net")).run({"x": np.zeros((2, 16), np.float32)})
    assert answer["y"].shape == (2, 4)


def test_the_original_changes_nothing(
    bare: Source, built: tuple[Variant, VariantStore], tmp_path: Path
) -> None:
    before = load_configuration(_service(bare, tmp_path))
    assert with_variant(before, original_of(bare), built[1]) is before


def test_a_variant_of_another_model_is_told(
    bare: Source, built: tuple[Variant, VariantStore], tmp_path: Path
) -> None:
    variant, store = built
    before = load_configuration(_service(bare, tmp_path))
    with pytest.raises(VariantError, match="is of model 'other'"):
        with_variant(before, msgspec.structs.replace(variant, model="other"), store)


def test_stages_replace_the_models_stage(bare: Source, tmp_path: Path) -> None:
    store = VariantStore(tmp_path / "store")
    record = Variant(
        name="parts",
        model="net",
        digest="",
        files=("front.onnx", "rest.onnx"),
        size_bytes=0,
        built_from=original_of(bare).digest,
        stages=({"model": "front.onnx"}, {"model": "rest.onnx", "inputs": {"x": "y"}}),
    )
    with store.draft() as folder:
        small.write(small.matmul(16, 8), folder / "front.onnx")
        small.write(small.matmul(8, 4), folder / "rest.onnx")
        variant = store.put(folder, "k", Built(record.files, stages=record.stages), record)
    before = load_configuration(_service(bare, tmp_path))
    after = with_variant(before, variant, store)
    assert list(after.service.models) == ["net.front", "net.rest"]
    assert [stage.model for stage in after.service.pipeline] == ["net.front", "net.rest"]
    assert after.service.pipeline[1].takes == {"x": "y"}
    assert after.service.models["net.rest"].levers.threads == 2
