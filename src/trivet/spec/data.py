"""Labelled rows of a service: columns of a CSV, Parquet or npz file, or of a folder.

A folder holds one subfolder of files for each label; its columns are `file` (the bytes) and `label`. Nothing is
unpickled, and never more than the rows asked for is kept.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError, SpecError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.fields import FieldError, nearest
from trivet.spec.service import Data
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

Column = Sequence[Any]  # one value a row: text, bytes, a number, or an array

_ALL_ROWS = 1 << 30  # of a file in which the wanted rows may stand anywhere
_SAMPLED_BYTES = 1 << 20
_SAMPLED_FILES = 1_000

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def column_names(path: Path) -> tuple[str, ...]:
    """The columns of a data file, in its order. Raises: SpecError: it cannot be read."""
    return tuple(read_columns(path, None, 0))


def read_columns(path: Path, names: Sequence[str] | None, max_rows: int) -> dict[str, Column]:
    """The first `max_rows` rows of the named columns (None: of all), in the file's order.

    Raises: SpecError: the file cannot be read, or has no such column.
    """
    try:
        if path.is_dir():
            columns = _folder(path, max_rows)
        elif path.suffix == ".csv":
            columns = _csv(path, max_rows)
        elif path.suffix == ".parquet":
            columns = _parquet(path, max_rows)
        elif path.suffix == ".npz":
            columns = _npz(path, max_rows)
        else:
            raise SpecError(
                f"expected a .csv, .parquet or .npz file or a folder, got {path.name!r}", str(path)
            )
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}", str(path)) from None
    for name in names or ():
        if name not in columns:
            raise SpecError(f"no column {name!r}{nearest(name, columns)}", str(path))
    return {name: columns[name] for name in (columns if names is None else names)}


class LabelledRows(NamedTuple):
    """Of each row its inputs, its label as the file has it, and its cohort (empty: none is declared)."""

    inputs: list[dict[str, NDArray[Any]]]
    labels: list[Any]
    cohorts: list[str]


def input_rows(data: Data, root: Path, signature: Signature, max_rows: int) -> list[dict[str, NDArray[Any]]]:
    """The first rows as inputs of single requests, with a batch axis of 1 where the signature has one.

    Raises: FieldError: the file, a column or a value does not fit the inputs.
    """
    feeds = _feeds(data, signature)
    columns = _read(data, root, [column for feed in feeds.values() for column in feed], max_rows)
    num_rows = min((len(column) for column in columns.values()), default=0)
    return rows_of(signature, feeds, columns, range(num_rows))


def labelled_rows(
    data: Data, root: Path, signature: Signature, max_rows: int, split: str | None = None
) -> LabelledRows:
    """The first rows of a split (None: of all) with what is known about them, to judge the answers by.

    Raises: FieldError: as `input_rows`; no label or split is declared; no row is in the split; a row has no label, or
    an array of the file has fewer rows than another.
    """
    feeds = _feeds(data, signature)
    if data.label is None:
        raise FieldError(("data", "label"), "answers are judged by labels; name the column that holds them")
    if split is not None and data.split is None:
        raise FieldError(("data", "split"), f"no column tells which rows are in the split {split!r}")
    about = [name for name in (data.label, data.cohort, data.split if split else None) if name]
    names = [*(column for feed in feeds.values() for column in feed), *about]
    columns = _read(data, root, names, max_rows if split is None else _ALL_ROWS)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise FieldError(("data", "path"), f"{data.path}: columns of different lengths: {lengths}")
    chosen = _of_split(data, columns, split)[:max_rows]
    labels = [columns[data.label][row] for row in chosen]
    for row, label in zip(chosen, labels, strict=True):
        if label is None or (isinstance(label, str) and not label.strip()):
            raise FieldError(("data", "label"), f"{data.path}: row {row + 1} has no label")
    cohorts = [_text(columns[data.cohort][row]) for row in chosen] if data.cohort else []
    return LabelledRows(rows_of(signature, feeds, columns, chosen), labels, cohorts)


def _of_split(data: Data, columns: Mapping[str, Column], split: str | None) -> list[int]:
    if split is None or data.split is None:
        return list(range(len(next(iter(columns.values())))))
    names = [_text(value) for value in columns[data.split]]
    chosen = [row for row, name in enumerate(names) if name == split]
    if not chosen:
        found = ", ".join(dict.fromkeys(names)) or "no rows at all"
        raise FieldError(("data", "split"), f"{data.path}: no row is in the split {split!r}; found: {found}")
    return chosen


def _text(value: Any) -> str:
    """A cell that names something, whatever the file's type for it is."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _feeds(data: Data, signature: Signature) -> dict[str, tuple[str, ...]]:
    """The columns that feed each input."""
    specs = {spec.name: spec for spec in signature.inputs}
    for name in data.columns:
        if name not in specs:
            raise FieldError(
                ("data", "columns", name), f"the model has no input {name!r}{nearest(name, specs)}"
            )
    for name in specs:
        if name not in data.columns:
            raise FieldError(("data", "columns"), f"no column feeds the input {name!r}")
    return {name: _as_tuple(columns) for name, columns in data.columns.items()}


def _read(data: Data, root: Path, names: Sequence[str], max_rows: int) -> dict[str, Column]:
    try:
        return read_columns(root / data.path, names, max_rows)
    except SpecError as error:
        raise FieldError(("data", "path"), str(error)) from None


def rows_of(
    signature: Signature,
    feeds: Mapping[str, tuple[str, ...]],
    columns: Mapping[str, Column],
    rows: Sequence[int],
) -> list[dict[str, NDArray[Any]]]:
    """The named rows of some columns as `input_rows` gives them. Args: feeds: the columns of each input.

    Raises: FieldError: a value does not fit its input.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    return [
        {name: _input(specs[name], columns, feed, row, signature.batch_axis) for name, feed in feeds.items()}
        for row in rows
    ]


def sample_digest(data: Data, root: Path) -> str:
    """Identifies the data that a profile is measured on: its beginning and size, and which column feeds what."""
    path = root / data.path
    digest = hashlib.sha256(repr(sorted(data.columns.items())).encode())
    if path.is_dir():
        for file in islice(sorted(path.glob("*/*")), _SAMPLED_FILES):
            digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
    elif path.is_file():
        with path.open("rb") as content:
            digest.update(f"{path.stat().st_size} ".encode() + content.read(_SAMPLED_BYTES))
    return digest.hexdigest()


def _input(
    spec: TensorSpec, columns: Mapping[str, Column], feed: tuple[str, ...], row: int, batch_axis: bool
) -> NDArray[Any]:
    """One request's tensor: the values of its columns, in the shape of the input."""
    try:
        values = [converted(columns[name][row], spec.datatype) for name in feed]
        array = values[0] if len(values) == 1 else np.concatenate([value.reshape(-1) for value in values])
        return array.reshape(
            (1, *_filled(spec.shape[1:], array.size)) if batch_axis else _filled(spec.shape, array.size)
        )
    except (ValueError, TypeError, OverflowError) as error:
        message = f"row {row + 1} does not fit {spec.datatype} {list(spec.shape)}: {error}"
        raise FieldError(("data", "columns", spec.name), message) from None


def _filled(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The shape with its variable dimensions set: the last takes what is there, the others are 1."""
    variable = [axis for axis, length in enumerate(shape) if length == VARIABLE]
    fixed = [1 if length == VARIABLE else length for length in shape]
    if variable:
        fixed[variable[-1]] = size // max(1, int(np.prod(fixed)))
    return tuple(fixed)


def converted(value: Any, datatype: str) -> NDArray[Any]:
    """A cell as an array of the datatype: text is read as a number where a number is wanted; a missing float is NaN.

    Raises: ValueError, TypeError, OverflowError: it has no such value.
    """
    if datatype == "BYTES":
        cells = np.asarray(value, np.object_).reshape(-1).tolist()
        if None in cells:
            raise ValueError("no value")
        encoded = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells]
        return np.array(encoded, np.object_)
    if isinstance(value, bytes):
        return np.frombuffer(value, np.uint8).astype(NUMPY_OF_DATATYPE[datatype])
    if isinstance(value, str):
        value = _number(value, datatype)
    if datatype == "BF16":
        return _bfloat16(np.atleast_1d(np.asarray(value, np.float32)))
    array = np.atleast_1d(np.asarray(value))
    wanted = np.dtype(NUMPY_OF_DATATYPE[datatype])
    with np.errstate(invalid="ignore", over="ignore"):
        converted = array.astype(wanted)
    if wanted.kind in "iub" and not np.array_equal(converted, array):
        raise ValueError(f"{value!r} is not exact in {datatype}")
    return converted


def _number(text: str, datatype: str) -> bool | int | float:
    if datatype == "BOOL" and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    return int(text) if "INT" in datatype and text.lstrip("+-").isdecimal() else float(text)


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper half of each float's bits, rounded to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _csv(path: Path, max_rows: int) -> dict[str, Column]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            return _csv_columns(csv.reader(file, strict=True), path, max_rows)
        except UnicodeDecodeError as error:
            raise SpecError(f"not UTF-8 text at byte {error.start}", str(path)) from None
        except csv.Error as error:
            raise SpecError(f"not valid CSV: {error}", str(path)) from None


def _csv_columns(reader: Iterator[list[str]], path: Path, max_rows: int) -> dict[str, Column]:
    header = next(reader, [])
    if not header:
        raise SpecError("the file is empty; expected a first line with the names of the columns", str(path))
    columns: dict[str, list[str]] = {name: [] for name in header}
    if len(columns) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise SpecError(f"column {twice!r} is there twice", f"{path}:1")
    for number, row in enumerate(islice((row for row in reader if row), max_rows), start=1):
        if len(row) != len(header):
            raise SpecError(f"row {number} has {len(row)} cells; the header has {len(header)}", str(path))
        for name, cell in zip(header, row, strict=True):
            columns[name].append(cell)
    return dict(columns)


def _parquet(path: Path, max_rows: int) -> dict[str, Column]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ExtraMissingError("reading Parquet", "rows") from None
    try:
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=max(1, max_rows)), None)
    except pa.ArrowException as error:
        raise SpecError(f"not a Parquet file: {error}", str(path)) from None
    names = file.schema_arrow.names
    if batch is None:
        return {name: [] for name in names}
    return {name: batch.column(name).slice(0, max_rows).to_pylist() for name in names}


def _npz(path: Path, max_rows: int) -> dict[str, Column]:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise SpecError(f"not an npz file of plain arrays: {error}", str(path)) from None
    for name, array in columns.items():
        if array.ndim == 0:
            raise SpecError(f"array {name!r} is a single value; expected one value a row", str(path))
    return {name: list(array[:max_rows]) for name, array in columns.items()}


def _folder(path: Path, max_rows: int) -> dict[str, Column]:
    files = (
        (file, label.name)
        for label in sorted(entry for entry in path.iterdir() if entry.is_dir())
        for file in sorted(entry for entry in label.iterdir() if entry.is_file())
    )
    rows = [(file.read_bytes(), label) for file, label in islice(files, max_rows)]
    return {"file": [content for content, _ in rows], "label": [label for _, label in rows]}


def _as_tuple(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns
