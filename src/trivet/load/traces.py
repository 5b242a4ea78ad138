"""Arrivals that others recorded: the time of each request, from a CSV or JSONL file, plain or gzipped.

Which column, and its unit, are told from the file where they can be told for certain, and asked for where not.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType

import numpy as np

from trivet.errors import SpecError
from trivet.load.arrivals import MAX_ARRIVALS, NS, Curve, Instants
from trivet.load.trace_file import Cell, Column, columns_of, read_columns

NS_OF_UNIT: Mapping[str, int] = MappingProxyType(
    {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS, "min": 60 * NS, "h": 3600 * NS}
)
DATE = "date"  # the unit of ISO 8601 dates
# Without a unit in the name; earlier ones win.
_TIMES = (
    "timestamp",
    "arrival_time",
    "arrived_at",
    "arrival",
    "intended",
    "start_time",
    "time",
    "ts",
    "date",
    "at",
)
_COUNTS = ("requests", "count", "num_requests", "invocations")
_INTERVALS = MappingProxyType({"second": "s", "minute": "min", "hour": "h"})
_SUFFIX = re.compile(r"(?P<name>.*?)[\s_(\[]+(?P<unit>ns|us|ms|s|sec|seconds|min|h)[)\]]?$")
_SPELLED = MappingProxyType({"sec": "s", "seconds": "s"})
# Whole numbers this large are counted from 1970 in only one unit (years 2001 to 2286 in seconds).
_EPOCH_UNITS = ((10**18, "ns"), (10**15, "us"), (10**12, "ms"), (10**9, "s"))
_DATE = re.compile(r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")


def read_trace(path: str | Path, column: str | None = None, unit: str | None = None) -> Instants:
    """The instants of a trace, from its first request on: int64, ascending, the first is 0.

    Args: column: of the time; found by its name, if not given.  unit: one of ns, us, ms, s, min, h, or date (ISO
    8601); told by the column's name (`time_ms`), by dates, by times since 1970, or by fractions (seconds).
    Raises: SpecError: the file cannot be read, is empty, has no such column or unit, or a time is missing, not a
    number, negative or before the one above it. It names file and line.
    """
    path = Path(path)
    names = columns_of(path)
    chosen = _time_column(path, names, column)
    cells = read_columns(path, [chosen])[0].cells
    if len(cells) > MAX_ARRIVALS:
        raise SpecError(
            f"{len(cells):,} requests, at most {MAX_ARRIVALS:,} fit one run; cut the trace", str(path)
        )
    times = _times(path, cells, _unit(path, chosen, names, cells, unit))
    from_first: Instants = times - times[0]
    return from_first


def read_curve(path: str | Path, column: str | None = None, unit: str | None = None) -> Curve:
    """A rate curve from counts for each interval: the rate of a line holds until the next line's time.

    Args: column, unit: of the time, as in `read_trace`; columns named second, minute or hour count those. The
    counts are in a column named requests, count, num_requests or invocations.
    Raises: SpecError: as `read_trace`; or no such counts, a negative one, or less than two lines.
    """
    path = Path(path)
    names = columns_of(path)
    counted = _named(names, _COUNTS)
    if counted is None:
        raise SpecError(
            f"no column of counts ({', '.join(_COUNTS)}) among {', '.join(names)}; a time for each request is a "
            "trace",
            str(path),
        )
    chosen = column or _named(names, tuple(_INTERVALS)) or _time_column(path, names, None)
    times_column, counts_column = read_columns(path, [chosen, counted])
    if len(times_column.cells) < 2:
        raise SpecError(f"a curve needs at least two lines, got {len(times_column.cells)}", str(path))
    unit = unit or _INTERVALS.get(chosen.strip().lower())
    times = _times(path, times_column.cells, _unit(path, chosen, names, times_column.cells, unit))
    edges = np.append(times, 2 * times[-1] - times[-2]) - times[0]
    lengths = np.diff(edges)
    if not lengths.all():
        line = times_column.cells[int(np.argmin(lengths)) + 1].line
        raise SpecError("the same time twice: a curve has one line for each interval", f"{path}:{line}")
    rates = _counts(path, counts_column) / lengths * NS
    # Each interval as a flat piece, with a jump to the next: its expected count is the one in the file.
    return Curve(
        at_ns=tuple(np.repeat(edges, 2)[1:-1].tolist()), rates_rps=tuple(np.repeat(rates, 2).tolist())
    )


def holds_counts(path: str | Path) -> bool:
    """Whether a file counts requests for each interval: for `read_curve`, not for `read_trace`.

    Raises: SpecError: the file cannot be read, or is empty.
    """
    return _named(columns_of(Path(path)), _COUNTS) is not None


def _time_column(path: Path, names: Sequence[str], column: str | None) -> str:
    if column is not None:
        if column not in names:
            raise SpecError(f"no column {column!r}; there are: {', '.join(names)}", str(path))
        return column
    if len(names) == 1:
        return names[0]
    found = _named(names, _TIMES)
    if found is None:
        hint = "; counts for each interval are a rate curve" if _named(names, _COUNTS) else ""
        raise SpecError(
            f"no column looks like the time of a request among {', '.join(names)}; name it{hint}", str(path)
        )
    return found


def _named(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The column whose name, without a unit, is the first of the wanted ones."""
    by_name = {_parts(name)[0]: name for name in reversed(names)}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _parts(column: str) -> tuple[str, str | None]:
    """Name and unit of `Arrival time (ms)`: `arrival_time` and `ms`."""
    lower = column.strip().lower()
    match = _SUFFIX.fullmatch(lower)
    name, unit = (match["name"], _SPELLED.get(match["unit"], match["unit"])) if match else (lower, None)
    return re.sub(r"\s+", "_", name), unit


def _unit(path: Path, column: str, names: Sequence[str], cells: Sequence[Cell], given: str | None) -> str:
    """What the times are counted in. Raises: SpecError: nothing tells."""
    if given is not None:
        if given not in (*NS_OF_UNIT, DATE):
            raise SpecError(f"unit {given!r} is none of {', '.join(NS_OF_UNIT)}, {DATE}", str(path))
        return given
    first = cells[0].text
    if _DATE.fullmatch(first):
        return DATE
    if (named := _parts(column)[1]) is not None:
        return named
    if {"timestamp", "input_length", "output_length"} <= set(names):
        return "ms"  # Mooncake's traces say so on their page, not in the file
    if any("." in cell.text for cell in cells):
        return "s"
    for least, unit in _EPOCH_UNITS:
        if first.isdecimal() and int(first) >= least:
            return unit
    raise SpecError(
        f"column {column!r} does not say whether its times ({first}, ...) are in s, ms, us or ns; give the unit",
        str(path),
    )


def _times(path: Path, cells: Sequence[Cell], unit: str) -> Instants:
    """Every cell in ns, checked to ascend."""
    scale = NS_OF_UNIT.get(unit)
    values: list[int] = []
    for cell in cells:
        where = f"{path}:{cell.line}"
        value = _date_ns(cell.text, where) if scale is None else _number_ns(cell.text, scale, where)
        if values and value < values[-1]:
            before = cells[len(values) - 1]
            raise SpecError(
                f"time {cell.text} is before {before.text} of line {before.line}; sort the trace by time",
                where,
            )
        values.append(value)
    return np.array(values, np.int64)


def _number_ns(text: str, scale: int, where: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise SpecError(f"time {text!r} is not a number", where) from None
    if not value.is_finite():
        raise SpecError(f"time {text} is not a finite number", where)
    if value < 0:
        raise SpecError(f"time {text} is negative", where)
    if value >= 2**63 or value * scale >= 2**63:  # the first alone for exponents that cannot be multiplied
        raise SpecError(f"time {text} does not fit 64 bits of nanoseconds; give the right unit", where)
    return int(value * scale)


def _date_ns(text: str, where: str) -> int:
    """Nanoseconds since 1970 of an ISO 8601 date, to all nine digits; without an offset it is taken as UTC."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise SpecError(f"time {text!r} is not an ISO 8601 date", where)
    whole, fraction, offset = match.groups()
    try:
        date = datetime.datetime.fromisoformat(whole + (offset or ""))
    except ValueError as error:
        raise SpecError(f"time {text!r} is not a date: {error}", where) from None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    seconds = (date - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(seconds=1)
    if seconds < 0:
        raise SpecError(f"time {text} is before 1970", where)
    return seconds * NS + int((fraction or "0").ljust(9, "0"))


def _counts(path: Path, column: Column) -> "np.typing.NDArray[np.float64]":
    counts = []
    for cell in column.cells:
        try:
            count = float(cell.text)
        except ValueError:
            raise SpecError(f"count {cell.text!r} is not a number", f"{path}:{cell.line}") from None
        if not 0 <= count < np.inf:
            raise SpecError(f"count {cell.text} is not a number from 0 on", f"{path}:{cell.line}")
        counts.append(count)
    return np.array(counts)
