"""Features of a file as a source: read when the service is prepared, and again whenever it is replaced."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from trivet.errors import SpecError, UserError
from trivet.runtime.counts import Counts
from trivet.runtime.features.table import UNAVAILABLE, FeatureRows, FeatureTable, read_features
from trivet.runtime.fronts.answer_table import TableError
from trivet.runtime.fronts.watched_table import WatchedTable
from trivet.spec.features import Features

REFUSED = "trivet_feature_tables_refused_total"


class FeatureFile:
    """A FeatureSource."""

    def __init__(self, declared: Features, path: Path, say: Callable[[str], None]) -> None:
        self._declared = declared
        self._say = say
        self._counts: Counts | None = None
        self._reason = ""  # why the file could not be used, before there was anybody to count
        self._table: WatchedTable[FeatureTable] = WatchedTable(
            path, lambda path: read_features(path, declared), lambda _table: None, self._refused
        )

    def load(self) -> None:
        """Blocking. Raises: SpecError: the table cannot be used, and nothing stands in for it."""
        try:
            self._table.load()
        except TableError as error:
            if self._declared.on_mismatch == "refuse":
                raise SpecError(
                    f"{error}; or write `on_mismatch: default` to serve without", "features"
                ) from None
            self._refused(error)

    def _refused(self, error: UserError) -> None:
        instead = "the table before it stays" if self._table.table is not None else "defaults are taken"
        self._say(f"features are not used: {error}; {instead}")
        self._reason = error.reason if isinstance(error, TableError) else "unreadable"
        if self._counts is not None:
            self._counts.add(REFUSED, table=self._declared.table, reason=self._reason)

    def begin(self, loop: asyncio.AbstractEventLoop, counts: Counts, _now_ns: Callable[[], int]) -> None:
        self._counts = counts
        if self._reason:
            counts.add(REFUSED, table=self._declared.table, reason=self._reason)
        self._table.watch(loop)

    def fetch(self, keys: Sequence[bytes]) -> None:
        """They are in memory."""

    def find(self, keys: Sequence[bytes]) -> FeatureRows:
        table = self._table.table
        if table is None:
            return FeatureRows([UNAVAILABLE] * len(keys), {}, 0.0)
        return table.find(keys)

    def close(self) -> None:
        self._table.close()
