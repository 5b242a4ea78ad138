"""One graph becomes two: a front with an exit's head on it, and the rest, whose input is the tensor at the cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trivet.variants._models import Model, drop_unused_weights, onnx_package
from trivet.variants.early_exit_cuts import Cut, taken_by
from trivet.variants.early_exit_head import Head, Pooling

_PREFIX = "early_exit_"


@dataclass(frozen=True, slots=True)
class Answering:
    """What an answer is made of.

    scores: the output with a score for each class.  kind: what they are.
    label: the output with the highest one's label, and its labels by class; None: there is no such output.
    """

    scores: str
    kind: Literal["logits", "probabilities"]
    label: tuple[str, NDArray[Any]] | None = None


def rest_of(model: Model, cut: Cut, tensor: Any) -> Model:
    """From the cut to the outputs. Args: tensor: the type of the one at the cut, an onnx.ValueInfoProto."""
    inputs = [tensor, *(one for one in model.graph.input if one.name in cut.inputs)]
    return _part(model, [one.name for one in model.graph.output], {cut.tensor}, inputs, model.graph.output)


def front_of(
    model: Model, cut: Cut, tensor: Any, pooling: Pooling, head: Head, answering: Answering
) -> Model:
    """From all inputs to the cut, with the answers of an exit there under the names of the model's own."""
    weights = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    front = _part(model, [cut.tensor], set(), inputs, [*model.graph.output, tensor])
    writer = _Writer(front)
    features = writer.pooled(cut, pooling)
    scores = next(one for one in model.graph.output if one.name == answering.scores)
    writer.answer(features, head, answering, scores.type.tensor_type.elem_type)
    return front


def tensor_at(model: Model, cut: Cut, channels: int, *, batch_axis: bool, value: NDArray[Any]) -> Any:
    """The type of the tensor at a cut: as far as it is known, all sizes but that of its features free.

    Args: value: of one row.  batch_axis: whether axis 0 of the model counts rows.
    """
    onnx = onnx_package()
    inferred = {one.name: one for one in onnx.shape_inference.infer_shapes(model).graph.value_info}
    known = inferred.get(cut.tensor)
    dims = list(known.type.tensor_type.shape.dim) if known is not None else []
    shape: list[int | str] = []
    for axis, size in enumerate(value.shape):
        if axis == 0 and batch_axis:
            shape.append(_batch_name(model))
        elif axis == channels:
            shape.append(size)
        elif axis < len(dims) and dims[axis].HasField("dim_value"):
            shape.append(dims[axis].dim_value)
        else:
            shape.append(f"{_PREFIX}{axis}")
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    return onnx.helper.make_tensor_value_info(cut.tensor, kind, shape)


def _batch_name(model: Model) -> str:
    first = model.graph.input[0].type.tensor_type.shape.dim
    return (first[0].dim_param if len(first) else "") or "batch"


def _part(
    model: Model, wanted: Sequence[str], given: set[str], inputs: Iterable[Any], outputs: Iterable[Any]
) -> Model:
    """The nodes that the wanted tensors are computed by, from those that are given."""
    onnx = onnx_package()
    part = onnx.ModelProto()
    part.CopyFrom(model)
    for entries in (
        part.graph.node, part.graph.input, part.graph.output, part.graph.value_info, part.metadata_props
    ):  # fmt: skip
        del entries[:]
    needed = set(wanted) - given
    nodes = []
    for node in reversed(model.graph.node):
        if not needed.isdisjoint(node.output):
            nodes.append(node)
            needed.update(set(taken_by(node)) - given)
    part.graph.node.extend(reversed(nodes))
    part.graph.input.extend(inputs)
    part.graph.output.extend(outputs)
    drop_unused_weights(part)
    return part


class _Writer:
    """Adds the nodes of a head to a front; only operators whose meaning is the same in every opset since 7."""

    def __init__(self, model: Model) -> None:
        self._onnx = onnx_package()
        self._model = model
        self._num = 0

    def pooled(self, cut: Cut, pooling: Pooling) -> str:
        """The features of the tensor, FP32, shape (rows, features)."""
        found = self._node("Cast", [cut.tensor], to=self._onnx.TensorProto.FLOAT)
        if len(cut.shape) == 2:
            return found
        if pooling.channels == len(cut.shape) - 1:
            axes = [0, pooling.channels, *range(1, pooling.channels)]
            found = self._node("Transpose", [found], perm=axes)
        if pooling.first:
            start = self._weight("first", np.array([0], np.int64))
            found = self._node("Gather", [found, start], axis=2)
            return self._node("Flatten", [found], axis=1)
        if pooling.mask:
            return self._masked(found, pooling.mask)
        means, highest = (
            self._node("Flatten", [self._node(kind, [found])], axis=1)
            for kind in ("GlobalAveragePool", "GlobalMaxPool")
        )
        return self._node("Concat", [means, highest], axis=1)

    def _masked(self, found: str, mask: str) -> str:
        weights = self._node("Cast", [mask], to=self._onnx.TensorProto.FLOAT)
        shape = self._weight("mask_shape", np.array([0, 1, -1], np.int64))
        weights = self._node("Reshape", [weights, shape])
        total = self._node("GlobalAveragePool", [self._node("Mul", [found, weights])])
        tiny = self._weight("tiny", np.array(1e-9, np.float32))
        share = self._node("Add", [self._node("GlobalAveragePool", [weights]), tiny])
        return self._node("Flatten", [self._node("Div", [total, share])], axis=1)

    def answer(self, features: str, head: Head, answering: Answering, elem_type: int) -> None:
        weights = self._weight("weights", head.weights)
        bias = self._weight("bias", head.bias)
        scores = self._node("Gemm", [features, weights, bias])
        if answering.label is not None:
            name, labels = answering.label
            best = self._node("ArgMax", [scores], axis=1, keepdims=0)
            self._node("Gather", [self._weight("labels", labels), best], output=name, axis=0)
        if answering.kind == "probabilities":
            scores = self._node("Softmax", [scores], axis=1)
        self._node("Cast", [scores], output=answering.scores, to=elem_type)

    def _weight(self, name: str, value: NDArray[Any]) -> str:
        name = _PREFIX + name
        self._model.graph.initializer.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, inputs: Sequence[str], *, output: str = "", **attributes: Any) -> str:
        self._num += 1
        name = f"{_PREFIX}{self._num}"
        output = output or name
        self._model.graph.node.append(
            self._onnx.helper.make_node(kind, list(inputs), [output], name=f"{name}_{kind}", **attributes)
        )
        return output
