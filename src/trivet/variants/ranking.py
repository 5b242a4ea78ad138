"""Which nodes suffer most from eight bits: each one alone, on the values that reach it in fp32."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from trivet.variants._models import Model, initializers, onnx_package
from trivet.variants._session import Watched
from trivet.variants.errors import VariantError
from trivet.variants.quantizing import Quantizer

_NOTHING = 1e-30  # of a power: equal tensors have no infinite ratio


def ranked(
    model: Model, nodes: Sequence[str], rows: Sequence[Mapping[str, NDArray[Any]]], quantizer: Quantizer
) -> list[tuple[str, float]]:
    """The nodes with the signal-to-quantization-noise ratio of their outputs in dB, the worst first.

    Of one node at a time, so that none is blamed for what reaches it from others.
    Raises: VariantError: the model fails on a row, or a node cannot be quantized.
    """
    by_name = {node.name: node for node in model.graph.node}
    weights = initializers(model)
    wanted = dict.fromkeys(
        tensor
        for name in nodes
        for tensor in (*by_name[name].input, by_name[name].output[0])
        if tensor and tensor not in weights
    )
    watched = Watched(model, [*wanted])
    power, noise = dict.fromkeys(nodes, _NOTHING), dict.fromkeys(nodes, _NOTHING)
    alone: dict[str, ort.InferenceSession] = {}
    for row in rows:
        tensors = watched.run(row)
        for name in nodes:
            if name not in alone:
                alone[name] = _alone(model, by_name[name], tensors, quantizer)
            truth = tensors[by_name[name].output[0]].astype(np.float64)
            power[name] += float((truth**2).sum())
            noise[name] += float(((_answer(alone[name], tensors) - truth) ** 2).sum())
    ratios = {name: 10 * float(np.log10(power[name] / noise[name])) for name in nodes}
    return sorted(ratios.items(), key=lambda one: (one[1], nodes.index(one[0])))


def _alone(
    model: Model, node: Any, tensors: Mapping[str, NDArray[Any]], quantizer: Quantizer
) -> ort.InferenceSession:
    """A model of this node only, quantized."""
    onnx = onnx_package()
    weights = initializers(model)

    def info(name: str) -> Any:
        kind = onnx.helper.np_dtype_to_tensor_dtype(tensors[name].dtype)
        return onnx.helper.make_tensor_value_info(name, kind, [None] * tensors[name].ndim)

    given = [info(name) for name in dict.fromkeys(node.input) if name and name not in weights]
    graph = onnx.helper.make_graph(
        [node],
        "alone",
        given,
        [info(node.output[0])],
        [weights[name] for name in dict.fromkeys(node.input) if name in weights],
    )
    whole = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    made = quantizer.quantized(whole, [node.name])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own C++ module, without a common root
        raise VariantError(f"node {node.name!r} cannot be run in eight bits: {error}") from None


def _answer(session: ort.InferenceSession, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    inputs = {one.name: tensors[one.name] for one in session.get_inputs()}
    return np.asarray(session.run(None, inputs)[0], np.float64)
