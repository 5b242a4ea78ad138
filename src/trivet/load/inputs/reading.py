"""Rows of inputs from whatever the user has: a file, a folder, the service's data."""

from pathlib import Path

from trivet.errors import SpecError
from trivet.load.dialects.contract import Row
from trivet.load.inputs.columns import Feeds, plain_rows, rows_of_columns
from trivet.load.inputs.perf_analyzer import folder_row, json_rows, plain_json_rows
from trivet.load.inputs.shapes import Shapes
from trivet.spec.data import input_rows
from trivet.spec.service import Data
from trivet.spec.signature import Signature

MAX_ROWS = 10_000  # each becomes a request that is held in memory
_TABLES = (".csv", ".parquet", ".npz")


def read_inputs(
    path: Path,
    signature: Signature | None,
    *,
    columns: Feeds | None = None,
    shapes: Shapes | None = None,
    max_rows: int = MAX_ROWS,
) -> list[Row]:
    """The rows of a CSV, Parquet or npz file, of Perf Analyzer's JSON, or of its folder with a file for each input.

    Args: signature: what the requests must fit; None: values are taken as they are (JSON templates, OpenAI).
    columns: for each input the column that feeds it, where it has another name.  shapes: of inputs in JSON or a folder
    whose shape is not given there.
    Raises: SpecError: names the file, the row and the column or input.
    """
    if not path.exists():
        raise SpecError(f"no file {path}")
    if path.is_dir():
        if signature is None:
            raise SpecError(
                "a folder with a file for each input needs a model that tells its inputs", str(path)
            )
        rows = [folder_row(path, signature, shapes)]
    elif path.suffix == ".json":
        rows = (
            plain_json_rows(path, max_rows)
            if signature is None
            else json_rows(path, signature, max_rows, shapes)
        )
    elif path.suffix in _TABLES:
        rows = (
            _renamed(plain_rows(path, max_rows), columns or {}, path)
            if signature is None
            else rows_of_columns(path, signature, columns, max_rows)
        )
    else:
        raise SpecError(
            f"expected a .json, .csv, .parquet or .npz file or a folder, got {path.name!r}", str(path)
        )
    if not rows:
        raise SpecError("has no rows; at least one is needed", str(path))
    return rows


def service_inputs(data: Data, root: Path, signature: Signature, max_rows: int = MAX_ROWS) -> list[Row]:
    """The rows of a service's own data.

    Raises: FieldError: they do not fit.  SpecError: there are none.
    """
    rows = input_rows(data, root, signature, max_rows)
    if not rows:
        raise SpecError("has no rows; at least one is needed", str(root / data.path))
    return list(rows)


def _renamed(rows: list[Row], columns: Feeds, path: Path) -> list[Row]:
    """Only the named columns, under the names of the inputs; all, where none is named."""
    if not columns or not rows:
        return rows
    for name, column in columns.items():
        if not isinstance(column, str) or column not in rows[0]:
            raise SpecError(
                f"no column {column!r} for the input {name!r}; it has {', '.join(rows[0])}", str(path)
            )
    return [{name: row[str(column)] for name, column in columns.items()} for row in rows]
