"""Answers from a table that was computed before anybody asked (`trivet precompute` writes it)."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.clock import MonotonicClock
from trivet.errors import RequestError, SpecError, UnavailableError, UserError
from trivet.runtime.counts import Counts
from trivet.runtime.fronts.answer_table import AnswerTable, TableError, read_answers
from trivet.runtime.fronts.front import answer_now
from trivet.runtime.fronts.watched_table import WatchedTable
from trivet.runtime.results import Results
from trivet.spec.precomputed import Precomputed
from trivet.spec.signature import Signature
from trivet.wire.row_key import RowKeys

if TYPE_CHECKING:
    from trivet.runtime.request import Request

LOOKUPS = "trivet_precomputed_lookups_total"
REFUSED = "trivet_precomputed_tables_refused_total"
ROWS = "trivet_precomputed_rows"


class PrecomputedFront:
    """Answers requests all of whose rows are in the table.

    Every lookup has one outcome: hit, miss, stale (the table is, and says nothing or refuses), bypassed (there is no
    table that could be asked). Nothing else is kept of requests, and no tenant's answer is in the table that the inputs
    alone do not decide.

    Args: configuration_hash: of the configuration that is served; a table of another is never asked.
        signature: of the service. wall_s: seconds since the epoch, as the table's own date is.
    """

    name = "precomputed"

    def __init__(
        self,
        declared: Precomputed,
        path: Path,
        configuration_hash: str,
        signature: Signature,
        say: Callable[[str], None],
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._declared = declared
        self._max_age_s = float("inf") if declared.max_age_ns is None else declared.max_age_ns / 1e9
        self._hash = configuration_hash
        self._say = say
        self._wall_s = wall_s
        self._signature = signature
        self._keys = RowKeys(signature)
        self._now_ns: Callable[[], int] = MonotonicClock.now_ns
        self._counts: Counts | None = None
        self._reason = ""  # why the file could not be used, before there was anybody to count
        self._table: WatchedTable[AnswerTable] = WatchedTable(
            path, self._read, lambda _table: self._tell_rows(), self._refused
        )

    def load(self) -> None:
        """Read the table; blocking, before anybody is served.

        Raises: SpecError: it cannot be used, and the service says that then nothing is served.
        """
        try:
            self._table.load()
        except TableError as error:
            if self._declared.on_mismatch == "refuse":
                raise SpecError(
                    f"{error}; or write `on_mismatch: bypass` to serve without", "precomputed"
                ) from None
            self._refused(error)

    def begin(self, loop: asyncio.AbstractEventLoop, counts: Counts, now_ns: Callable[[], int]) -> None:
        """From now on the table is asked, and read again whenever its file is replaced."""
        self._now_ns = now_ns
        self._counts = counts
        if self._reason:
            counts.add(REFUSED, reason=self._reason)
        self._tell_rows()
        self._table.watch(loop)

    def _read(self, path: Path) -> AnswerTable:
        return read_answers(path, self._hash, self._signature)

    def _refused(self, error: UserError) -> None:
        reason = error.reason if isinstance(error, TableError) else "unreadable"
        kept = self._table.table is not None
        instead = "the table before it stays" if kept else "requests take the pipeline"
        self._say(f"precomputed answers are not used: {error}; {instead}")
        if self._counts is None:
            self._reason = reason
        else:
            self._counts.add(REFUSED, reason=reason)

    def _tell_rows(self) -> None:
        table = self._table.table
        if self._counts is not None:
            self._counts.set(ROWS, 0 if table is None else len(table))

    # --- as a Front ---------------------------------------------------------------------------------------------

    def ask(self, request: "Request", _go_on: Callable[[], None]) -> bool:
        table = self._table.table
        if table is None:
            return self._knows_nothing("bypassed")
        is_stale = self._is_stale(table)
        if is_stale and self._declared.on_stale == "bypass":
            return self._knows_nothing("stale")
        found = self._found(table, request)
        if found is None:
            return self._knows_nothing("miss")
        if is_stale and self._declared.on_stale == "refuse":
            self._count("stale")
            request.reply.fail(request, self._too_old(table))
            return True
        self._count("hit")
        answer_now(request, found.outputs, found.batch_rows, "precomputed", now_ns=self._now_ns())
        return True

    def answered(self, request: "Request", results: Results, start: int) -> None:
        """The table is not written from live answers."""

    def failed(self, request: "Request", error: RequestError) -> None:
        """Nothing was held."""

    def stale(self, request: "Request") -> Results | None:
        table = self._table.table
        return None if table is None else self._found(table, request)

    def close(self) -> None:
        self._table.close()

    def _found(self, table: AnswerTable, request: "Request") -> Results | None:
        """The answer to all rows of a request; None: one of them is not in the table."""
        inputs = request.message.inputs
        rows = inputs[0].shape[0] if self._signature.batch_axis else 1
        if rows == 0 or any(tensor.shape[0] != rows for tensor in inputs if self._signature.batch_axis):
            return None  # the pipeline says what is wrong with it
        outputs = table.find(self._keys.of(inputs))
        return None if outputs is None else Results(outputs, self._signature.batch_axis, rows)

    def _is_stale(self, table: AnswerTable) -> bool:
        return self._wall_s() - table.created_s > self._max_age_s

    def _too_old(self, table: AnswerTable) -> UnavailableError:
        return UnavailableError(
            f"the precomputed answers are of {table.header.created}; at most {self._max_age_s:g} s old ones are given"
        )

    def _knows_nothing(self, outcome: str) -> bool:
        self._count(outcome)
        return False

    def _count(self, outcome: str) -> None:
        assert self._counts is not None  # a front is asked after it has begun
        self._counts.add(LOOKUPS, outcome=outcome)
