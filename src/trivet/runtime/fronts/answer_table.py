"""The file of precomputed answers, and the answers in memory.

A Parquet file: a row for each key (wire/row_key.py), a column of flat values and one of shapes for each output. Its
metadata say which configuration gave the answers, and when; pages carry checksums. Whoever writes one writes it beside
its place and renames it: no reader sees half a table.
"""

import math
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError, SpecError
from trivet.runtime.fronts.key_index import KeyIndex
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.row_key import KEY_BYTES

FORMAT = 1
_METADATA = b"trivet.answers"
_KEY = "key"
_SHAPE = ".shape"

Outputs = Mapping[str, NDArray[Any]]


class AnswersHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all answers of a table. `created`: when the job began, ISO 8601 with its zone.

    num_rows: of the table. tables: digests of the files that its features came from, by name as declared.
    """

    configuration: str
    created: str
    num_rows: int
    service: str = ""
    tables: Mapping[str, str] = {}
    format: int = FORMAT


class TableError(SpecError):
    """A table that cannot be used. `reason`: missing, unreadable or mismatch, as the metrics call it."""

    def __init__(self, message: str, where: Path, reason: str) -> None:
        super().__init__(message, str(where))
        self.reason = reason


class _Column:
    """One output of every row: flat values one row after the other, where each row's begin, and its shape."""

    __slots__ = ("_bounds", "_shapes", "_values")

    def __init__(
        self, values: NDArray[Any], bounds: NDArray[np.int64], shapes: Sequence[tuple[int, ...]]
    ) -> None:
        self._values = values
        self._bounds = bounds
        self._shapes = shapes if len(set(shapes)) > 1 else list(shapes[:1])

    def row(self, place: int) -> NDArray[Any]:
        shape = self._shapes[place if len(self._shapes) > 1 else 0]
        return self._values[self._bounds[place] : self._bounds[place + 1]].reshape(shape)


class AnswerTable:
    """Answers by key. Arrays are views of the table: whoever keeps one copies it."""

    __slots__ = ("_batch_axis", "_columns", "_index", "created_s", "header")

    def __init__(
        self, header: AnswersHeader, index: KeyIndex, columns: Mapping[str, _Column], batch_axis: bool
    ) -> None:
        self.header = header
        self.created_s = datetime.fromisoformat(header.created).timestamp()
        self._index = index
        self._columns = columns
        self._batch_axis = batch_axis

    def __len__(self) -> int:
        return len(self._index)

    def find(self, keys: Sequence[bytes]) -> dict[str, NDArray[Any]] | None:
        """The outputs for these rows, in their order; None: one is not there, or their shapes differ."""
        places = self._index.find_all(keys)
        if places is None:
            return None
        if not self._batch_axis:
            return {name: column.row(places[0]) for name, column in self._columns.items()}
        if len(places) == 1:
            return {name: column.row(places[0])[None] for name, column in self._columns.items()}
        found = {}
        for name, column in self._columns.items():
            rows = [column.row(place) for place in places]
            if any(row.shape != rows[0].shape for row in rows):
                return None
            found[name] = np.stack(rows)
        return found


def read_answers(path: Path, configuration_hash: str, signature: Signature) -> AnswerTable:
    """The table of a configuration.

    Raises: TableError: it is not there, cannot be read whole, or belongs to another configuration.
    ExtraMissingError: pyarrow is not installed.
    """
    arrow, parquet = import_parquet("precomputed answers")
    if not path.is_file():
        raise TableError("no such file; write it with trivet precompute", path, "missing")
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            header = _header(file.schema_arrow.metadata, path)
            _check(header, configuration_hash, path)
            table = file.read()
        if table.num_rows != header.num_rows:
            raise TableError(
                f"{table.num_rows} rows; its own header says {header.num_rows}", path, "unreadable"
            )
        _check_types(arrow, table, signature, path)
        index = KeyIndex(_keys(table.column(_KEY).combine_chunks()))
        columns = {spec.name: _column(table, spec, path) for spec in signature.outputs}
    except (OSError, KeyError, ValueError, arrow.ArrowException) as error:
        raise TableError(f"not a whole answer table: {error}", path, "unreadable") from None
    return AnswerTable(header, index, columns, signature.batch_axis)


def _header(metadata: Mapping[bytes, bytes] | None, path: Path) -> AnswersHeader:
    text = (metadata or {}).get(_METADATA)
    if text is None:
        raise TableError("a Parquet file, but no answer table of trivet precompute", path, "mismatch")
    try:
        header = msgspec.json.decode(text, type=AnswersHeader)
        datetime.fromisoformat(header.created).timestamp()
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise TableError(f"its header cannot be read: {error}", path, "unreadable") from None
    return header


def _check(header: AnswersHeader, configuration_hash: str, path: Path) -> None:
    if header.format != FORMAT:
        message = f"its format is {header.format}; this version reads {FORMAT}: run trivet precompute again"
        raise TableError(message, path, "mismatch")
    if header.configuration != configuration_hash:
        raise TableError(
            f"answers of configuration {header.configuration[:12]}; this is {configuration_hash[:12]}: run "
            "trivet precompute again",
            path,
            "mismatch",
        )


def _check_types(arrow: Any, table: Any, signature: Signature, path: Path) -> None:
    """Raises: TableError: a column of another type than this version writes, or one with holes.  KeyError: a missing one."""
    types = arrow.types
    columns = [(_KEY, types.is_fixed_size_binary, arrow.binary(KEY_BYTES))]
    for spec in signature.outputs:
        columns.append((spec.name, types.is_large_list, _kind(arrow, spec)))
        columns.append((spec.name + _SHAPE, types.is_list, arrow.int64()))
    for name, is_right, kind in columns:
        column = table.column(name)
        is_whole = is_right(column.type) and not column.null_count
        if is_whole and name != _KEY:
            values = column.combine_chunks().values
            is_whole = values.type == kind and not values.null_count
        elif is_whole:
            is_whole = column.type == kind
        if not is_whole:
            raise TableError(
                f"column {name!r} ({column.type}) is none of ours, or has holes", path, "unreadable"
            )


def _keys(column: Any) -> bytes:
    size = len(column) * KEY_BYTES
    start = column.offset * KEY_BYTES
    return bytes(memoryview(column.buffers()[1])[start : start + size]) if size else b""


def _column(table: Any, spec: TensorSpec, path: Path) -> _Column:
    lists = table.column(spec.name).combine_chunks()
    shapes = [tuple(shape) for shape in table.column(spec.name + _SHAPE).to_pylist()]
    bounds = lists.offsets.to_numpy().astype(np.int64)
    flat = lists.values
    if spec.datatype == "BYTES":
        values = np.empty(len(flat), np.object_)
        values[:] = flat.to_pylist()
    else:
        values = flat.to_numpy(zero_copy_only=False).astype(NUMPY_OF_DATATYPE[spec.datatype], copy=False)
    sizes = [math.prod(shape) for shape in shapes]
    if sizes != np.diff(bounds).tolist() or any(min(shape, default=0) < 0 for shape in shapes):
        raise TableError(f"values and shapes of {spec.name!r} do not fit together", path, "unreadable")
    return _Column(values, bounds, shapes)


def answers_table(keys: Sequence[bytes], rows: Sequence[Outputs], signature: Signature) -> Any:
    """A pyarrow.Table of answers, without a header.

    Args: rows: for each key its outputs, without the batch axis where the signature has one.
    """
    arrow, _ = import_parquet("precomputed answers")
    columns: dict[str, Any] = {_KEY: arrow.array(keys, arrow.binary(KEY_BYTES))}
    for spec in signature.outputs:
        arrays = [row[spec.name] for row in rows]
        dtype = np.dtype(NUMPY_OF_DATATYPE[spec.datatype])
        flat = [array.reshape(-1) for array in arrays]
        ends = np.cumsum([0, *(len(one) for one in flat)], dtype=np.int64)
        values = np.concatenate(flat) if flat else np.empty(0, dtype)
        columns[spec.name] = arrow.LargeListArray.from_arrays(
            arrow.array(ends),
            arrow.array(values.tolist() if dtype.kind == "O" else values, _kind(arrow, spec)),
        )
        columns[spec.name + _SHAPE] = arrow.array(
            [list(array.shape) for array in arrays], arrow.list_(arrow.int64())
        )
    return arrow.table(columns)


def _kind(arrow: Any, spec: TensorSpec) -> Any:
    """Of one value of an output."""
    if spec.datatype == "BYTES":
        return arrow.binary()
    return arrow.from_numpy_dtype(np.dtype(NUMPY_OF_DATATYPE[spec.datatype]))


def publish(table: Any, header: AnswersHeader, path: Path) -> None:
    """Put a table in its place, whole: readers find the one before or this one."""
    _, parquet = import_parquet("precomputed answers")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        parquet.write_table(
            table.replace_schema_metadata({_METADATA: msgspec.json.encode(header)}),
            beside,
            write_page_checksum=True,
        )
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def import_parquet(feature: str) -> tuple[Any, Any]:
    """pyarrow and its Parquet module. Raises: ExtraMissingError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ExtraMissingError(feature, "rows") from None
    return pyarrow, pyarrow.parquet
