"""Sampled rows as Parquet files that can be read while the server runs: each appears whole, under its final name."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet

from trivet.serve.background.page import Page
from trivet.serve.samples import Sample
from trivet.spec.row import Row, RowColumns, RowsHeader

MAX_ROWS = 20_000
MAX_AGE_NS = 60_000_000_000


class ParquetFiles:
    """Gathers rows and writes a file when they are many or old.

    `rows-DATE-WRITER.parquet` comes into being by renaming a file whose name starts with a dot, which readers of
    folders of Parquet files pass over. What a dead predecessor left unfinished is removed.
    """

    def __init__(
        self,
        folder: Path,
        page: Page,
        *,
        writer: str,
        share: float,
        say: Callable[[str], None],
        max_rows: int = MAX_ROWS,
        max_age_ns: int = MAX_AGE_NS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Args: writer: a word that no other server writing into `folder` has."""
        self._folder = folder
        self._page = page
        self._writer = writer
        self._share = share
        self._say = say
        self._max_rows = max_rows
        self._max_age_ns = max_age_ns
        self._now = now
        self._rows: list[Row] = []
        self._first_ns = 0
        for left in folder.glob(f".rows-*-{writer}.parquet"):
            left.unlink()

    def take(self, samples: Sequence[Sample], now_ns: int) -> None:
        rows = [sample.row for sample in samples if sample.row.kept != "trace"]
        self._page.add("rows_read", len(rows))
        if not self._rows:
            self._first_ns = now_ns
        self._rows += rows
        if len(self._rows) >= self._max_rows:
            self.turn(now_ns)

    def wake_at_ns(self) -> int | None:
        return self._first_ns + self._max_age_ns if self._rows else None

    def turn(self, now_ns: int) -> None:
        """Write what has been gathered. A file that cannot be written costs its rows, counted; the next is tried."""
        rows, self._rows = self._rows, []
        now = self._now()
        header = RowsHeader(writer="trivet serve", date=now.isoformat(), origin_ns=now_ns, share=self._share)
        name = f"rows-{now:%Y%m%dT%H%M%S.%fZ}-{self._writer}.parquet"
        try:
            self._write(RowColumns.of_rows(header, rows).to_arrow(), name)
        except OSError as error:
            self._page.add("rows_failed", len(rows))
            self._say(f"{len(rows)} rows are lost: {self._folder / name} cannot be written: {error}")
        else:
            self._page.add("rows_written", len(rows))

    def _write(self, table: Any, name: str) -> None:
        draft = self._folder / f".{name}"
        try:
            with draft.open("wb") as file:
                pyarrow.parquet.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._folder / name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def close(self, now_ns: int) -> None:
        if self._rows:
            self.turn(now_ns)
