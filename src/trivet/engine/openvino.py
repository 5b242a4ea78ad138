"""OpenVINO on the CPU, an extra: reads ONNX and its own IR."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.contract import Tensors, input_dtypes
from trivet.errors import EngineError, ExtraMissingError, SpecError
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

# OpenVINO's type names -> Open Inference Protocol datatypes. No "string": on the CPU, 2026.4 frees such tensors
# wrongly and takes the process with it; the onnxruntime engine has them.
_DATATYPE = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
    "bf16": "BF16",
}
_INT32 = 1 << 31
PRECISION = ["trivet", "precision"]  # where a model says in what it is to be computed: "bf16", else fp32


class OpenVinoEngine:
    """One compiled model with one inference request. `run` releases the interpreter lock while it computes."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Raises: ExtraMissingError: openvino is not installed. SpecError: the model cannot be loaded."""
        try:
            import openvino
        except ImportError:
            raise ExtraMissingError("engine openvino", "openvino") from None
        self._openvino = openvino
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,  # instances are a lever of the runtime's; each is an engine of its own
            "PERFORMANCE_HINT": "LATENCY",
            # Left alone, OpenVINO computes in bfloat16 where the processor can. Answers must not depend on the host:
            # a lower precision is a variant, with its accuracy measured.
            # So it is asked for by the model's own file.
            "INFERENCE_PRECISION_HINT": "f32",
            # Pinned threads of several engines end up on the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            core = openvino.Core()
            read = core.read_model(str(path))
            if read.has_rt_info(PRECISION) and read.get_rt_info(PRECISION).astype(str) == "bf16":
                settings["INFERENCE_PRECISION_HINT"] = "bf16"
            model = core.compile_model(read, "CPU", settings)
            self._signature = _signature(model, path)
            self._request = model.create_infer_request()
        except RuntimeError as error:  # what its C++ side raises
            raise SpecError(f"openvino cannot load it: {error}", where=str(path)) from None
        self._types = {port.get_any_name(): port.get_element_type() for port in model.inputs}
        self._dtypes = input_dtypes(self._signature)

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if inputs.keys() != self._dtypes.keys():
            raise EngineError(f"openvino: expected the inputs {sorted(self._dtypes)}, got {sorted(inputs)}")
        tensors = {name: self._tensor(name, array) for name, array in inputs.items()}
        try:
            self._request.infer(tensors)
        except RuntimeError as error:
            raise EngineError(f"openvino: {error}") from None
        outputs = self._signature.outputs
        return {spec.name: self._array(spec, position) for position, spec in enumerate(outputs)}

    def _tensor(self, name: str, array: NDArray[Any]) -> Any:
        # OpenVINO would convert other datatypes in silence, at the cost of a copy and maybe of values.
        if array.dtype != self._dtypes[name]:
            raise EngineError(
                f"openvino: expected an input {name!r} of {self._dtypes[name]}, got {array.dtype}"
            )
        if array.dtype == np.int64 and array.size and (array.min() < -_INT32 or array.max() >= _INT32):
            raise EngineError(
                f"openvino: input {name!r}: it computes INT64 in 32 bits; {array.max()} does not fit"
            )
        array = np.asarray(array, order="C")
        if self._types[name] == self._openvino.Type.bf16:
            return self._openvino.Tensor(array, self._openvino.Shape(array.shape), self._types[name])
        return self._openvino.Tensor(array, shared_memory=array.flags.writeable)

    def _array(self, spec: TensorSpec, position: int) -> NDArray[Any]:
        """A copy: the request's memory holds the next answer soon."""
        tensor = self._request.get_output_tensor(position)
        data: NDArray[Any] = tensor.data
        return (data.view(np.uint16) if spec.datatype == "BF16" else data).copy()

    def close(self) -> None:
        del self._request


def _signature(model: Any, path: Path) -> Signature:
    inputs = tuple(_spec(port, path) for port in model.inputs)
    outputs = tuple(_spec(port, path) for port in model.outputs)
    # OpenVINO does not keep the names of dimensions: an axis 0 that is variable everywhere counts as the batch's,
    # and the check of batched against single answers at load finds the model for which that is wrong.
    batch_axis = all(spec.shape[:1] == (VARIABLE,) for spec in (*inputs, *outputs))
    return Signature(inputs, outputs, batch_axis)


def _spec(port: Any, path: Path) -> TensorSpec:
    name, kind, shape = port.get_any_name(), port.get_element_type().to_string(), port.get_partial_shape()
    if kind not in _DATATYPE:
        raise SpecError(f"{name!r} is of type {kind}, which openvino cannot serve", where=str(path))
    if shape.rank.is_dynamic:
        raise SpecError(f"{name!r} has no fixed number of dimensions; export it with one", where=str(path))
    return TensorSpec(name, _DATATYPE[kind], tuple(_length(dim) for dim in shape))


def _length(dimension: Any) -> int:
    return VARIABLE if dimension.is_dynamic else int(dimension.get_length())
