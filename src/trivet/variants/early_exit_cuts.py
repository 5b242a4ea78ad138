"""Where a graph can be cut in two: at tensors through which everything flows, but for cheap preparations of the inputs.

A cut splits a model into a front, from the inputs to the tensor, and a rest, from the tensor to the outputs. Strictly there
is none in a transformer, whose every layer looks at the attention mask: the rest may therefore take inputs of the model
again, and prepare them again where that is light.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from trivet.variants._models import Model, initializers

# What is done to shapes and masks: cheap enough to be done twice. Anything that multiplies by weights is not among them.
_LIGHT = frozenset((
    "Add", "And", "Cast", "CastLike", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal",
    "Expand", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max",
    "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Shape", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile",
    "Transpose", "Unsqueeze", "Where",
))  # fmt: skip
_MAX_LIGHT_WEIGHTS = 4096  # elements: a table that is looked up is no preparation
_MIN_SHARE, _MAX_SHARE = (
    0.02,
    0.9,
)  # of the work before a cut: outside there is nothing to know, or nothing to save
# Costs in multiply-adds: an element that is written, and one that a slow function is taken of.
_ELEMENT, _SLOW_ELEMENT = 4, 16
_PRODUCTS = frozenset((
    "Attention", "Conv", "ConvInteger", "ConvTranspose", "DynamicQuantizeMatMul", "Einsum",
    "FusedMatMul", "GRU", "Gemm", "LSTM", "MatMul", "MatMulInteger", "QAttention", "QGemm",
    "QLinearConv", "QLinearMatMul", "RNN",
))  # fmt: skip
_SLOW = frozenset((
    "BatchNormalization", "Erf", "Exp", "Gelu", "LayerNormalization", "Log", "LogSoftmax", "Pow",
    "Sigmoid", "Softmax", "Tanh", "FastGelu", "SkipLayerNormalization",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cut:
    """tensor: where the graph is cut.  inputs: of the model, which the rest takes beside it.  share: of the model's work
    that stands before it.  shape: of the tensor for one row that was looked at."""

    tensor: str
    inputs: tuple[str, ...]
    share: float
    shape: tuple[int, ...]


def varying(model: Model) -> list[str]:
    """Tensors between the nodes that depend on the request, in the graph's order."""
    depends = {one.name for one in model.graph.input} - set(initializers(model))
    found = []
    for node in model.graph.node:
        if any(name in depends for name in taken_by(node)):
            names = [name for name in node.output if name]
            depends.update(names)
            found += names
    return found


def taken_by(node: Any) -> list[str]:
    """What a node takes, graphs inside it included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            names += [name for inner in attribute.g.node for name in taken_by(inner)]
    return names


def cuts(
    model: Model, row: Mapping[str, NDArray[Any]], values: Mapping[str, NDArray[Any]], most: int
) -> list[Cut]:
    """At most so many places to cut, spread over the model's work, in its order.

    Args: row: the inputs of one.  values: of all varying tensors, for this row.
    """
    graph = _Graph(model, row, values)
    narrowest: dict[
        int, Cut
    ] = {}  # of the cuts behind the same products: the work between them is next to nothing
    for name in values:
        found = graph.cut(name)
        if found is not None:
            before, cut = found
            if before not in narrowest or _elements(cut.shape) <= _elements(narrowest[before].shape):
                narrowest[before] = cut
    kept = [narrowest[before] for before in sorted(narrowest)]
    if len(kept) <= most:
        return kept
    return [kept[(2 * place + 1) * len(kept) // (2 * most)] for place in range(most)]


class _Graph:
    """A model's nodes with what each costs for one row."""

    def __init__(
        self, model: Model, row: Mapping[str, NDArray[Any]], values: Mapping[str, NDArray[Any]]
    ) -> None:
        self._nodes: Sequence[Any] = list(model.graph.node)
        self._outputs = [one.name for one in model.graph.output]
        self._weights = {name: tuple(tensor.dims) for name, tensor in initializers(model).items()}
        self._inputs = [one.name for one in model.graph.input if one.name not in self._weights]
        self._values = values
        self._shapes = {name: tuple(array.shape) for name, array in (*row.items(), *values.items())}
        self._is_varying = [any(name in values for name in node.output) for node in self._nodes]
        self._costs = [
            self._cost(node) if is_varying else 0
            for node, is_varying in zip(self._nodes, self._is_varying, strict=True)
        ]
        self._total = max(1, sum(self._costs))

    def cut(self, tensor: str) -> tuple[int, Cut] | None:
        """The number of products before it, and the cut; None: the graph cannot be cut there, or it is not worth it."""
        value = self._values[tensor]
        if value.dtype.kind != "f" or not 2 <= value.ndim <= 4 or value.shape[0] != 1:
            return None
        front = self._before([tensor], "")
        share = sum(self._costs[place] for place in front) / self._total
        if not _MIN_SHARE <= share <= _MAX_SHARE:
            return None
        rest = self._before(self._outputs, tensor)
        after = self._after(tensor)
        if not all(output in after for output in self._outputs):
            return None
        for place in rest:
            node = self._nodes[place]
            if tensor in node.output:  # another of its outputs is wanted, too
                return None
            if self._is_varying[place] and after.isdisjoint(node.output) and not self._is_light(node):
                return None
        taken = {name for place in rest for name in taken_by(self._nodes[place])}
        inputs = tuple(name for name in self._inputs if name in taken)
        num_products = sum(self._nodes[place].op_type in _PRODUCTS for place in front)
        return num_products, Cut(tensor, inputs, share, value.shape)

    def _before(self, names: Sequence[str], stop: str) -> list[int]:
        """Places of the nodes that the named tensors are computed by, not looking behind `stop`."""
        needed = set(names) - {stop}
        places = []
        for place in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[place]
            if not needed.isdisjoint(node.output):
                places.append(place)
                needed.update(name for name in taken_by(node) if name != stop)
        return places

    def _after(self, tensor: str) -> set[str]:
        """All that depends on a tensor."""
        found = {tensor}
        for node in self._nodes:
            if not found.isdisjoint(taken_by(node)):
                found.update(node.output)
        return found

    def _is_light(self, node: Any) -> bool:
        if node.op_type not in _LIGHT or node.domain not in ("", "ai.onnx"):
            return False
        sizes = [self._weights.get(name, ()) for name in node.input]
        return all(_elements(size) <= _MAX_LIGHT_WEIGHTS for size in sizes)

    def _cost(self, node: Any) -> int:
        """Multiply-adds, about: where the time goes on a processor, good enough to place cuts by."""
        out = sum(self._values[name].size for name in node.output if name in self._values)
        shapes = [self._shape(name) for name in node.input]
        match node.op_type:
            case "MatMul" | "Gemm" | "FusedMatMul" | "MatMulInteger" | "DynamicQuantizeMatMul" if (
                len(shapes) > 1
            ):
                return int(out) * self._depth(node, shapes)
            case "Conv" | "ConvInteger" | "ConvTranspose" if len(shapes) > 1:
                return int(out) * max(1, _elements(shapes[1][1:]))
            case "LSTM" | "GRU" | "RNN" if len(shapes) > 2:
                steps = shapes[0][0] if shapes[0] else 1
                return int(steps) * (_elements(shapes[1]) + _elements(shapes[2]))
        return int(out) * (_SLOW_ELEMENT if node.op_type in _SLOW else _ELEMENT)

    def _depth(self, node: Any, shapes: Sequence[tuple[int, ...]]) -> int:
        """Terms of each sum of a product."""
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        first = shapes[0]
        return max(1, first[-2 if turned and len(first) > 1 else -1]) if first else 1

    def _shape(self, name: str) -> tuple[int, ...]:
        return self._shapes.get(name) or self._weights.get(name, ())


def _elements(shape: Sequence[int]) -> int:
    size = 1
    for dim in shape:
        size *= dim
    return size
