"""Eight bits node by node: what is quantized, and what stays as it was."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import models as small
from trivet.engine.onnx import OnnxEngine
from trivet.variants import processor
from trivet.variants._models import read_model, write_model
from trivet.variants.int8 import Int8Dynamic, Int8Static, activations, spread
from trivet.variants.quantizing import Form, Quantizer, chosen_weights, prepared, products
from trivet.variants.ranges import ranges_of
from trivet.variants.ranking import ranked
from trivet.variants.source import Source

ROWS = [{"x": np.random.default_rng(1).normal(size=(64, 16)).astype(np.float32)}]


def _quantizer(path: Path, form: Form) -> Quantizer:
    model = prepared(path, form)
    ranges = ranges_of(model, activations(model), ROWS, "minmax", 99.9) if form == "static" else None
    return Quantizer(form, "int8", ranges=ranges)


def _kinds(path: Path) -> list[str]:
    return [node.op_type for node in read_model(path).graph.node]


@pytest.mark.parametrize("form", ["dynamic", "static"])
def test_answers_stay_near_where_nothing_is_extreme(
    net_of_convolutions: Path, tmp_path: Path, form: Form
) -> None:
    rows = [{"x": np.random.default_rng(1).normal(size=(16, 1, 8, 8)).astype(np.float32)}]
    model = prepared(net_of_convolutions, form)
    ranges = ranges_of(model, activations(model), rows, "minmax", 99.9) if form == "static" else None
    made = Quantizer(form, "int7", ranges=ranges).quantized(model, products(model, form))
    write_model(made, tmp_path / "int8.onnx")
    truth = OnnxEngine(net_of_convolutions).run(rows[0])["y"]
    answer = OnnxEngine(tmp_path / "int8.onnx").run(rows[0])["y"]
    assert np.abs(answer - truth).max() < 0.1 * np.abs(truth).max()
    assert not np.array_equal(answer, truth)


def test_nodes_that_are_left_out_keep_fp32(classifier: Path, tmp_path: Path) -> None:
    model = prepared(classifier, "dynamic")
    quantizer = _quantizer(classifier, "dynamic")
    all_of_it = products(model, "dynamic")
    assert len(all_of_it) == 3
    write_model(quantizer.quantized(model, all_of_it[1:]), tmp_path / "some.onnx")
    kinds = _kinds(tmp_path / "some.onnx")
    assert kinds.count("MatMulInteger") == 2
    assert kinds.count("MatMul") == 1


def test_a_product_of_two_activations_is_no_product_to_quantize(tmp_path: Path) -> None:
    small.write(small.encoder(), tmp_path / "encoder.onnx")
    model = prepared(tmp_path / "encoder.onnx", "dynamic")
    weights = {tensor.name for tensor in model.graph.initializer}
    chosen = products(model, "dynamic")
    by_name = {node.name: node for node in model.graph.node}
    assert chosen
    assert all(by_name[name].input[1] in weights for name in chosen)
    assert len(chosen) < sum(node.op_type == "MatMul" for node in model.graph.node)


@pytest.mark.parametrize("form", ["dynamic", "static"])
def test_the_node_with_outliers_is_ranked_worst(classifier: Path, form: Form) -> None:
    model = prepared(classifier, form)
    nodes = products(model, form)
    by_name = {node.name: node for node in model.graph.node}
    found = ranked(model, nodes, ROWS, _quantizer(classifier, form))
    assert sorted(name for name, _ in found) == sorted(nodes)
    ratios = [ratio for _, ratio in found]
    assert ratios == sorted(ratios)
    assert "w2" in by_name[found[0][0]].input


def test_a_model_of_trees_has_nothing_to_quantize(models: Path, bare: Source, tmp_path: Path) -> None:
    from dataclasses import replace

    from trivet.variants.errors import VariantError

    trees = replace(bare, path=models / "tiny.onnx")
    with pytest.raises(VariantError, match="no matrix product with constant weights to quantize"):
        Int8Dynamic().build(trees, tmp_path, print)


def test_without_rows_there_is_nothing_to_calibrate_on(bare: Source) -> None:
    assert "declare `data:`" in Int8Static().applies(bare)
    assert Int8Dynamic().applies(bare) == ""


def test_rows_are_spread_over_an_ordered_file() -> None:
    assert spread(range(10, 20), 3) == [10, 13, 16]
    assert spread(range(3), 5) == [0, 1, 2]


def test_weights_use_eight_bits_only_where_sums_do_not_overflow() -> None:
    assert chosen_weights("int8") == "int8"
    assert chosen_weights("int7") == "int7"
    assert chosen_weights("auto") == ("int8" if processor.has_dot_product() else "int7")
    assert processor.has_dot_product(frozenset({"avx2", "avx_vnni"}))
    assert not processor.has_dot_product(frozenset({"avx2"}))


def test_missing_instructions_are_named(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t: fpu avx2 amx_bf16\n\nprocessor : 1\nflags : none\n")
    found = processor.flags(cpuinfo)
    assert found == {"fpu", "avx2", "amx_bf16"}
    assert processor.lacks(processor.BF16, found) == ""
    assert "avx512_fp16" in processor.lacks(processor.FP16, found)
    assert processor.flags(tmp_path / "none") == frozenset()
