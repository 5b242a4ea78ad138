"""A variant that OpenVINO computes in bf16; collected where openvino is installed."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from trivet.engine.onnx import OnnxEngine
from trivet.engine.openvino import OpenVinoEngine
from trivet.variants import processor
from trivet.variants.build import build_variants
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import Variant


def built(bare: Source, folder: Path) -> tuple[Variant, Path]:
    store = VariantStore(folder)
    (found,) = build_variants([replace(bare, options={"bf16": {"anyway": True}})], ["bf16"], store)
    assert isinstance(found, Variant), found
    return found, store.path(found, found.files[0])


def answers(path: Path, original: Path) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(3).normal(size=(7, 16)).astype(np.float32)
    return OpenVinoEngine(path).run({"x": x})["y"], OnnxEngine(original).run({"x": x})["y"]


def test_it_is_served_by_openvino_with_the_same_inputs_and_outputs(bare: Source, tmp_path: Path) -> None:
    variant, path = built(bare, tmp_path)
    assert variant.engine == "openvino"
    near, exact = answers(path, bare.path)
    np.testing.assert_allclose(near, exact, rtol=0.1, atol=0.03 * float(np.abs(exact).max()))


def test_where_the_processor_can_its_products_are_in_bf16(bare: Source, tmp_path: Path) -> None:
    """Elsewhere OpenVINO computes in fp32: eight bits of a mantissa or twenty-four."""
    near, exact = answers(built(bare, tmp_path)[1], bare.path)
    error = float(np.abs(near - exact).max() / np.abs(exact).max())
    assert (error > 1e-4) == (not processor.lacks(processor.BF16))


def test_two_builds_have_the_same_bytes(bare: Source, tmp_path: Path) -> None:
    assert built(bare, tmp_path / "a")[0].digest == built(bare, tmp_path / "b")[0].digest
