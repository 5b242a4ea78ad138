"""Open Inference Protocol V2: one tensor of an infer request, read with care: every error names field and value."""

from collections.abc import Mapping
from typing import Any

import msgspec

from trivet.errors import BadRequestError, UnsupportedError
from trivet.spec.signature import VARIABLE, TensorSpec
from trivet.wire.tensor import (
    BINARY_ONLY,
    Buffer,
    TensorData,
    check_binary,
    check_types,
    itemsize,
    num_elements,
    pack,
    shown,
)

Parameters = dict[str, Any]

# What a JSON decoder raises. RecursionError: nested deeper than the interpreter's limit, about a thousand.
JSON_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
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

_decode_any = msgspec.json.Decoder().decode


class InferInput(msgspec.Struct, gc=False):
    """One input of a decoded request: its shape and its data (see `wire.tensor`)."""

    shape: tuple[int, ...]
    data: TensorData


class TensorMessage(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: Parameters | None = None


class BinaryReader:
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


def read_input(tensor: TensorMessage, spec: TensorSpec, reader: BinaryReader) -> InferInput:
    where = f"input {tensor.name!r}"
    if tensor.datatype != spec.datatype:
        raise BadRequestError(f"{where}: datatype is {shown(tensor.datatype)}; expected {spec.datatype!r}")
    shape = tuple(tensor.shape)
    if not fits(shape, spec.shape):
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
    except JSON_ERRORS as error:
        raise BadRequestError(f"{where}: data is not valid JSON: {plain(error)}") from None


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


def shape_of_raw(spec: TensorSpec, size: int, batch_axis: bool) -> tuple[int, ...]:
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


def fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    for dim, expected in zip(shape, declared, strict=True):
        if expected == VARIABLE:
            if not 0 <= dim <= _MAX_ELEMENTS:  # -1 itself is the declaration's word, not a size
                return False
        elif dim != expected:
            return False
    return True


def refuse_unsupported(parameters: Mapping[str, Any] | None, where: str) -> None:
    if not parameters:
        return
    for key, feature in _UNSUPPORTED_PARAMETERS.items():
        if parameters.get(key):
            raise UnsupportedError(f"{where}: parameter {key!r}: {feature} is not supported by this server")


def _shape_text(shape: tuple[int, ...]) -> str:
    sizes = [shown(dim) for dim in shape[:_LONGEST_SHAPE]]
    if len(shape) > _LONGEST_SHAPE:
        sizes.append(f"... ({len(shape)} sizes)")
    return f"[{', '.join(sizes)}]"


def plain(error: Exception) -> str:
    text = str(error)
    return text if text.startswith("JSON") else text[0].lower() + text[1:]
