"""Inputs from columns of a CSV, Parquet or npz file."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.load.dialects.contract import Row
from trivet.spec.data import Column, input_rows, read_columns
from trivet.spec.fields import FieldError
from trivet.spec.service import Data
from trivet.spec.signature import Signature

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")  # as JSON has it: 007 is text

Feeds = Mapping[str, str | tuple[str, ...]]


def rows_of_columns(path: Path, signature: Signature, feeds: Feeds | None, max_rows: int) -> list[Row]:
    """The file's rows as requests of the model.

    Args: feeds: for each input its column, or the columns that together make its last axis; an input that is not named
    is fed by the column of its name.
    Raises: SpecError: names the file, the row and the column.
    """
    columns: Feeds = {spec.name: spec.name for spec in signature.inputs} | dict(feeds or {})
    try:
        return list(input_rows(Data(path=path.name, columns=columns), path.parent, signature, max_rows))
    except FieldError as error:
        if error.path[:2] == ("data", "path"):  # the file's name is in the message
            raise SpecError(error.message) from None
        name = str(error.path[-1])
        told = columns.get(name, name)
        what = f"column {told!r}" if isinstance(told, str) else f"columns {', '.join(map(repr, told))}"
        raise SpecError(f"{what} for input {name!r}: {error.message}", str(path)) from None


def plain_rows(path: Path, max_rows: int, names: Sequence[str] | None = None) -> list[Row]:
    """The file's rows as they are, for dialects that know no signature: one array for each cell.

    Text is BYTES. A CSV column of which every cell is a number, or a list of them, holds numbers.
    Raises: SpecError: names the file, the row and the column.
    """
    columns = read_columns(path, names, max_rows)
    if path.suffix == ".csv":
        columns = {name: _typed(column) for name, column in columns.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SpecError(f"columns of different lengths: {lengths}", str(path))
    num_rows = min(lengths.values(), default=0)
    return [
        {name: _cell(column[row], path, name, row) for name, column in columns.items()}
        for row in range(num_rows)
    ]


def plain_array(value: Any) -> NDArray[Any]:
    """A value of a file as an array, text as BYTES. Raises: ValueError: it is neither numbers nor text of one shape."""
    array = np.asarray(value, object if isinstance(value, str | bytes) else None)
    if array.dtype.kind in "bif" or array.dtype.kind == "u":
        return array
    if array.dtype.kind not in "OSU":
        raise ValueError(f"values of type {array.dtype}")
    encoded = np.empty(array.shape, object)
    for i, one in enumerate(array.reshape(-1).tolist()):
        if not isinstance(one, str | bytes):
            raise ValueError("no value" if one is None else f"{one!r} is neither a number nor text")
        encoded.flat[i] = one.encode() if isinstance(one, str) else one
    return encoded


def _cell(value: Any, path: Path, name: str, row: int) -> NDArray[Any]:
    try:
        return plain_array(value)
    except ValueError as error:
        raise SpecError(f"row {row + 1}, column {name!r}: {error}", str(path)) from None


def _typed(cells: Column) -> Column:
    if all(_NUMBER.fullmatch(cell.strip()) for cell in cells):
        return [json.loads(cell) for cell in cells]
    if all(cell.lstrip().startswith("[") for cell in cells):
        try:
            return [json.loads(cell) for cell in cells]
        except json.JSONDecodeError:
            return cells
    return cells
