"""What the background process does with samples: files, counts, and the end."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from trivet.serve.background import page as pages
from trivet.serve.background.page import Page
from trivet.serve.background.parquet import ParquetFiles
from trivet.serve.background.receiving import receive
from trivet.serve.samples import Outlet, Sample
from trivet.spec.row import Row, RowColumns

SECOND_NS = 1_000_000_000
BEGIN = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def page() -> Iterator[Page]:
    fd = pages.create()
    page = Page(fd)
    yield page
    page.close()
    os.close(fd)


def samples(*keys: str, kept: str = "share") -> list[Sample]:
    return [Sample(Row(key=key, intended_ns=1, done_ns=2, kept=kept)) for key in keys]


class Files:
    """A folder's files, written under a clock that moves a second with each look at the date."""

    def __init__(self, folder: Path, page: Page, max_rows: int = 3) -> None:
        self.folder = folder
        self.said: list[str] = []
        self._looks = 0
        self.sink = ParquetFiles(
            folder,
            page,
            writer="abcd",
            share=0.5,
            say=self.said.append,
            max_rows=max_rows,
            max_age_ns=60 * SECOND_NS,
            now=self._now,
        )

    def _now(self) -> datetime:
        self._looks += 1
        return BEGIN + timedelta(seconds=self._looks)

    def read(self) -> list[list[str]]:
        """Keys of the rows of each file."""
        tables = [pq.read_table(path) for path in sorted(self.folder.glob("*.parquet"))]
        return [[row.key for row in RowColumns.from_arrow(table).rows()] for table in tables]


def test_a_file_is_written_when_rows_are_many(tmp_path: Path, page: Page) -> None:
    files = Files(tmp_path, page)
    files.sink.take(samples("a", "b"), 0)
    assert (files.read(), page["rows_read"], page["rows_written"]) == ([], 2, 0)
    files.sink.take(samples("c", "d"), 0)
    files.sink.take(samples("e"), 0)
    assert files.read() == [["a", "b", "c", "d"]]
    assert (page["rows_read"], page["rows_written"]) == (5, 4)


def test_a_file_is_written_when_its_first_row_is_old(tmp_path: Path, page: Page) -> None:
    files = Files(tmp_path, page)
    assert files.sink.wake_at_ns() is None
    files.sink.take(samples("a"), 5)
    files.sink.take(samples("b"), 9 * SECOND_NS)
    assert files.sink.wake_at_ns() == 5 + 60 * SECOND_NS
    files.sink.turn(61 * SECOND_NS)
    assert files.read() == [["a", "b"]]
    assert files.sink.wake_at_ns() is None


def test_a_file_says_who_wrote_it_when_and_what_a_row_stands_for(tmp_path: Path, page: Page) -> None:
    files = Files(tmp_path, page)
    files.sink.take(samples("a"), 5)
    files.sink.close(7)
    (path,) = tmp_path.iterdir()
    assert path.name == "rows-20261101T120001.000000Z-abcd.parquet"
    header = RowColumns.from_arrow(pq.read_table(path)).header
    assert (header.writer, header.date, header.origin_ns, header.share) == (
        "trivet serve",
        "2026-11-01T12:00:01+00:00",
        7,
        0.5,
    )


def test_a_folder_of_files_is_one_table_while_one_is_being_written(tmp_path: Path, page: Page) -> None:
    files = Files(tmp_path, page, max_rows=1)
    for key in "abc":
        files.sink.take(samples(key), 0)
    (tmp_path / ".rows-20261101T120009.000000Z-abcd.parquet").write_bytes(b"half of it")
    assert ds.dataset(tmp_path).to_table().column("key").to_pylist() == ["a", "b", "c"]


def test_what_a_dead_predecessor_left_is_removed_and_nothing_of_other_servers(
    tmp_path: Path, page: Page
) -> None:
    left, others = (
        tmp_path / f".rows-20261101T120000.000000Z-{writer}.parquet" for writer in ("abcd", "ffff")
    )
    left.touch()
    others.touch()
    Files(tmp_path, page)
    assert list(tmp_path.iterdir()) == [others]


def test_rows_kept_only_for_a_trace_are_in_no_file(tmp_path: Path, page: Page) -> None:
    files = Files(tmp_path, page)
    files.sink.take(samples("a", kept="trace") + samples("b", kept="slow"), 0)
    files.sink.close(0)
    assert files.read() == [["b"]]
    assert page["rows_read"] == 1


def test_a_file_that_cannot_be_written_costs_its_rows_and_no_more(tmp_path: Path, page: Page) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    files = Files(folder, page, max_rows=1)
    folder.rmdir()
    files.sink.take(samples("a"), 0)
    assert (page["rows_failed"], page["rows_written"]) == (1, 0)
    assert files.said == [
        f"1 rows are lost: {folder}/rows-20261101T120001.000000Z-abcd.parquet cannot be written: "
        f"[Errno 2] No such file or directory: '{folder}/.rows-20261101T120001.000000Z-abcd.parquet'"
    ]
    folder.mkdir()
    files.sink.take(samples("b"), 0)
    assert files.read() == [["b"]]


def test_what_a_dead_process_had_in_hand_is_written_off_once(page: Page) -> None:
    for name, count in (("rows_read", 9), ("rows_written", 5), ("rows_failed", 1), ("traces_read", 4)):
        page.add(name, count)
    assert page.write_off() == (3, 4)
    assert page.write_off() == (0, 0)
    page.add("rows_read", 2)
    assert page.write_off() == (2, 0)


class Kept:
    """A sink that wants a turn after each message."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._wake_ns: int | None = None

    def take(self, samples: Sequence[Sample], now_ns: int) -> None:
        self.events += [sample.row.key for sample in samples]
        self._wake_ns = now_ns

    def wake_at_ns(self) -> int | None:
        return self._wake_ns

    def turn(self, now_ns: int) -> None:
        self.events.append("turn")
        self._wake_ns = None

    def close(self, now_ns: int) -> None:
        self.events.append("end")


def test_receiving_ends_behind_the_last_sample_when_all_writers_are_gone() -> None:
    writing, reading = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    outlets = [Outlet(writing), Outlet(writing.dup())]
    sink = Kept()
    thread = threading.Thread(target=receive, args=(reading, [sink], lambda: 0))
    thread.start()
    for outlet, key in zip(outlets, "ab", strict=True):
        outlet.put(samples(key)[0])
        outlet.flush()
        outlet.close()
    thread.join()
    assert sink.events == ["a", "turn", "b", "turn", "end"]
    reading.close()
