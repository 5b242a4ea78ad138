"""Open Inference Protocol V2: infer requests in JSON and binary, from bytes to tensors. No sockets, no models.

Source: kserve/open-inference-protocol (REST), Triton's binary tensor and classification extensions.

A request is first read by a decoder that is compiled for the service's signature and does as little as a right
request needs. Whatever it does not like is read again by the careful reader, which either understands it (nested
data, integers for floats) or says exactly which field is wrong. Both accept the same requests.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from trivet.errors import BadRequestError, TooLargeError
from trivet.spec.signature import VARIABLE, Signature
from trivet.wire.tensor import (
    BINARY_ONLY,
    Buffer,
    check_binary,
    itemsize,
    num_elements,
    pack,
    packer,
    shown,
)
from trivet.wire.v2_input import (
    JSON_ERRORS,
    BinaryReader,
    InferInput,
    Parameters,
    TensorMessage,
    fits,
    plain,
    read_input,
    refuse_unsupported,
    shape_of_raw,
)

# Layouts of binary requests that a service remembers, and the longest of them: a client that sends ever new ones
# gains nothing and costs a bounded amount of memory.
_MAX_LAYOUTS = 256
_LARGEST_LAYOUT = 2048
_CHECKED_BYTES = {"BYTES", "BOOL"}  # whose binary data may be wrong although its size is right
# Arrays and objects in one request's JSON. Read as values each takes 64 to 256 bytes, up to 32 times its text
# (`[]` 21, `{"":{}}` 32); numbers and strings take 3 to 13 times theirs.
MAX_CONTAINERS = 1 << 18
_MAX_ROW = 2048  # elements of a row that are packed as positional arguments


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: Parameters | None = None


class InferMessage(msgspec.Struct, gc=False):
    """A decoded request.

    `inputs` stand in the signature's order; `outputs` is None for «all of them»; `binary_outputs` tells which outputs
    travel as binary, where True and False mean all and none.
    """

    inputs: list[InferInput]
    id: str
    parameters: Parameters | None
    outputs: tuple[str, ...] | None
    binary_outputs: frozenset[str] | bool


class _Layout(msgspec.Struct, gc=False, frozen=True):
    """What the JSON part of a binary request said of a request with one input; `size` is that of its data."""

    shape: tuple[int, ...]
    size: int
    parameters: Parameters | None
    outputs: tuple[str, ...] | None
    binary_outputs: frozenset[str] | bool


def _layout(signature: Signature, message: InferMessage, size: int) -> _Layout | None:
    """The layout of a request whose only input is binary, all of the data, and right whatever its bytes are."""
    if len(signature.inputs) != 1 or message.id or not size:
        return None
    datatype, shape = signature.inputs[0].datatype, message.inputs[0].shape
    if datatype in _CHECKED_BYTES or num_elements(shape) * itemsize(datatype) != size:
        return None
    return _Layout(shape, size, message.parameters, message.outputs, message.binary_outputs)


class _CarefulRequest(msgspec.Struct):
    inputs: list[TensorMessage]
    id: str = ""
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


_careful_decode = msgspec.json.Decoder(_CarefulRequest).decode

# What the fast decoder accepts as `data`, by the datatypes of all inputs together.
_INTEGERS = {"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"}
_ELEMENTS: list[tuple[set[str], Any]] = [
    ({"FP32", "FP64"}, list[float]),
    (_INTEGERS, list[int]),
    ({"BOOL"}, list[bool]),
    ({"BYTES"}, list[str]),
]


class RequestDecoder:
    """Reads the infer requests of one service."""

    def __init__(self, signature: Signature) -> None:
        self._specs = {spec.name: (i, spec) for i, spec in enumerate(signature.inputs)}
        self._signature = signature
        self._fast_decode = _fast_decoder(signature)
        self._one_row = _one_row(signature)
        self._layouts: dict[bytes, _Layout] = {}

    def decode(self, body: Buffer, json_size: int | None = None) -> InferMessage:
        """The request in `body`.

        Args:
            body: JSON; with binary tensors behind it where `json_size` (the Inference-Header-Content-Length) is
                given. 0 means a raw body: nothing but the data of the only input.
        Raises: BadRequestError, UnsupportedError: named field, value, and what was expected. TooLargeError: more
            nested than it may be.
        """
        if json_size is None:
            if self._fast_decode is not None:
                message = self._decode_fast(body)
                if message is not None:
                    return message
            return self._decode_careful(body, b"")
        if not 0 <= json_size <= len(body):
            raise BadRequestError(
                f"Inference-Header-Content-Length is {json_size}; the body has {len(body)} bytes"
            )
        if json_size == 0:
            return self._decode_raw(body)
        return self._decode_binary(body, json_size)

    def _decode_binary(self, body: Buffer, json_size: int) -> InferMessage:
        """JSON, then tensors. The JSON part says nothing but the layout, and clients send the same few again and
        again: what was understood once is kept by its bytes. One with an id of its own is new each time.
        """
        head = bytes(body[:json_size])
        layout = self._layouts.get(head)
        data = memoryview(body)[json_size:]
        if layout is not None and len(data) == layout.size:
            inputs = [InferInput(layout.shape, data)]
            return InferMessage(inputs, "", layout.parameters, layout.outputs, layout.binary_outputs)
        message = self._decode_careful(head, data)
        if len(self._layouts) < _MAX_LAYOUTS and len(head) <= _LARGEST_LAYOUT:
            layout = _layout(self._signature, message, len(data))
            if layout is not None:
                self._layouts[head] = layout
        return message

    def _decode_fast(self, body: Buffer) -> InferMessage | None:
        """A request that is right in the most common form, or None: then the careful reader decides."""
        try:
            request = self._fast_decode(body)
        except JSON_ERRORS:
            return None
        if request.outputs is not None:
            return None
        found = request.inputs
        wishes = request.parameters
        parameters = None if wishes is None else {"timeout": wishes.timeout, "priority": wishes.priority}
        if self._one_row is not None:
            # One row for the only input, flat: as nearly every request for a small model is.
            name, datatype, shape, dims, pack_row = self._one_row
            tensor = found[0] if len(found) == 1 else None
            if tensor and tensor.shape == dims and tensor.name == name and tensor.datatype == datatype:
                try:
                    data = InferInput(shape, pack_row(*tensor.data))
                    return InferMessage([data], request.id, parameters, None, False)
                except (struct.error, OverflowError):
                    return None
        specs = self._specs
        if len(found) != len(specs):
            return None
        inputs: list[Any] = [None] * len(found)
        for tensor in found:
            known = specs.get(tensor.name)
            if known is None:
                return None
            index, spec = known
            shape = tuple(tensor.shape)
            if tensor.datatype != spec.datatype or not fits(shape, spec.shape):
                return None
            values = tensor.data
            if not values or num_elements(shape) != len(values):
                return None
            try:
                inputs[index] = InferInput(shape, pack(spec.datatype, values))
            except BadRequestError:
                return None
        if None in inputs:  # one name twice
            return None
        return InferMessage(inputs, request.id, parameters, None, False)

    def _decode_careful(self, body: Buffer, binary: Buffer) -> InferMessage:
        check_structure(body)
        try:
            request = _careful_decode(body)
        except msgspec.ValidationError as error:
            raise BadRequestError(f"request: {plain(error)}") from None
        except JSON_ERRORS as error:
            raise BadRequestError(f"the body is not valid JSON: {plain(error)}") from None
        refuse_unsupported(request.parameters, "request")
        reader = BinaryReader(binary)
        inputs = self._inputs(request.inputs, reader)
        reader.check_all_read()
        names, chosen = self._outputs(request)
        return InferMessage(inputs, request.id, request.parameters, names, chosen)

    def _inputs(self, found: Sequence[TensorMessage], reader: "BinaryReader") -> list[InferInput]:
        inputs: dict[int, InferInput] = {}
        for tensor in found:
            known = self._specs.get(tensor.name)
            if known is None:
                raise BadRequestError(f"unknown input {shown(tensor.name)}; expected {_names(self._specs)}")
            index, spec = known
            if index in inputs:
                raise BadRequestError(f"input {tensor.name!r} stands twice")
            refuse_unsupported(tensor.parameters, f"input {tensor.name!r}")
            inputs[index] = read_input(tensor, spec, reader)
        missing = [spec.name for i, spec in enumerate(self._signature.inputs) if i not in inputs]
        if missing:
            raise BadRequestError(f"input {missing[0]!r} is missing; expected {_names(self._specs)}")
        return [inputs[i] for i in range(len(inputs))]

    def _outputs(self, request: _CarefulRequest) -> tuple[tuple[str, ...] | None, frozenset[str] | bool]:
        parameters = request.parameters or {}
        default = _flag(parameters, "binary_data_output", "request")
        if not request.outputs:
            return None, default
        known = {spec.name: spec for spec in self._signature.outputs}
        names: list[str] = []
        binary: set[str] = set()
        for output in request.outputs:
            where = f"output {shown(output.name)}"
            if output.name not in known:
                raise BadRequestError(f"unknown {where}; expected {_names(known)}")
            if output.name in names:
                raise BadRequestError(f"{where} is asked for twice")
            refuse_unsupported(output.parameters, where)
            names.append(output.name)
            if _flag(output.parameters or {}, "binary_data", where, default):
                binary.add(output.name)
        return tuple(names), frozenset(binary)

    def _decode_raw(self, body: Buffer) -> InferMessage:
        """Triton's raw binary request: the body is the only input's data, its shape follows from its size."""
        if len(self._signature.inputs) != 1:
            raise BadRequestError(
                f"a raw body needs a model with one input; this one has {len(self._signature.inputs)}"
            )
        spec = self._signature.inputs[0]
        shape = shape_of_raw(spec, len(body), self._signature.batch_axis)
        if spec.datatype == "BYTES":
            item = np.empty(1, object)
            item[0] = bytes(body)
            return InferMessage([InferInput(shape, item)], "", None, None, True)
        data = check_binary(spec.name, spec.datatype, body, num_elements(shape))
        return InferMessage([InferInput(shape, data)], "", None, None, True)


def check_structure(body: Buffer) -> None:
    """Counts brackets without reading: those in strings too, which only a text of a quarter million would notice.

    Raises: TooLargeError.
    """
    if len(body) < 2 * MAX_CONTAINERS:
        return
    text = body if isinstance(body, bytes | bytearray) else bytes(body)
    found = text.count(b"[") + text.count(b"{")
    if found > MAX_CONTAINERS:
        raise TooLargeError(
            f"the JSON has {found} opening brackets; at most {MAX_CONTAINERS} are read: send `data` as one flat array, "
            "or as binary tensors"
        )


class _FastParameters(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The parameters that requests under a deadline carry."""

    timeout: int = 0
    priority: int = 0


def _fast_decoder(signature: Signature) -> Any:
    datatypes = {spec.datatype for spec in signature.inputs}
    for family, elements in _ELEMENTS:
        if datatypes <= family:
            tensor: Any = msgspec.defstruct(
                "FastInput",
                [("name", str), ("shape", list[int]), ("datatype", str), ("data", elements)],
                gc=False,
            )
            # Other parameters, and a choice of outputs, are rare: they send the request to the careful reader.
            request = msgspec.defstruct(
                "FastRequest",
                [
                    ("inputs", list[tensor]),
                    ("id", str, ""),
                    ("parameters", _FastParameters | None, None),
                    ("outputs", msgspec.Raw | None, None),
                ],
                gc=False,
            )
            return msgspec.json.Decoder(request).decode
    return None  # inputs of several families, or binary only


def _one_row(signature: Signature) -> tuple[str, str, tuple[int, ...], list[int], Any] | None:
    """What one row of the only input must look like: name, datatype, shape, the same as a list, and its packer."""
    if len(signature.inputs) != 1 or not signature.batch_axis:
        return None
    spec = signature.inputs[0]
    if VARIABLE in spec.shape[1:] or spec.datatype in BINARY_ONLY or spec.datatype == "BYTES":
        return None
    shape = (1, *spec.shape[1:])
    if not 0 < num_elements(shape) <= _MAX_ROW:
        return None
    return spec.name, spec.datatype, shape, list(shape), packer(spec.datatype, num_elements(shape)).pack


def _flag(parameters: Mapping[str, Any], key: str, where: str, default: bool = False) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise BadRequestError(f"{where}: parameter {key} is {shown(value)}; expected true or false")
    return value


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
