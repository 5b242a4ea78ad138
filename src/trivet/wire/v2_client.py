"""Open Inference Protocol V2 from the client's side: infer requests written, answers read. No sockets.

The reader takes what servers of other makers send: nested or flat data, NaN as `NaN` or `null`, JSON although binary was
asked for, and binary tensors whose header (Inference-Header-Content-Length) got lost on the way.

Source: kserve/open-inference-protocol (REST), Triton's binary tensor extension.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError, TrivetError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import TensorSpec
from trivet.wire.tensor import BINARY_ONLY, as_array, check_binary, num_elements, shown, to_bytes

_NOT_A_NUMBER = (str, list, dict, type(None))
_LONGEST_SHOWN = 200


class UnsendableError(TrivetError):
    """A tensor that JSON cannot carry; binary data can."""


class BadResponseError(TrivetError):
    """What came back is not an answer of this protocol; the message names the output and what is wrong."""


@dataclass(frozen=True, slots=True)
class InferResponse:
    """Outputs in the answer's order, as numpy holds their datatypes (BF16: its raw bits as uint16)."""

    outputs: Mapping[str, NDArray[Any]]
    datatypes: Mapping[str, str]
    model_version: str
    parameters: Mapping[str, Any]


def encode_infer(
    inputs: Sequence[tuple[TensorSpec, NDArray[Any]]],
    *,
    binary: bool,
    outputs: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> tuple[bytes, int | None]:
    """The body of an infer request, and the size of its JSON part where binary tensors follow.

    Args: inputs: arrays of their datatypes, row-major.  binary: tensors travel as binary both ways.
    outputs: those asked for; none: all.
    Raises: UnsendableError: not binary, and a value that JSON has no form for.
    """
    tensors: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for spec, array in inputs:
        tensor: dict[str, Any] = {"name": spec.name, "shape": list(array.shape), "datatype": spec.datatype}
        if binary:
            parts.append(to_bytes(spec.datatype, array))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = _json_values(spec, array)
        tensors.append(tensor)
    message: dict[str, Any] = {"inputs": tensors}
    wishes = dict(parameters or {})
    if binary:
        wishes["binary_data_output"] = True
    if wishes:
        message["parameters"] = wishes
    if outputs:
        message["outputs"] = [{"name": name} for name in outputs]
    head = msgspec.json.encode(message)
    return b"".join([head, *parts]), len(head) if binary else None


def decode_infer(body: bytes, json_size: int | None = None) -> InferResponse:
    """The answer in `body`.

    Args: json_size: what the Inference-Header-Content-Length says; None: there was none, or it is not known.
    Raises: BadResponseError.
    """
    message, data = _split(body, json_size)
    tensors = message.get("outputs")
    if not isinstance(tensors, list):
        raise BadResponseError(f"the answer has no list of outputs: {_begin(body)}")
    outputs: dict[str, NDArray[Any]] = {}
    datatypes: dict[str, str] = {}
    at = 0
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise BadResponseError(f"outputs[{i}] is {shown(tensor)}; expected an object with a name")
        name = tensor["name"]
        if name in outputs:
            raise BadResponseError(f"output {name!r} is there twice")
        size = _binary_size(tensor)
        datatypes[name], outputs[name] = _output(tensor, None if size is None else data[at : at + size])
        at += size or 0
    if at != len(data):
        raise BadResponseError(f"{len(data) - at} bytes of binary data belong to no output")
    return InferResponse(
        outputs, datatypes, str(message.get("model_version") or ""), message.get("parameters") or {}
    )


def error_text(body: bytes) -> str:
    """What an error answer says: its `error`, or how its body begins."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return _begin(body)
    error = message.get("error", message.get("detail")) if isinstance(message, dict) else None
    if isinstance(error, dict):  # as OpenAI's: {"error": {"message": ...}}
        error = error.get("message")
    return error[:_LONGEST_SHOWN] if isinstance(error, str) else _begin(body)


def _json_values(spec: TensorSpec, array: NDArray[Any]) -> list[Any]:
    if spec.datatype in BINARY_ONLY:
        raise UnsendableError(f"input {spec.name!r} is {spec.datatype}, which cannot travel as JSON")
    values: list[Any] = array.reshape(-1).tolist()
    if spec.datatype == "BYTES":
        try:
            return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        except UnicodeDecodeError:
            raise UnsendableError(f"input {spec.name!r} holds bytes that are not UTF-8") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UnsendableError(
            f"input {spec.name!r} holds a value that is not finite, which JSON has no form for"
        )
    return values


def _split(body: bytes, json_size: int | None) -> tuple[dict[str, Any], bytes]:
    """The JSON part as read, and the binary part.

    Without a size the first JSON value ends where its brackets close; latin-1 keeps the positions of bytes.
    """
    try:
        if json_size is None:
            text = body.decode("latin-1")
            _, json_size = json.JSONDecoder().raw_decode(text, len(text) - len(text.lstrip()))
        if not 0 <= json_size <= len(body):
            raise BadResponseError(f"the JSON part has {json_size} bytes, the body {len(body)}")
        message = json.loads(body[:json_size])
    except (ValueError, RecursionError) as error:
        raise BadResponseError(f"the answer is not JSON ({error}): {_begin(body)}") from None
    if not isinstance(message, dict):
        raise BadResponseError(f"the answer is {shown(message)}; expected an object")
    data = body[json_size:]
    return message, data.lstrip() if _is_all_json(message) else data


def _is_all_json(message: Mapping[str, Any]) -> bool:
    tensors = message.get("outputs")
    return not isinstance(tensors, list) or all("data" in one for one in tensors if isinstance(one, dict))


def _binary_size(tensor: Mapping[str, Any]) -> int | None:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= 0):
        return size
    raise BadResponseError(f"output {tensor['name']!r}: binary_data_size is {shown(size)}")


def _output(tensor: Mapping[str, Any], binary: bytes | None) -> tuple[str, NDArray[Any]]:
    name, datatype, shape = tensor["name"], tensor.get("datatype"), tensor.get("shape")
    where = f"output {name!r}"
    if not isinstance(datatype, str) or datatype not in NUMPY_OF_DATATYPE:
        raise BadResponseError(f"{where}: unknown datatype {shown(datatype)}")
    if not isinstance(shape, list) or not all(type(dim) is int and dim >= 0 for dim in shape):
        raise BadResponseError(f"{where}: shape is {shown(shape)}; expected a list of sizes")
    count = num_elements(shape)
    if binary is not None:
        try:
            return datatype, as_array(datatype, check_binary(name, datatype, binary, count, "output"), shape)
        except BadRequestError as error:
            raise BadResponseError(str(error)) from None
    if "data" not in tensor:
        raise BadResponseError(f"{where}: has neither data nor binary_data_size")
    values = _flat(tensor["data"])
    if len(values) != count:
        raise BadResponseError(f"{where}: {len(values)} elements of data; shape {shape} needs {count}")
    return datatype, _json_array(where, datatype, values).reshape(shape)


def _flat(data: Any) -> list[Any]:
    """Values of nested lists; servers nest them or do not, whatever was sent."""
    if not isinstance(data, list):
        return [data]
    flat: list[Any] = data
    while any(isinstance(value, list) for value in flat):
        flat = [one for value in flat for one in (value if isinstance(value, list) else [value])]
    return flat


def _json_array(where: str, datatype: str, values: list[Any]) -> NDArray[Any]:
    wanted = np.dtype(NUMPY_OF_DATATYPE[datatype])
    if datatype == "BYTES":
        strings = np.empty(len(values), object)
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise BadResponseError(f"{where}: element {i} is {shown(value)}; expected a string")
            strings[i] = value.encode()
        return strings
    if datatype == "BF16":
        raise BadResponseError(f"{where}: BF16 came as JSON, which has no form for it")
    if wanted.kind == "f":  # orjson and others write NaN and the infinities as null
        values = [float("nan") if value is None else value for value in values]
    for i, value in enumerate(values):
        if isinstance(value, _NOT_A_NUMBER):
            raise BadResponseError(f"{where}: element {i} is {shown(value)}; expected {datatype}")
    try:
        if wanted.kind == "f":
            with np.errstate(over="ignore"):
                return np.array(values, np.float64).astype(wanted)
        whole = [int(value) for value in values]
    except (OverflowError, ValueError):  # an infinity, or an integer past all floats
        raise BadResponseError(f"{where}: a value is out of the range of {datatype}") from None
    low, high = (0, 1) if wanted.kind == "b" else (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))
    for i, (value, number) in enumerate(zip(values, whole, strict=True)):
        if value != number or not low <= number <= high:
            raise BadResponseError(f"{where}: element {i} is {shown(value)}, which {datatype} does not hold")
    return np.array(whole, wanted)


def _begin(body: bytes) -> str:
    text = body[:_LONGEST_SHOWN].decode("utf-8", "replace")
    return repr(text) + ("..." if len(body) > _LONGEST_SHOWN else "")
