"""Rows of a service's data on their way through its stages at load: each stage sees what requests will bring it.

Nothing is read or run before a stage asks: where every profile is kept from an earlier start, nobody does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trivet.errors import RequestError, SpecError
from trivet.spec.data import input_rows, sample_digest
from trivet.spec.service import Service
from trivet.spec.signature import Signature

Arrays = Mapping[str, NDArray[Any]]
_MAX_ROWS = 256
# One stage gets this long for all rows; with what it has done by then the next goes on.
_STAGE_NS = 1_000_000_000


@dataclass(slots=True)
class _Row:
    """What the last stage gave, and all that was given so far by name, the latest first."""

    last: Arrays
    given: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Passed:
    name: str
    takes: Mapping[str, str] | None
    run: Callable[[Arrays], Arrays]


class Samples:
    """Args: root: the service file's folder, which the data is relative to.

    digest: of the data, for the key of a profile; empty: there is none to use, and `why_not` says why.
    """

    def __init__(self, service: Service, root: Path, now_ns: Callable[[], int]) -> None:
        self._data = service.data
        self._root = root
        self._now_ns = now_ns
        self._rows: list[_Row] | None = None
        self._signature: Signature | None = None
        self._passed: list[_Passed] = []
        self.why_not = _why_not(service, root)
        self.digest = sample_digest(self._data, root) if self._data and not self.why_not else ""

    def begin(self, signature: Signature) -> None:
        """Args: signature: of the requests."""
        self._signature = signature

    def add_stage(self, name: str, takes: Mapping[str, str] | None, run: Callable[[Arrays], Arrays]) -> None:
        """Args: takes: as in pipeline/wiring.py."""
        self._passed.append(_Passed(name, takes, run))

    def inputs(self, takes: Mapping[str, str] | None) -> list[Arrays]:
        """What the stage behind those added so far is given, for each row; at least one.

        Raises: FieldError: the data does not fit the inputs.  SpecError: no row gets this far.
        """
        if self._rows is None:
            assert self._data is not None  # whoever asks has seen the digest
            assert self._signature is not None
            found = input_rows(self._data, self._root, self._signature, _MAX_ROWS)
            if not found:
                raise SpecError(f"data {self._data.path!r} has no rows; profiles are measured on them")
            self._rows = [_Row(row, dict(row)) for row in found]
        for stage in self._passed:
            self._rows = self._pass(stage, self._rows)
        self._passed.clear()
        return [_taken(row, takes) for row in self._rows]

    def _pass(self, stage: _Passed, rows: Sequence[_Row]) -> list[_Row]:
        end_ns = self._now_ns() + _STAGE_NS
        passed = []
        first_error: RequestError | None = None
        for row in rows:
            try:
                outputs = stage.run(_taken(row, stage.takes))
            except RequestError as error:  # real data has rows that are refused
                first_error = first_error or error
                continue
            passed.append(_Row(outputs, row.given | dict(outputs)))
            if self._now_ns() > end_ns:
                break
        if not passed:
            raise SpecError(f"{stage.name!r} fails on every row of the data: {first_error}")
        return passed


def _taken(row: _Row, takes: Mapping[str, str] | None) -> Arrays:
    if takes is None:
        return row.last
    for source in takes.values():
        if source not in row.given:
            raise SpecError(f"a stage needs {source!r}; for the data there are {sorted(row.given)}")
    return {name: row.given[source] for name, source in takes.items()}


def _why_not(service: Service, root: Path) -> str:
    data = service.data
    if data is None:
        return "no data is declared"
    if not data.columns:
        return "data names no columns for the inputs"
    return "" if (root / data.path).exists() else f"data {data.path!r} is not there"
