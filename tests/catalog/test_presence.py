"""Is a writer still there, seen from another container or machine? Asked of real processes and a real server."""

from pathlib import Path

import msgspec

from tests.catalog.catalog_contract import Place
from tests.catalog.catalog_support import DRAFT
from tests.catalog.writers import start, write_elsewhere
from tests.support.postgres import Postgres
from trivet.catalog.catalog import Catalog
from trivet.catalog.presence import Presence, ServerPresence, _key, presence_of
from trivet.catalog.schema import runs, sa
from trivet.catalog.writer import Writer


def states(catalog: Catalog, run_id: str, study_id: str) -> tuple[str, str]:
    return catalog.run(run_id).state, catalog.study(study_id).state


def until_the_server_knows(catalog: Catalog, *names: str) -> None:
    """PostgreSQL sees a connection's end a moment after the process's: whoever waits for its locks waits for that."""
    if catalog._database.location.file is None:
        with catalog._database.reading() as connection:
            for name in names:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_key(name))))


def test_a_writer_elsewhere_is_at_work_until_it_is_killed(place: Place) -> None:
    process, pipe = start(write_elsewhere, place)
    ids = pipe.recv()
    catalog = Catalog.open(**place)
    assert states(catalog, *ids) == ("running", "running")
    process.kill()
    process.join()
    until_the_server_knows(catalog, *ids)
    assert states(catalog, *ids) == ("interrupted", "interrupted")
    assert f"process {process.pid} on elsewhere ended" in catalog.run(ids[0]).reason


def test_a_writer_elsewhere_that_finishes_leaves_nothing_held(place: Place) -> None:
    process, pipe = start(write_elsewhere, place)
    ids = pipe.recv()
    pipe.send("finish")
    assert pipe.recv() == "finished"
    catalog = Catalog.open(**place)
    assert states(catalog, *ids) == ("complete", "complete")
    assert not any(presence_of(catalog._database).is_held(name) for name in ids)
    assert list(Path(place["url"]).glob("*.running/*")) == []
    pipe.send("go")
    process.join()


def test_a_run_of_a_trivet_that_held_no_locks_may_still_be_at_work(place: Place) -> None:
    catalog = Catalog.open(**place)
    run_id = catalog.begin(DRAFT)
    catalog._table._presence.release(run_id)
    elsewhere = msgspec.structs.replace(Writer.current(), host="elsewhere", boot="another")
    for writer, state in (
        (elsewhere, "running"),
        (msgspec.structs.replace(elsewhere, holds=True), "interrupted"),
    ):
        with catalog._database.writing() as connection:
            text = msgspec.json.encode(writer).decode()
            connection.execute(runs.update().where(runs.c.id == run_id).values(writer=text))
        assert Catalog.open(**place).run(run_id).state == state


def test_holders_do_not_wait_for_each_other_and_the_last_one_counts(place: Place) -> None:
    first, second, other = (presence_of(Catalog.open(**place)._database) for _ in range(3))
    for presence in (first, first, second):
        presence.hold("a")
    assert held(other, "a", "b") == [True, False]
    for presence in (first, second, second):
        presence.release("a")
    assert held(other, "a") == [False]
    first.hold("a")
    assert held(other, "a") == [True]


def test_a_lost_connection_holds_nothing_and_its_run_still_ends(postgres: Postgres, tmp_path: Path) -> None:
    place = {"url": postgres.new_database(), "artifacts": str(tmp_path)}
    first, other = (presence_of(Catalog.open(**place)._database) for _ in range(2))
    assert isinstance(first, ServerPresence)
    first.hold("a")
    assert first._connection is not None
    process = first._connection.scalar(sa.select(sa.func.pg_backend_pid()))
    with Catalog.open(**place)._database.reading() as connection:
        connection.execute(sa.select(sa.func.pg_terminate_backend(process, 10_000)))
    assert held(other, "a") == [False]
    first.release("a")
    first.hold("a")
    assert held(other, "a") == [True]


def held(presence: Presence, *names: str) -> list[bool]:
    return [presence.is_held(name) for name in names]
