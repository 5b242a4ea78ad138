"""The W3C `Server-Timing` header: where the server says the request's time went."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.spec.row import ABSENT, PHASES

NS_PER_MS = 1_000_000
_WORDS = ("configuration", "variant", "cache", "exit", "instead", "upstream")

_COUNTS = {"batch": "batch_size", "cost": "cost_nano", "attempts": "attempts"}


def parse(header: bytes) -> dict[str, int | str]:
    """Metrics by name: a duration in ns (`dur`, which travels in ms), else a description (`desc`).

    Durations round down, so that their sum stays within what was measured around them. What does not parse
    is left out: the header is a hint of a foreign server, not a contract.
    """
    return dict(metric for part in header.split(b",") if (metric := _metric(part)) is not None)


def phase_columns(headers: Sequence[bytes | None]) -> dict[str, NDArray[np.int64] | list[str]]:
    """Row columns from the answers' headers: phases, `batch` size, `cost` and `attempts` as numbers, the rest as words."""
    numbers = {f"{phase}_ns": [ABSENT] * len(headers) for phase in PHASES}
    numbers |= {column: [ABSENT] * len(headers) for column in _COUNTS.values()}
    words = {name: [""] * len(headers) for name in _WORDS}
    columns: dict[str, list[Any]] = {**numbers, **words}
    for i, header in enumerate(headers):
        for part in header.split(b",") if header else ():
            if (cell := _cell(part)) is not None:
                columns[cell[0]][i] = cell[1]
    return {**{name: np.array(values, np.int64) for name, values in numbers.items()}, **words}


def _metric(part: bytes) -> tuple[str, int | str] | None:
    """Name and value of one metric; None where it has no value that parses."""
    name, *params = (param.strip() for param in part.decode("latin-1").split(";"))
    values = dict(param.split("=", 1) for param in params if "=" in param)
    if "dur" in values:
        try:
            return name, max(0, int(float(values["dur"].strip('"')) * NS_PER_MS))
        except (ValueError, OverflowError):
            return None
    return (name, values["desc"].strip('"')) if "desc" in values else None


@functools.lru_cache(
    maxsize=1 << 16
)  # metrics repeat from answer to answer, and reading one takes microseconds
def _cell(part: bytes) -> tuple[str, int | str] | None:
    """The row column that a metric fills, and what with; None for one that rows have no column for."""
    metric = _metric(part)
    if metric is None:
        return None
    name, value = metric
    if isinstance(value, int):
        return (f"{name}_ns", value) if name in PHASES and value < 2**63 else None
    if name in _COUNTS:
        return (_COUNTS[name], int(value)) if value.isdecimal() and len(value) < 19 else None
    return metric if name in _WORDS else None
