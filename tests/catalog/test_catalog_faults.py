"""What a catalog survives: SIGKILL at any moment, a disk that is full, and several processes at once."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.catalog_contract import Place
from tests.catalog.catalog_support import DRAFT, FIGURES
from tests.catalog.writers import POINTS, start, write_on_a_full_disk, write_ten, write_until
from trivet.catalog.catalog import Catalog
from trivet.catalog.database_errors import file_error
from trivet.catalog.errors import CatalogError, FullError
from trivet.catalog.schema import sa

AFTER_THE_KILL = {
    "in the first opening": [],
    "before begin is on disk": ["complete"],
    "after finish": ["complete", "complete"],
}


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_process_loses_at_most_its_run(place: Place, point: str) -> None:
    process, pipe = start(write_until, point, place)
    assert pipe.recv() == "ready"
    process.kill()
    process.join()
    catalog = Catalog.open(**place)
    runs = catalog.runs()
    assert [run.state for run in runs] == AFTER_THE_KILL.get(point, ["interrupted", "complete"])
    for run in runs:
        found = catalog.run(run.id)
        if found.state == "complete":
            assert found.figures == FIGURES
            assert catalog.get(found.artifacts["rows"])
        else:
            assert f"process {process.pid} on " in found.reason
    assert [entry.subject for entry in catalog.audit.entries()] == ["before the kill"] * (len(runs) > 0)
    assert catalog.audit.verify() is None
    catalog.finish(
        catalog.begin(DRAFT), "complete", figures=FIGURES, artifacts={"rows": catalog.put(b"later")}
    )
    assert list(Path(place["artifacts"], "drafts").iterdir()) == []
    assert len(catalog.runs()) == len(runs) + 1


def test_processes_that_write_at_once_lose_nothing(place: Place) -> None:
    """From the very first opening on: all of them want to make the catalog."""
    names = ["a", "b", "c"]
    writers = [start(write_ten, name, place) for name in names]
    for _, pipe in writers:
        pipe.send("go")
    for process, _ in writers:
        process.join()
    assert [process.exitcode for process, _ in writers] == [0, 0, 0]
    catalog = Catalog.open(**place)
    runs = catalog.runs()
    assert sorted(run.service for run in runs) == sorted(names * 10)
    assert {run.state for run in runs} == {"complete"}
    assert all(catalog.get(catalog.run(run.id).artifacts["rows"]) for run in runs)
    entries = catalog.audit.entries()
    assert [entry.number for entry in entries] == list(range(1, 31))
    for name in names:
        assert [entry.subject for entry in entries if entry.actor == name] == [str(i) for i in range(10)]
    assert catalog.audit.verify() is None


def test_a_full_disk_is_told_and_earlier_runs_are_whole(tmp_path: Path) -> None:
    """A limit on the size of files is the full disk that a test may have to itself; the kernel refuses the writes."""
    process, pipe = start(write_on_a_full_disk, str(tmp_path / "catalog"))
    earlier_id, running_id, told = pipe.recv()
    process.join()
    assert sorted(told) == ["artifact", "begin", "finish"]
    for complaint in told.values():
        assert "cannot be written" in complaint
        assert "MiB free there" in complaint
        assert "What was recorded before is whole" in complaint
    catalog = Catalog.open(str(tmp_path / "catalog"))
    assert [run.id for run in catalog.runs()] == [running_id, earlier_id]
    earlier = catalog.run(earlier_id)
    assert (earlier.state, catalog.get(earlier.artifacts["rows"])) == ("complete", b"earlier")
    assert catalog.run(running_id).state == "interrupted"
    assert list((tmp_path / "catalog" / "artifacts" / "drafts").iterdir()) == []


def test_a_database_that_may_not_grow_is_told(tmp_path: Path) -> None:
    catalog = Catalog.open(str(tmp_path))
    run_id = catalog.begin(DRAFT)

    def keep_small(connection: Any, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size where that is more

    sa.event.listen(catalog._database._engine, "connect", keep_small)
    with pytest.raises(FullError, match="database or disk is full"):
        catalog.finish(run_id, "complete", figures={}, reason="x" * 1_000_000)
    assert Catalog.open(str(tmp_path)).run(run_id).state == "running"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_of_being_full_is_one_error(code: int, tmp_path: Path) -> None:
    assert isinstance(file_error(OSError(code, os.strerror(code)), str(tmp_path)), FullError)
    other = file_error(OSError(errno.EACCES, "Permission denied"), str(tmp_path))
    assert type(other) is CatalogError
    assert "Permission denied" in str(other)


def test_another_process_that_holds_the_database_is_waited_for_and_then_told(tmp_path: Path) -> None:
    catalog = Catalog.open(str(tmp_path))

    def be_impatient(connection: Any, _: object) -> None:
        connection.execute("PRAGMA busy_timeout = 0")

    sa.event.listen(catalog._database._engine, "connect", be_impatient)
    with Catalog.open(str(tmp_path))._database.writing():
        with pytest.raises(CatalogError, match="database is locked: another process has held it"):
            catalog.begin(DRAFT)
        assert catalog.runs() == []  # readers never wait
    catalog.begin(DRAFT)
