"""Writing down an ONNX graph: nodes in order, constants kept once, the same calls give the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trivet.variants.learned._packages import onnx

OPSET = 17
IR_VERSION = 9  # what onnxruntime 1.19, the oldest that is accepted, reads
TO_THE_END = np.iinfo(np.int64).max


class GraphWriter:
    """Collects nodes; each call returns the name of the tensor that it makes."""

    def __init__(self) -> None:
        self._onnx = onnx("building a graph")
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._by_value: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def constant(self, value: Any, dtype: Any) -> str:
        """The name of a constant tensor."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        key = (array.dtype.str, np.shape(value), array.tobytes())
        if array.dtype == object or key not in self._by_value:
            name = f"constant_{len(self._constants)}"
            self._constants[name] = self._onnx.numpy_helper.from_array(array.reshape(np.shape(value)), name)
            self._by_value[key] = name
            return name
        return self._by_value[key]

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """The name of the only output of a new node."""
        name = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def cast(self, tensor: str, dtype: Any) -> str:
        to = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", tensor, to=to)

    def part(self, tensor: str, first: int, last: int | None) -> str:
        """Of the last axis, from `first` to before `last` (None: the end), as numpy slices."""
        end = TO_THE_END if last is None else last
        bounds = [self.constant([value], np.int64) for value in (first, end, -1)]
        return self.add("Slice", tensor, *bounds)

    def write(self, path: Path, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """A checked model with these ends. Raises: onnx's ValidationError: it is none, which is a mistake of ours."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "student", inputs, outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="trivet")
        self._onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))


def ends_of(path: Path) -> tuple[list[Any], list[Any]]:
    """The inputs and outputs that a model file declares, with the names of their axes; constants are no inputs."""
    graph = onnx("reading a graph").load(str(path), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants], list(graph.output)
