"""Eight-bit forms of a graph, node by node: weights stored as int8, products computed in int8.

dynamic: activations are scaled as they come. static: by ranges that calibration rows have shown (QDQ: onnxruntime fuses the
marked nodes at load).
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trivet.variants import processor
from trivet.variants._models import (
    Model,
    drop_unused_weights,
    name_nodes,
    onnx_package,
    read_model,
    weight_names,
)
from trivet.variants._session import rewritten
from trivet.variants.errors import VariantError
from trivet.variants.ranges import Range

Weights = Literal["auto", "int8", "int7"]
Form = Literal["dynamic", "static"]

_DYNAMIC = ("MatMul", "Attention", "LSTM")
_STATIC = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Between convolutions these would force the values back to fp32 and again to int8; between the products of a transformer
# eight bits are too few for them.
_BETWEEN_CONVOLUTIONS = (
    "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Reshape", "Flatten", "Transpose",
    "Squeeze", "Unsqueeze", "Pad", "Resize", "Split",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantizer:
    """How nodes are quantized.

    weights: int7 keeps sums of two products within 16 bits, where the processor adds them so.  ranges: of static form.
    per_channel: a scale for each output channel of a weight.
    """

    form: Form
    weights: Literal["int8", "int7"]
    per_channel: bool = True
    ranges: Mapping[str, Range] | None = None

    def quantized(self, model: Model, nodes: Sequence[str]) -> Model:
        """A copy with these nodes in eight bits, and their neighbours where that saves conversions.

        Raises: VariantError: it cannot be done.
        """
        onnx = onnx_package()
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        with _quiet():
            try:
                made = self._static(copy, nodes) if self.form == "static" else self._dynamic(copy, nodes)
            except (
                Exception
            ) as error:  # asserts, KeyErrors and others of a library about a graph that it does not know
                raise VariantError(
                    f"onnxruntime cannot quantize it: {type(error).__name__}: {error}"
                ) from None
        drop_unused_weights(made)
        return made

    def _static(self, model: Model, nodes: Sequence[str]) -> Model:
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.quant_utils import QuantType

        found = {
            name: (np.float32(low), np.float32(high)) for name, (low, high) in (self.ranges or {}).items()
        }
        quantizer = QDQQuantizer(
            model,
            self.per_channel,
            self.weights == "int7",
            QuantType.QInt8,
            QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, found),
            [*nodes, *between(model)],
            [],
            [*_STATIC, *_BETWEEN_CONVOLUTIONS],
            {},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        return quantizer.model.model

    def _dynamic(self, model: Model, nodes: Sequence[str]) -> Model:
        from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
        from onnxruntime.quantization.quant_utils import QuantizationMode, QuantType

        quantizer = ONNXQuantizer(
            model,
            self.per_channel,
            self.weights == "int7",
            QuantizationMode.IntegerOps,
            False,
            QuantType.QInt8,
            QuantType.QUInt8,
            None,
            [*nodes, *gathers(model)],
            [],
            [*_DYNAMIC, "Gather"],
            {"MatMulConstBOnly": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        return quantizer.model.model


def prepared(path: Path, form: Form) -> Model:
    """The model in the shape that quantizing begins with: for static form with constants folded and norms in convolutions.

    Raises: VariantError: it cannot be read or loaded.
    """
    onnx = onnx_package()
    from onnxruntime.quantization.onnx_model import ONNXModel

    if form == "static":
        with tempfile.TemporaryDirectory(prefix="trivet-variant-") as folder:
            target = Path(folder, "model.onnx")
            rewritten(path, "basic", target)
            model = read_model(target)
        _flatten_biases(model)
    else:
        # Fusing a product with its sum would hide it: only products are scaled as they come.
        wrapped = ONNXModel(read_model(path))
        wrapped.replace_gemm_with_matmul()
        model = wrapped.model
        name_nodes(model)
    try:
        return onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # of the package's C++ side
        raise VariantError(f"the shapes of its tensors cannot be found: {error}") from None


def _flatten_biases(model: Model) -> None:
    """Biases of one row become vectors: onnxruntime's scales for each channel know no others."""
    onnx = onnx_package()
    biases = {node.input[2] for node in model.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    others = {
        name
        for node in model.graph.node
        for place, name in enumerate(node.input)
        if node.op_type != "Gemm" or place != 2
    }
    for tensor in model.graph.initializer:
        if tensor.name in biases - others and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[0], tensor.name))


def products(model: Model, form: Form) -> list[str]:
    """Nodes that multiply by constant weights: what is quantized one by one."""
    weights, kinds = weight_names(model), _STATIC if form == "static" else _DYNAMIC
    return [
        node.name
        for node in model.graph.node
        if node.op_type in kinds and len(node.input) > 1 and node.input[1] in weights
    ]


def between(model: Model) -> list[str]:
    """Of a net of convolutions the nodes between them."""
    if not any(node.op_type == "Conv" for node in model.graph.node):
        return []
    return [node.name for node in model.graph.node if node.op_type in _BETWEEN_CONVOLUTIONS]


def gathers(model: Model) -> list[str]:
    """Tables that rows are taken from: stored in eight bits they are a quarter as large."""
    weights = weight_names(model)
    return [node.name for node in model.graph.node if node.op_type == "Gather" and node.input[0] in weights]


def chosen_weights(weights: Weights) -> Literal["int8", "int7"]:
    """What `auto` becomes on this processor."""
    if weights != "auto":
        return weights
    return "int8" if processor.has_dot_product() else "int7"


def nothing_to_quantize(model: Model, form: Form) -> str:
    """Empty, or why eight bits mean nothing for it."""
    if products(model, form):
        return ""
    what = "matrix product or convolution" if form == "static" else "matrix product"
    return f"no {what} with constant weights to quantize"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantizer speaks to the root logger about what is done here on purpose."""
    logger: Any = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
