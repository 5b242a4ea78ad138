"""A file of inputs, some rows at a time: a Parquet file is never in memory as a whole."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trivet.errors import SpecError
from trivet.runtime.fronts.answer_table import import_parquet
from trivet.spec.data import Column, read_columns, rows_of
from trivet.spec.fields import FieldError, nearest
from trivet.spec.service import Service
from trivet.spec.signature import Signature
from trivet.wire.v2_input import InferInput

_ALL_ROWS = 1 << 30


class InputChunks:
    """Rows of inputs as a service takes them, in the file's order.

    An input is fed by the column of its name; where there is none, by those that the service's `data` names for it.
    Raises: SpecError: the file cannot be read or has no column for an input.
    """

    def __init__(self, path: Path, signature: Signature, service: Service) -> None:
        self._path = path
        self._signature = signature
        if not path.is_file():
            raise SpecError("no such file", str(path))
        self._parquet: Any = None
        self._columns: Mapping[str, Column] = {}
        if path.suffix == ".parquet":
            self._parquet = _opened(path)
            names = self._parquet.schema_arrow.names
            self.num_rows: int = self._parquet.metadata.num_rows
        else:
            self._columns = read_columns(path, None, _ALL_ROWS)
            names = list(self._columns)
            self.num_rows = min((len(column) for column in self._columns.values()), default=0)
        self._feeds = _feeds(path, signature, service, names)
        if not self.num_rows:
            raise SpecError("no rows to answer", str(path))

    def digest(self) -> str:
        """Of the file's bytes and of which column feeds what."""
        digest = hashlib.sha256(repr(sorted(self._feeds.items())).encode())
        with self._path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def chunks(self, rows: int) -> Iterator["Chunk"]:
        """The file in pieces of `rows` rows; the last may be shorter."""
        if self._parquet is None:
            for start in range(0, self.num_rows, rows):
                stop = min(self.num_rows, start + rows)
                yield Chunk(self, {name: column[start:stop] for name, column in self._columns.items()}, start)
            return
        wanted = sorted({column for feed in self._feeds.values() for column in feed})
        start = 0
        for batch in self._parquet.iter_batches(batch_size=rows, columns=wanted):
            yield Chunk(self, batch, start)
            start += batch.num_rows

    def inputs(self, columns: Mapping[str, Column], start: int) -> list[list[InferInput]]:
        size = min(len(column) for column in columns.values())
        try:
            found = rows_of(self._signature, self._feeds, columns, range(size))
        except FieldError as error:
            raise SpecError(f"in the rows from {start + 1} on, {error.message}", str(self._path)) from None
        return [[_input(row[spec.name]) for spec in self._signature.inputs] for row in found]


class Chunk:
    """Consecutive rows, read but not yet converted. Args: columns: lists by name, or a pyarrow.RecordBatch."""

    def __init__(self, source: InputChunks, columns: Any, start: int) -> None:
        self._source = source
        self._columns = columns
        self.start = start

    def inputs(self) -> list[list[InferInput]]:
        """Raises: SpecError: a value does not fit its input."""
        columns = self._columns
        if not isinstance(columns, Mapping):
            columns = columns.to_pydict()
        return self._source.inputs(columns, self.start)


def _opened(path: Path) -> Any:
    arrow, parquet = import_parquet("reading Parquet")
    try:
        return parquet.ParquetFile(path)
    except (OSError, arrow.ArrowException) as error:
        raise SpecError(f"not a whole Parquet file: {error}", str(path)) from None


def _feeds(
    path: Path, signature: Signature, service: Service, names: list[str]
) -> dict[str, tuple[str, ...]]:
    declared = {} if service.data is None else service.data.columns
    feeds = {}
    for spec in signature.inputs:
        columns = (spec.name,) if spec.name in names else declared.get(spec.name, spec.name)
        feeds[spec.name] = (columns,) if isinstance(columns, str) else columns
        for column in feeds[spec.name]:
            if column not in names:
                hint = nearest(column, names)
                raise SpecError(f"no column {column!r} for the input {spec.name!r}{hint}", str(path))
    return feeds


def _input(array: Any) -> InferInput:
    return InferInput(array.shape, np.ascontiguousarray(array))
