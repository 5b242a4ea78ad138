"""A model file as lists and tables: nodes, constants by name, and who uses what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trivet.variants._models import read_model
from trivet.variants.learned._packages import onnx


class OnnxModel:
    """Read once; `replaced` gives a copy with other constants. Raises: VariantError: not an ONNX file.

    nodes: in their order, constants aside.  constants: by name, from initializers and Constant nodes.
    users: of each tensor, places of nodes, each as often as it takes it.
    seen_elsewhere: outputs of the model, and what is used inside of branches and loops.
    """

    def __init__(self, path: Path) -> None:
        self._onnx = onnx("changing a graph")
        self.proto: Any = read_model(path)
        graph = self.proto.graph
        read = self._onnx.numpy_helper.to_array
        self.constants: dict[str, NDArray[Any]] = {tensor.name: read(tensor) for tensor in graph.initializer}
        self.nodes: list[Any] = []
        for node in graph.node:
            value = self.attribute(node, "value", None) if node.op_type == "Constant" else None
            if value is None:
                self.nodes.append(node)
            else:
                self.constants[node.output[0]] = read(value)
        self.users: dict[str, list[int]] = {}
        for place, node in enumerate(self.nodes):
            for name in filter(None, node.input):
                self.users.setdefault(name, []).append(place)
        self.seen_elsewhere = {value.name for value in graph.output} | _used_inside(self.nodes)

    def attribute(self, node: Any, name: str, default: Any) -> Any:
        """Of a node, as Python has it."""
        for attribute in node.attribute:
            if attribute.name == name:
                return self._onnx.helper.get_attribute_value(attribute)
        return default

    def replaced(self, constants: Mapping[str, NDArray[Any]], biases: Mapping[int, NDArray[Any]]) -> Any:
        """A checked copy with these constants, and with a sum behind (or inside of) the layers at these places.

        Args: constants: by name, of other shapes.  biases: by place of a MatMul, Gemm or Conv without a constant bias.
        """
        helper, to_tensor = self._onnx.helper, self._onnx.numpy_helper.from_array
        nodes, values = [], {**self.constants, **constants}
        for place, node in enumerate(self.nodes):
            copy = self._onnx.NodeProto()
            copy.CopyFrom(node)
            nodes.append(copy)
            if place not in biases:
                continue
            name = f"{node.output[0]}/bias"
            values[name] = biases[place]
            if node.op_type == "MatMul":
                copy.output[0] = f"{node.output[0]}/product"
                nodes.append(helper.make_node("Add", [copy.output[0], name], [node.output[0]]))
            else:
                del copy.input[2:]
                copy.input.append(name)
        needed = {name for node in nodes for name in node.input} | self.seen_elsewhere
        model = self._onnx.ModelProto()
        model.CopyFrom(self.proto)
        graph = model.graph
        inputs = [value for value in self.proto.graph.input if value.name not in values]
        tensors = [to_tensor(value, name) for name, value in values.items() if name in needed]
        for part, content in ((graph.node, nodes), (graph.initializer, tensors), (graph.input, inputs)):
            del part[:]
            part.extend(content)
        del graph.value_info[:]  # shapes that are no longer true
        self._onnx.checker.check_model(model)
        return model


def _used_inside(nodes: list[Any]) -> set[str]:
    """Names that graphs inside of nodes use, at any depth."""
    names: set[str] = set()
    for node in nodes:
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                names.update(name for inner in graph.node for name in inner.input)
                names |= _used_inside(list(graph.node)) | {value.name for value in graph.output}
    return names
