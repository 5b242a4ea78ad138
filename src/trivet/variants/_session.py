"""onnxruntime used as a tool: rewriting a graph, and looking at the tensors between its nodes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from trivet.variants._models import Model, onnx_package
from trivet.variants.errors import VariantError

_ERRORS_ONLY = 3
_LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def rewritten(path: Path, level: str, target: Path) -> None:
    """Write the graph as onnxruntime would rewrite it at load.

    Raises: VariantError: it cannot load the model.
    """
    options = _options(level)
    options.optimized_model_filepath = str(target)
    _session(str(path), options)


class Watched:
    """A model that also gives the named tensors between its nodes."""

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        onnx = onnx_package()
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        known = {output.name for output in copy.graph.output}
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
        self._names = list(names)
        self._session = _session(copy.SerializeToString(), _options("basic"))

    def run(self, row: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Raises: VariantError: the model fails on the row."""
        try:
            values = self._session.run(self._names, as_text(row))
        except Exception as error:  # onnxruntime raises classes of its own C++ module, without a common root
            raise VariantError(f"the model fails on a row of the data: {error}") from None
        return dict(zip(self._names, values, strict=True))


def as_text(row: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """onnxruntime's strings are text; the protocol's are bytes."""
    return {
        name: np.array([item.decode() for item in array.reshape(-1)], object).reshape(array.shape)
        if array.dtype == object
        else array
        for name, array in row.items()
    }


def _options(level: str) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.graph_optimization_level = _LEVELS[level]
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = 1  # sums in one order: the same bytes on rebuild
    options.inter_op_num_threads = 1
    return options


def _session(model: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see above
        raise VariantError(f"onnxruntime cannot load the model: {error}") from None
