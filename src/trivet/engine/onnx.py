"""The native engine: onnxruntime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from trivet.engine.contract import Tensors
from trivet.errors import EngineError, SpecError
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

# onnxruntime's type names -> Open Inference Protocol datatypes
_DATATYPE = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}
_PROVIDER = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_GRAPH_LEVEL = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ERRORS_ONLY = 3


class OnnxEngine:
    """One onnxruntime session. `run` releases the interpreter lock while the model computes."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        providers: Sequence[str] = ("cpu",),
        graph_optimization: str = "all",
        spinning: bool = False,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = _GRAPH_LEVEL[graph_optimization]
        options.log_severity_level = _ERRORS_ONLY
        # Spinning threads win microseconds on an idle machine and take the core from everyone else on a busy one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=_provider_names(providers))
        except Exception as error:  # onnxruntime raises classes of its own C++ module, without a common root
            raise SpecError(f"onnxruntime cannot load it: {error}", where=str(path)) from None
        self._signature = _signature(self._session, path)
        self._outputs = [spec.name for spec in self._signature.outputs]
        self._string_inputs = [spec.name for spec in self._signature.inputs if spec.datatype == "BYTES"]
        self._strings = {spec.name for spec in self._signature.outputs if spec.datatype == "BYTES"}

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if self._string_inputs:
            inputs = {**inputs} | {name: _as_text(name, inputs[name]) for name in self._string_inputs}
        try:
            values = self._session.run(self._outputs, inputs)
        except Exception as error:  # see above
            raise EngineError(f"onnxruntime: {error}") from None
        outputs = dict(zip(self._outputs, values, strict=True))
        for name in self._strings:
            outputs[name] = _as_bytes(outputs[name])
        return outputs

    def close(self) -> None:
        del self._session


def _provider_names(providers: Sequence[str]) -> list[str]:
    available = ort.get_available_providers()
    names = [_PROVIDER[provider] for provider in providers]
    for provider, name in zip(providers, names, strict=True):
        if name not in available:
            have = ", ".join(key for key, value in _PROVIDER.items() if value in available)
            raise SpecError(f"provider {provider!r} is not in this build of onnxruntime; available: {have}")
    return names


def _signature(session: ort.InferenceSession, path: Path) -> Signature:
    inputs = tuple(_tensor(arg, path) for arg in session.get_inputs())
    outputs = tuple(_tensor(arg, path) for arg in session.get_outputs())
    return Signature(inputs, outputs, _has_batch_axis(session.get_inputs(), session.get_outputs()))


def _tensor(arg: ort.NodeArg, path: Path) -> TensorSpec:
    if arg.type not in _DATATYPE:
        raise SpecError(f"{arg.name!r} is a {arg.type}; only tensors can be served", where=str(path))
    shape = tuple(dim if isinstance(dim, int) else VARIABLE for dim in arg.shape)
    return TensorSpec(arg.name, _DATATYPE[arg.type], shape)


def _has_batch_axis(inputs: Sequence[ort.NodeArg], outputs: Sequence[ort.NodeArg]) -> bool:
    """Axis 0 of every tensor is free, and the inputs do not name it differently.

    Exporters often give each output a name of its own for the same axis; whether it is the same is what the check
    of batched against single answers finds out at load.
    """
    args = [*inputs, *outputs]
    if not args or any(not arg.shape or isinstance(arg.shape[0], int) for arg in args):
        return False
    return len({arg.shape[0] for arg in inputs if arg.shape[0] is not None}) <= 1


def _as_text(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """onnxruntime's strings are UTF-8 text; it would take the `repr` of `bytes` otherwise."""
    out = np.empty(array.size, object)
    try:
        out[:] = [item.decode() for item in array.reshape(-1)]
    except UnicodeDecodeError as error:
        raise EngineError(f"input {name!r} holds bytes that are not UTF-8: {error}") from None
    return out.reshape(array.shape)


def _as_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """onnxruntime gives strings as `str`; the protocol's BYTES are `bytes`."""
    out = np.empty(array.size, object)
    out[:] = [item.encode() if isinstance(item, str) else bytes(item) for item in array.reshape(-1)]
    return out.reshape(array.shape)
