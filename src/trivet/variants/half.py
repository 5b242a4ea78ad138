"""Sixteen bits instead of thirty-two, where the processor computes in them."""

from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from trivet.variants import processor
from trivet.variants._models import (
    MODEL_FILE,
    drop_unused_weights,
    onnx_package,
    read_model,
    weight_names,
    write_model,
)
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.source import Source

_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")


class Fp16(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights and sums in fp16; inputs and outputs stay as they are.

    anyway: also where the processor has no such instructions.
    """

    name: ClassVar[str] = "fp16"
    answers_change: ClassVar[bool] = True
    anyway: bool = False

    def applies(self, source: Source) -> str:
        return "" if self.anyway else processor.lacks(processor.FP16)

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = read_model(source.path)
        if not _float_weights(model):
            raise VariantError("the model has no fp32 weights to store in 16 bits")
        write_model(convert_float_to_float16(model, keep_io_types=True), folder / MODEL_FILE)
        return Built((MODEL_FILE,))


class Bf16(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Matrix products and convolutions in bf16, everything between them in fp32.

    anyway: also where the processor has no such instructions.
    """

    name: ClassVar[str] = "bf16"
    answers_change: ClassVar[bool] = True
    anyway: bool = False

    def applies(self, source: Source) -> str:
        return "" if self.anyway else processor.lacks(processor.BF16)

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        model = read_model(source.path)
        chosen = [
            node for node in model.graph.node if node.op_type in _PRODUCTS and _is_weighted(model, node)
        ]
        if not chosen:
            raise VariantError("the model has no matrix product or convolution with constant weights")
        for node in chosen:
            _in_bf16(model, node)
        drop_unused_weights(model)
        onnx_package().checker.check_model(model)
        write_model(model, folder / MODEL_FILE)
        return Built((MODEL_FILE,), (f"{len(chosen)} products in bf16",))


def _float_weights(model: Any) -> list[Any]:
    float32 = onnx_package().TensorProto.FLOAT
    return [tensor for tensor in model.graph.initializer if tensor.data_type == float32]


def _is_weighted(model: Any, node: Any) -> bool:
    return bool(weight_names(model) & set(node.input[1:2]))


def _in_bf16(model: Any, node: Any) -> None:
    """Casts before and behind one node; its weights are stored in bf16."""
    onnx = onnx_package()
    bf16, fp32 = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    place = next(i for i, other in enumerate(nodes) if other.name == node.name)
    before = []
    for i, name in enumerate(node.input):
        cast = f"{name}_bf16"
        if name in weights and cast not in weights:
            values = onnx.numpy_helper.to_array(weights[name]).astype(np.float32)
            bits = (values.view(np.uint32) + 0x8000) >> 16
            model.graph.initializer.append(
                onnx.helper.make_tensor(cast, bf16, values.shape, bits.astype(np.uint16).tobytes(), raw=True)
            )
        elif name not in weights:
            cast = f"{node.name}_{i}_bf16"
            before.append(onnx.helper.make_node("Cast", [name], [cast], name=cast, to=bf16))
        node.input[i] = cast
    output = node.output[0]
    node.output[0] = f"{output}_bf16"
    behind = onnx.helper.make_node("Cast", [node.output[0]], [output], name=f"{node.name}_fp32", to=fp32)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:place], *before, node, behind, *nodes[place + 1 :]])
