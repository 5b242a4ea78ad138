"""Perf Analyzer's input data: a JSON file, or a folder with one file for each input.

    {"data": [{"INPUT0": [1, 2], "INPUT1": {"b64": "AAAA"}}, {"INPUT0": {"content": [1, 2], "shape": [2]}, ...}]}

Each entry is a request. Shapes leave out the batch axis; the bytes behind b64 and in files are the tensor's, row-major
and little-endian (BYTES behind b64: a 4-byte length before each element; in files: one element a line).
`validation_data` is not read: answers are judged by labels.

Source: triton-inference-server/perf_analyzer, docs/input_data.md and src/data_loader.cc.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError, SpecError
from trivet.load.dialects.contract import Row
from trivet.load.inputs.columns import plain_array
from trivet.load.inputs.shapes import Shapes, check_names, num_free, request_shape
from trivet.spec.data import converted
from trivet.spec.fields import nearest
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.tensor import as_array, check_binary, itemsize, num_elements, shown

_NOT_INPUTS = {"model"}  # keys of an entry that Perf Analyzer allows beside the inputs


def json_rows(path: Path, signature: Signature, max_rows: int, shapes: Shapes | None = None) -> list[Row]:
    """The entries of a file as requests of the model.

    Args: shapes: of inputs whose entries give no shape.
    Raises: SpecError: names the file, the entry and the input.
    """
    check_names(shapes or {}, signature)
    return [
        _row(entry, signature, shapes or {}, f"{path}: data[{i}]")
        for i, entry in enumerate(_entries(path)[:max_rows])
    ]


def plain_json_rows(path: Path, max_rows: int) -> list[Row]:
    """The entries of a file as they are, for dialects that know no signature; b64 becomes one BYTES element."""
    rows: list[Row] = []
    for i, entry in enumerate(_entries(path)[:max_rows]):
        row = {}
        for name, value in entry.items():
            try:
                row[name] = _plain(value)
            except (ValueError, TypeError) as error:
                raise SpecError(f"{path}: data[{i}].{name}: {error}") from None
        rows.append(row)
    return rows


def json_payloads(path: Path) -> list[dict[str, Any]]:
    """Whole bodies: entries of the form {"payload": [{...}]}.

    Raises: SpecError: another form, or a session of several requests.
    """
    payloads = []
    for i, entry in enumerate(_entries(path)):
        where = f"{path}: data[{i}]"
        found = entry.get("payload")
        if not isinstance(found, list) or not found or not isinstance(found[0], dict):
            raise SpecError(f'{where} is {shown(entry)}; expected {{"payload": [{{...}}]}}')
        if len(found) > 1 or "session_id" in entry:
            raise SpecError(
                f"{where}: sessions of several requests are not supported; give each an entry of its own"
            )
        payloads.append(found[0])
    return payloads


def has_payloads(path: Path) -> bool:
    """Whether a file holds whole bodies rather than inputs."""
    return "payload" in _entries(path)[0]


def folder_row(path: Path, signature: Signature, shapes: Shapes | None = None) -> Row:
    """The one request that a folder holds: a file of the input's name for each.

    Raises: SpecError: names the file.
    """
    check_names(shapes or {}, signature)
    row = {}
    for spec in signature.inputs:
        file = path / spec.name
        if not file.is_file():
            found = sorted(entry.name for entry in path.iterdir())
            raise SpecError(f"no file for the input {spec.name!r}{nearest(spec.name, found)}", str(path))
        content = file.read_bytes()
        given = (shapes or {}).get(spec.name)
        if spec.datatype == "BYTES":
            value: Any = content.decode(errors="surrogateescape").splitlines()
            elements = [line.encode(errors="surrogateescape") for line in value]
            row[spec.name] = _shaped(np.array(elements, object), spec, signature, given, str(file))
        else:
            row[spec.name] = _from_bytes(content, spec, signature, given, str(file))
    return row


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not JSON: {error}", str(path)) from None
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list):
        raise SpecError('expected {"data": [{...}, ...]}, the form of Perf Analyzer', str(path))
    if not data:
        raise SpecError("data is empty; at least one entry is needed", str(path))
    for i, entry in enumerate(data):
        if isinstance(entry, list):
            raise SpecError(
                f"data[{i}] is a list: sequences are not supported; give each request as an object", str(path)
            )
        if not isinstance(entry, dict):
            raise SpecError(f"data[{i}] is {shown(entry)}; expected an object of inputs", str(path))
    return data


def _row(entry: Mapping[str, Any], signature: Signature, shapes: Shapes, where: str) -> Row:
    specs = {spec.name: spec for spec in signature.inputs}
    for name in entry:
        if name not in specs and name not in _NOT_INPUTS:
            raise SpecError(f"{where}: the model has no input {name!r}{nearest(name, specs)}")
    row = {}
    for name, spec in specs.items():
        if name not in entry:
            raise SpecError(f"{where}: no input {name!r}")
        row[name] = _tensor(entry[name], spec, signature, shapes.get(name), f"{where}.{name}")
    return row


def _tensor(value: Any, spec: TensorSpec, signature: Signature, shape: Any, where: str) -> NDArray[Any]:
    if isinstance(value, dict):
        shape = value.get("shape", shape)
        if "b64" in value:
            return _from_bytes(_decoded(value["b64"], where), spec, signature, shape, where)
        if "content" not in value:
            raise SpecError(f'{where} has neither "content" nor "b64"')
        value = value["content"]
    if not isinstance(value, list):
        raise SpecError(f'{where} is {shown(value)}; expected a list, or an object with "content" or "b64"')
    try:
        array = converted(value, spec.datatype)
    except (ValueError, TypeError, OverflowError) as error:
        raise SpecError(f"{where} does not fit {spec.datatype}: {error}") from None
    return _shaped(array, spec, signature, shape, where)


def _from_bytes(
    content: bytes, spec: TensorSpec, signature: Signature, shape: Any, where: str
) -> NDArray[Any]:
    full = None if shape is None else _checked_shape(shape, spec, signature, where)
    if full is None:
        # BYTES elements tell their number only together with the shape; others by their size.
        count = len(content) // (itemsize(spec.datatype) or max(1, len(content)))
        full = _inferred(count, spec, signature, where)
    try:
        data = check_binary(spec.name, spec.datatype, content, num_elements(full))
    except BadRequestError as error:
        raise SpecError(f"{where}: {error}") from None
    return as_array(spec.datatype, data, full)


def _shaped(
    array: NDArray[Any], spec: TensorSpec, signature: Signature, shape: Any, where: str
) -> NDArray[Any]:
    full = (
        _inferred(array.size, spec, signature, where)
        if shape is None
        else _checked_shape(shape, spec, signature, where)
    )
    if num_elements(full) != array.size:
        raise SpecError(f"{where} has {array.size} elements; shape {list(full)} needs {num_elements(full)}")
    return array.reshape(full)


def _checked_shape(shape: Any, spec: TensorSpec, signature: Signature, where: str) -> tuple[int, ...]:
    if not isinstance(shape, list | tuple) or not all(type(size) is int for size in shape):
        raise SpecError(f"{where}: shape is {shown(shape)}; expected a list of sizes")
    try:
        return request_shape(spec, signature.batch_axis, shape)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def _inferred(count: int, spec: TensorSpec, signature: Signature, where: str) -> tuple[int, ...]:
    """The shape of `count` elements, where the model leaves at most one dimension free."""
    if num_free(spec, signature.batch_axis) > 1:
        raise SpecError(
            f"{where}: give its shape, as the model leaves several dimensions free: {list(spec.shape)}"
        )
    sizes = list(spec.shape)
    if signature.batch_axis:
        sizes[0] = 1
    rest = num_elements([size for size in sizes if size != VARIABLE])
    return tuple(count // max(1, rest) if size == VARIABLE else size for size in sizes)


def _decoded(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise SpecError(f"{where}.b64 is not base64: {error}") from None


def _plain(value: Any) -> NDArray[Any]:
    if isinstance(value, dict):
        if "b64" in value:
            return plain_array(_decoded(value["b64"], "b64"))
        if "content" not in value:
            raise ValueError('has neither "content" nor "b64"')
        array = plain_array(value["content"])
        return array.reshape(value["shape"]) if "shape" in value else array
    return plain_array(value)
