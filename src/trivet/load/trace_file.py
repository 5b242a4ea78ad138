"""The cells of a CSV or JSONL file, each with its line, so that a complaint can name it. Nothing is interpreted."""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from trivet.errors import SpecError

_JSON_LINES = (".jsonl", ".ndjson", ".json")
_VALUE = re.compile(r"[-+]?\.?\d.*")  # a first line that begins so holds a value, not a name
ONLY = "1"  # the name of the only column of a file without names


class Cell(NamedTuple):
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    cells: list[Cell]


def columns_of(path: Path) -> list[str]:
    """Names of a file's columns: of its first line, or of its first object.

    Raises: SpecError: it cannot be read, is empty, or has several columns without names.
    """
    with _opened(path) as file:
        if _is_json(path):
            first = next(_objects(path, file), None)
            return list(first[1]) if first else _refuse_empty(path)
        for row in csv.reader(file, strict=True):
            names = [name.strip() for name in row]
            if not any(names):
                continue
            if not _VALUE.fullmatch(names[0]):
                return names
            if len(names) == 1:
                return [ONLY]
            raise SpecError(
                f"the first line holds values ({', '.join(names)}), not the names of columns", f"{path}:1"
            )
    return _refuse_empty(path)


def read_columns(path: Path, names: Sequence[str]) -> list[Column]:
    """All cells of the named columns, stripped. Empty lines are passed over, but not between values of an only column:
    there a value is missing.

    Raises: SpecError: as `columns_of`; no lines, a line without a value, or one that is not CSV or JSON.
    """
    columns = [Column(name, []) for name in names]
    with _opened(path) as file:
        lines = _json_lines(path, file, names) if _is_json(path) else _csv_lines(file, names)
        for line, texts in lines:
            for column, text in zip(columns, texts, strict=True):
                if not text:
                    raise SpecError(f"no value for {column.name!r}", f"{path}:{line}")
                column.cells.append(Cell(line, text))
    if not columns[0].cells:
        _refuse_empty(path)
    return columns


def _csv_lines(file: TextIO, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, strict=True)
    places: list[int] = [0] if list(names) == [ONLY] else []
    width, has_begun, empty_line = 1, False, 0
    for row in reader:
        if not any(row):
            empty_line = empty_line or reader.line_num
            continue
        if not places:
            header = [name.strip() for name in row]
            places, width = [header.index(name) for name in names], len(header)
        else:
            if empty_line and has_begun and width == 1:
                yield empty_line, [""]
            has_begun = True
            yield reader.line_num, [row[i].strip() if i < len(row) else "" for i in places]
        empty_line = 0


def _json_lines(path: Path, file: TextIO, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for line, record in _objects(path, file):
        yield line, [_text(record.get(name)) for name in names]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Decimal):
        return format(value, "f")  # with its point: 0.000 is a fraction, 0E-3 does not look like one
    return "" if value is None else str(value)


def _objects(path: Path, file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            record = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"not JSON: {error}", f"{path}:{line}") from None
        if not isinstance(record, dict):
            raise SpecError(
                f"a JSON object is expected on each line, got {text.strip()[:40]}", f"{path}:{line}"
            )
        yield line, record


def _is_json(path: Path) -> bool:
    return any(suffix in _JSON_LINES for suffix in path.suffixes[-2:])


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The file as text, whatever it is packed in; what is wrong with it as such comes out as SpecError."""
    try:
        packed = path.suffix == ".gz"
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"cannot be read: {error}", str(path)) from None
    except csv.Error as error:
        raise SpecError(f"not CSV: {error}", str(path)) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not text in UTF-8: {error.reason} at byte {error.start}", str(path)) from None


def _refuse_empty(path: Path) -> list[str]:
    raise SpecError("no requests in it: the trace is empty", str(path))
