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

from trivet.errors import BadRequestError, UnsupportedError
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.tensor import (
    BINARY_ONLY,
    Buffer,
    TensorData,
    check_binary,
    check_types,
    itemsize,
    num_elements,
    pack,
    packer,
    shown,
)

Parameters = dict[str, Any]

# Layouts of binary requests that a service remembers, and the longest of them: a client that sends ever new ones
# gains nothing and costs a bounded amount of memory.
_MAX_LAYOUTS = 256
_LARGEST_LAYOUT = 2048
_MAX_ROW = 2048  # elements of a row that are packed as positional arguments

# Sizes past this are lies or mistakes: the product would not fit the protocol's int64 either.
_MAX_ELEMENTS = 1 << 40
# Of an empty tensor: nothing in the body pays for the rows that a model would have to run.
_MAX_EMPTY = 4096
_LONGEST_SHAPE = 10  # sizes of a wrong shape that an error message repeats
_UNSUPPORTED_PARAMETERS = {
    "shared_memory_region": "shared memory",
    "shared_memory_byte_size": "shared memory",
    "shared_memory_offset": "shared memory",
    "classification": "the classification extension",
    "sequence_id": "sequences",
    "sequence_start": "sequences",
    "sequence_end": "sequences",
}


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: Parameters | None = None


class InferInput(msgspec.Struct, gc=False):
    """One input of a decoded request: its shape and its data (see `wire.tensor`)."""

    shape: tuple[int, ...]
    data: TensorData


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


class _Layout:
    """What the JSON part of a binary request said. `tensors`: (name, datatype, shape, elements, start, stop)."""

    __slots__ = ("binary_outputs", "id", "outputs", "parameters", "size", "tensors")

    def __init__(
        self, message: InferMessage, tensors: list[tuple[str, str, tuple[int, ...], int, int, int]]
    ) -> None:
        self.id = message.id
        self.parameters = message.parameters
        self.outputs = message.outputs
        self.binary_outputs = message.binary_outputs
        self.tensors = tensors
        self.size = tensors[-1][5]


def _layout(signature: Signature, message: InferMessage, size: int) -> _Layout | None:
    """The layout of a request whose inputs are all binary, of fixed-size datatypes, in the signature's order."""
    tensors = []
    start = 0
    for spec, tensor in zip(signature.inputs, message.inputs, strict=True):
        count = num_elements(tensor.shape)
        stop = start + count * itemsize(spec.datatype)
        tensors.append((spec.name, spec.datatype, tensor.shape, count, start, stop))
        start = stop
    one_input = len(tensors) == 1  # of several, the order in the body is the request's own
    return _Layout(message, tensors) if one_input and start == size and size and not message.id else None


class _CarefulInput(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: Parameters | None = None


class _CarefulRequest(msgspec.Struct):
    inputs: list[_CarefulInput]
    id: str = ""
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


_careful_decode = msgspec.json.Decoder(_CarefulRequest).decode
_decode_any = msgspec.json.Decoder().decode
# What a JSON decoder raises. RecursionError: nested deeper than the interpreter's limit, about a thousand.
_JSON_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

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
        Raises: BadRequestError, UnsupportedError: named field, value, and what was expected.
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
        view = memoryview(body)
        head = bytes(view[:json_size])
        layout = self._layouts.get(head)
        if layout is not None and len(body) - json_size == layout.size:
            inputs = [
                InferInput(
                    shape, check_binary(name, datatype, view[json_size + start : json_size + stop], count)
                )
                for name, datatype, shape, count, start, stop in layout.tensors
            ]
            return InferMessage(inputs, layout.id, layout.parameters, layout.outputs, layout.binary_outputs)
        message = self._decode_careful(head, view[json_size:])
        if len(self._layouts) < _MAX_LAYOUTS and len(head) <= _LARGEST_LAYOUT:
            layout = _layout(self._signature, message, len(body) - json_size)
            if layout is not None:
                self._layouts[head] = layout
        return message

    def _decode_fast(self, body: Buffer) -> InferMessage | None:
        """A request that is right in the most common form, or None: then the careful reader decides."""
        try:
            request = self._fast_decode(body)
        except _JSON_ERRORS:
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
            if tensor.datatype != spec.datatype or not _fits(shape, spec.shape):
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
        try:
            request = _careful_decode(body)
        except msgspec.ValidationError as error:
            raise BadRequestError(f"request: {_plain(error)}") from None
        except _JSON_ERRORS as error:
            raise BadRequestError(f"the body is not valid JSON: {_plain(error)}") from None
        _refuse_unsupported(request.parameters, "request")
        reader = _BinaryReader(binary)
        inputs = self._inputs(request.inputs, reader)
        reader.check_all_read()
        names, chosen = self._outputs(request)
        return InferMessage(inputs, request.id, request.parameters, names, chosen)

    def _inputs(self, found: Sequence[_CarefulInput], reader: "_BinaryReader") -> list[InferInput]:
        inputs: dict[int, InferInput] = {}
        for tensor in found:
            known = self._specs.get(tensor.name)
            if known is None:
                raise BadRequestError(f"unknown input {shown(tensor.name)}; expected {_names(self._specs)}")
            index, spec = known
            if index in inputs:
                raise BadRequestError(f"input {tensor.name!r} stands twice")
            _refuse_unsupported(tensor.parameters, f"input {tensor.name!r}")
            inputs[index] = _read_input(tensor, spec, reader)
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
            _refuse_unsupported(output.parameters, where)
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
        shape = _shape_of_raw(spec, len(body), self._signature.batch_axis)
        if spec.datatype == "BYTES":
            item = np.empty(1, object)
            item[0] = bytes(body)
            return InferMessage([InferInput(shape, item)], "", None, None, True)
        data = check_binary(spec.name, spec.datatype, body, num_elements(shape))
        return InferMessage([InferInput(shape, data)], "", None, None, True)


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


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    for dim, expected in zip(shape, declared, strict=True):
        if expected == VARIABLE:
            if not 0 <= dim <= _MAX_ELEMENTS:  # -1 itself is the declaration's word, not a size
                return False
        elif dim != expected:
            return False
    return True


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


class _BinaryReader:
    """Hands out consecutive slices of the binary part of a body."""

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int, where: str) -> Buffer:
        left = len(self._data) - self._at
        if size > left:
            raise BadRequestError(
                f"{where}: binary_data_size is {shown(size)}; {left} bytes of binary data are left"
            )
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def check_all_read(self) -> None:
        if self._at != len(self._data):
            raise BadRequestError(
                f"{len(self._data) - self._at} bytes of binary data belong to no input (check binary_data_size)"
            )


def _read_input(tensor: _CarefulInput, spec: TensorSpec, reader: _BinaryReader) -> InferInput:
    where = f"input {tensor.name!r}"
    if tensor.datatype != spec.datatype:
        raise BadRequestError(f"{where}: datatype is {shown(tensor.datatype)}; expected {spec.datatype!r}")
    shape = tuple(tensor.shape)
    if not _fits(shape, spec.shape):
        raise BadRequestError(
            f"{where}: shape is {_shape_text(shape)}; expected {list(spec.shape)} (-1: any size)"
        )
    count = num_elements(shape)
    # Sizes of 0 left out: numpy cannot hold an empty array either whose other sizes are past its limits.
    largest = num_elements([dim or 1 for dim in shape])
    if largest > _MAX_ELEMENTS:
        raise BadRequestError(
            f"{where}: shape {list(shape)} has {largest} elements; at most {_MAX_ELEMENTS} are possible"
        )
    if count == 0 and largest > _MAX_EMPTY:
        raise BadRequestError(
            f"{where}: shape {list(shape)} has {largest} rows and columns of nothing; at most {_MAX_EMPTY}"
        )
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is not None:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise BadRequestError(f"{where}: binary_data_size is {shown(size)}; expected a count of bytes")
        if tensor.data is not msgspec.UNSET:
            raise BadRequestError(f"{where}: has both data and binary_data_size; send one of them")
        return InferInput(shape, check_binary(tensor.name, spec.datatype, reader.take(size, where), count))
    if tensor.data is msgspec.UNSET:
        raise BadRequestError(f"{where}: has neither data nor binary_data_size")
    if spec.datatype in BINARY_ONLY:
        raise BadRequestError(f"{where}: {spec.datatype} cannot travel as JSON; send it as binary data")
    values = _flatten(_decode_data(tensor.data, where), shape, where)
    try:
        check_types(spec.datatype, values)
        return InferInput(shape, pack(spec.datatype, values))
    except BadRequestError as error:
        raise BadRequestError(f"{where}: {error}") from None


def _decode_data(data: msgspec.Raw, where: str) -> Any:
    """What was only skipped until now: text that is not UTF-8 and numbers past all ranges show here."""
    try:
        return _decode_any(data)
    except _JSON_ERRORS as error:
        raise BadRequestError(f"{where}: data is not valid JSON: {_plain(error)}") from None


def _flatten(data: Any, shape: tuple[int, ...], where: str) -> list[Any]:
    """Flat values of `data`, which is flat already or nested in the form of `shape`."""
    if not isinstance(data, list):
        raise BadRequestError(f"{where}: data is {shown(data)}; expected an array")
    count = num_elements(shape)
    nested = bool(data) and isinstance(data[0], list)
    values = _flatten_nested(data, shape, where) if nested else data
    if len(values) != count:
        raise BadRequestError(f"{where}: {len(values)} elements of data; shape {list(shape)} needs {count}")
    return values


def _flatten_nested(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    for depth, dim in enumerate(shape):
        if len(data) != num_elements(shape[: depth + 1]):
            raise BadRequestError(
                f"{where}: nested data does not have the shape {list(shape)} (dimension {depth} is {dim})"
            )
        if depth == len(shape) - 1:
            return data
        flat: list[Any] = []
        for row in data:
            if not isinstance(row, list) or len(row) != shape[depth + 1]:
                raise BadRequestError(
                    f"{where}: nested data does not have the shape {list(shape)}: dimension {depth + 1} has {shown(row)}"
                )
            flat.extend(row)
        data = flat
    return data


def _shape_of_raw(spec: TensorSpec, size: int, batch_axis: bool) -> tuple[int, ...]:
    shape = [1 if batch_axis and i == 0 else dim for i, dim in enumerate(spec.shape)]
    if spec.datatype == "BYTES":
        if num_elements([1 if dim == VARIABLE else dim for dim in shape]) != 1:
            raise BadRequestError(
                f"a raw body is one BYTES element; input {spec.name!r} has shape {list(spec.shape)}"
            )
        return tuple(1 if dim == VARIABLE else dim for dim in shape)
    free = [i for i, dim in enumerate(shape) if dim == VARIABLE]
    if len(free) > 1:
        raise BadRequestError(
            f"a raw body cannot tell the {len(free)} free dimensions of input {spec.name!r}: {list(spec.shape)}"
        )
    if free:
        rest = itemsize(spec.datatype) * num_elements([dim for dim in shape if dim != VARIABLE])
        if rest == 0 or size % rest:
            raise BadRequestError(
                f"a raw body of {size} bytes does not fill input {spec.name!r} of shape {list(spec.shape)}"
            )
        shape[free[0]] = size // rest
    return tuple(shape)


def _flag(parameters: Mapping[str, Any], key: str, where: str, default: bool = False) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise BadRequestError(f"{where}: parameter {key} is {shown(value)}; expected true or false")
    return value


def _refuse_unsupported(parameters: Mapping[str, Any] | None, where: str) -> None:
    if not parameters:
        return
    for key, feature in _UNSUPPORTED_PARAMETERS.items():
        if parameters.get(key):
            raise UnsupportedError(f"{where}: parameter {key!r}: {feature} is not supported by this server")


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in names)


def _shape_text(shape: tuple[int, ...]) -> str:
    sizes = [shown(dim) for dim in shape[:_LONGEST_SHAPE]]
    if len(shape) > _LONGEST_SHAPE:
        sizes.append(f"... ({len(shape)} sizes)")
    return f"[{', '.join(sizes)}]"


def _plain(error: Exception) -> str:
    text = str(error)
    return text if text.startswith("JSON") else text[0].lower() + text[1:]
