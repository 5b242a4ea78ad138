"""Files that an ONNX model keeps its weights in, read from the model's protobuf without the onnx package.

Only the fields on the way from the model to its tensors are visited; everything else is skipped by its
length, so that a model of gigabytes costs a few pages. Field numbers: onnx/onnx.proto (ONNX 1.x).
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from trivet.errors import SpecError

# message -> field number -> message of that field
_WAY: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TENSOR_EXTERNAL_DATA = 13  # repeated {key: 1, value: 2}
_TENSOR_DATA_LOCATION = 14
_EXTERNAL = 1
_LOCATION_KEY = b"\x0a\x08location"  # field 1, 8 bytes: in every message that names a file
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types

Span = tuple[int, int]  # start and end in the file


def external_files(model: Path) -> tuple[str, ...]:
    """Locations of external data, relative to the model's folder, each once, in the order of the model.

    Raises: SpecError: not an ONNX file, or a location that leaves the model's folder.
    """
    locations: dict[str, None] = {}
    with model.open("rb") as file:
        if not model.stat().st_size:
            raise SpecError("the model file is empty", str(model))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                locations.update(dict.fromkeys(_locations(data)))
            except (IndexError, ValueError) as error:
                raise SpecError(f"not a complete ONNX file: {error}", str(model)) from None
    for location in locations:
        path = PurePosixPath(location)
        if path.is_absolute() or ".." in path.parts or not location:
            raise SpecError(f"external data at {location!r} lies outside the model's folder", str(model))
    return tuple(locations)


def _locations(data: mmap.mmap) -> Iterator[str]:
    stack: list[tuple[str, Span]] = [("model", (0, len(data)))]
    while stack:
        message, span = stack.pop()
        if message == "attribute" and data.find(_LOCATION_KEY, *span) < 0:
            continue  # a tree ensemble lists millions of numbers here, each a field of its own
        if message == "tensor":
            if (location := _location(data, span)) is not None:
                yield location
            continue
        way = _WAY[message]
        inside = [(way[number], value) for number, value in _fields(data, span) if number in way]
        stack.extend((kind, value) for kind, value in reversed(inside) if isinstance(value, tuple))


def _location(data: mmap.mmap, span: Span) -> str | None:
    external, location = False, None
    for number, value in _fields(data, span):
        if number == _TENSOR_DATA_LOCATION:
            external = value == _EXTERNAL
        elif number == _TENSOR_EXTERNAL_DATA and isinstance(value, tuple):
            entry = {
                key: data[text[0] : text[1]] for key, text in _fields(data, value) if isinstance(text, tuple)
            }
            if entry.get(1) == b"location":
                location = entry.get(2, b"").decode()
    return location if external else None


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, int | Span]]:
    """Number and value of each field: a varint's number, or the span of bytes.

    Raises: ValueError or IndexError: the bytes are not a protobuf message.
    """
    at, end = span
    while at < end:
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ValueError(f"field number 0 at byte {at}")
        if wire_type == _VARINT:
            varint, at = _varint(data, at)
            yield number, varint
            continue
        if wire_type == _BYTES:
            length, at = _varint(data, at)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type} at byte {at}")
        if at + length > end:
            raise ValueError(f"a field of {length} bytes at byte {at} passes the end at {end}")
        yield number, (at, at + length)
        at += length
    if at > end:
        raise ValueError(f"a number passes the end at byte {end}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 10 bytes at byte {at}")
