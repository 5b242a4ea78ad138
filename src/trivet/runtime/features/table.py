"""Features of a Parquet file, in memory: a lookup is a search by halving and one indexing for each tensor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.runtime.features.entity_key import digest
from trivet.runtime.fronts.answer_table import TableError, import_parquet
from trivet.runtime.fronts.key_index import KeyIndex
from trivet.spec.features import Features
from trivet.spec.fields import nearest

MISSING, UNAVAILABLE = -1, -2  # instead of a place


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Rows of entities.

    places: of each entity asked about its row, or MISSING, or UNAVAILABLE. tensors: by name, rows on axis 0.
    updated_s: when each row was written, in seconds since 1970; one for all, or none.
    """

    places: list[int]
    tensors: Mapping[str, NDArray[Any]]
    updated_s: NDArray[np.float64] | float


class FeatureTable:
    """Args: complete: which rows have all their values."""

    __slots__ = ("_complete", "_index", "_tensors", "_updated_s")

    def __init__(
        self,
        index: KeyIndex,
        tensors: Mapping[str, NDArray[Any]],
        complete: NDArray[np.bool_] | None,
        updated_s: NDArray[np.float64] | float,
    ) -> None:
        self._index = index
        self._tensors = tensors
        self._complete = complete
        self._updated_s = updated_s

    def __len__(self) -> int:
        return len(self._index)

    def find(self, keys: Sequence[bytes]) -> FeatureRows:
        find, complete = self._index.find, self._complete
        places = [find(digest(key)) for key in keys]
        if complete is not None:
            places = [place if place >= 0 and complete[place] else MISSING for place in places]
        return FeatureRows(places, self._tensors, self._updated_s)


def read_features(path: Path, declared: Features) -> FeatureTable:
    """Raises: TableError: the file is not there, not whole, or not such a table. ExtraMissingError: no pyarrow."""
    arrow, parquet = import_parquet("features from a Parquet file")
    if not path.is_file():
        raise TableError("no such file", path, "missing")
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, path, declared)
            wanted = {declared.key, *(column for columns in declared.tensors.values() for column in columns)}
            if declared.updated is not None:
                wanted.add(declared.updated)
            table = file.read(columns=sorted(wanted)).combine_chunks()
        return _table(table, path, declared)
    except (OSError, ValueError, TypeError, arrow.ArrowException) as error:
        raise TableError(f"not a whole table of features: {error}", path, "unreadable") from None


def _check_columns(names: Sequence[str], path: Path, declared: Features) -> None:
    wanted = [declared.key, *(column for columns in declared.tensors.values() for column in columns)]
    for column in [*wanted, *([declared.updated] if declared.updated else [])]:
        if column not in names:
            raise TableError(f"no column {column!r}{nearest(column, names)}", path, "mismatch")


def _table(table: Any, path: Path, declared: Features) -> FeatureTable:
    keys = table.column(declared.key).to_pylist()
    if any(not isinstance(key, int | str | bytes) for key in keys):
        raise TableError(f"column {declared.key!r} holds no integers or text, or no value", path, "mismatch")
    index = KeyIndex(b"".join(digest(_as_bytes(key)) for key in keys))
    complete = np.ones(table.num_rows, np.bool_)
    tensors = {}
    for name, columns in declared.tensors.items():
        arrays = []
        for column in columns:
            array, is_there = _array(table.column(column), path, column)
            complete &= is_there
            arrays.append(array)
        tensors[name] = np.stack(arrays, axis=1) if declared.is_joined(name) else arrays[0]
        default = declared.default.get(name)
        if default is not None and isinstance(default, str) != (tensors[name].dtype.kind == "O"):
            raise TableError(
                f"the default {default!r} of {name!r} does not go with column {columns[0]!r}",
                path,
                "mismatch",
            )
    updated = path.stat().st_mtime if declared.updated is None else _times(table.column(declared.updated))
    return FeatureTable(index, tensors, None if complete.all() else complete, updated)


def _as_bytes(key: int | str | bytes) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


def _array(column: Any, path: Path, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A column's values, and which of its rows have one. Lists are rows of one length."""
    values = column.to_pylist()
    is_there = np.array([value is not None for value in values], np.bool_)
    first = next((value for value in values if value is not None), 0.0)
    if isinstance(first, str | bytes):
        array = np.empty(len(values), np.object_)
        array[:] = [b"" if value is None else _as_bytes(value) for value in values]
        return array, is_there
    if isinstance(first, list):
        lengths = {len(value) for value in values if value is not None}
        if len(lengths) > 1:
            raise TableError(
                f"lists of {sorted(lengths)[:3]} values in {name!r}; one length is needed", path, "mismatch"
            )
        kind = np.asarray(first).dtype
        rows = np.array([value if value is not None else first for value in values], kind)
        return (rows.astype(np.float32) if kind == np.float64 else rows), is_there
    array = column.to_numpy()
    if array.dtype.kind not in "biuf":
        raise TableError(f"column {name!r} holds {column.type}; expected numbers or text", path, "mismatch")
    return array, is_there & ~np.isnan(array) if array.dtype.kind == "f" else is_there


def _times(column: Any) -> NDArray[np.float64]:
    """Seconds since 1970; where there is none, the row is as old as can be."""
    values = column.to_pylist()
    return np.array([_seconds(value) for value in values], np.float64)


def _seconds(value: Any) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return 0.0 if value is None else float(value)
