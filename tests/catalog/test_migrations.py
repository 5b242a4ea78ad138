"""What the migrations make is what the code's tables say, in both databases."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.support.postgres import Postgres
from trivet.catalog import migrations
from trivet.catalog.catalog import Catalog
from trivet.catalog.database import Database
from trivet.catalog.schema import HEAD, metadata, sa


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    url = str(tmp_path)
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").new_database()
    return Catalog.open(url, artifacts=str(tmp_path / "artifacts"))._database


def test_the_tables_are_those_of_the_schema(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_one_that_the_schema_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_an_opened_catalog_is_not_migrated_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Database) -> None:
        raise AssertionError("migrated")

    monkeypatch.setattr(Database, "_migrate", fail)
    assert Database.open(database.location, create=False).location == database.location


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT id FROM runs WHERE service = 'a' ORDER BY number DESC LIMIT 50", "runs_by_service"),
        ("SELECT id FROM runs WHERE state = 'running'", "runs_by_state"),
        ("SELECT id FROM runs WHERE group_name = 'g'", "runs_by_group"),
        ("SELECT number FROM run_tags WHERE name = 'pr' AND value = '1'", "run_tags_by_name"),
    ],
)
def test_what_lists_ask_for_has_an_index(tmp_path: Path, query: str, index: str) -> None:
    with Catalog.open(str(tmp_path))._database.reading() as connection:
        plan = [row.detail for row in connection.execute(sa.text(f"EXPLAIN QUERY PLAN {query}"))]
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_sqlite_keeps_a_write_ahead_log_and_waits_for_the_disk(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path))._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_migration_that_fails_leaves_nothing(postgres: Postgres, tmp_path: Path) -> None:
    """Half a schema would be worse than none: the next opening would fail on the tables that are there."""
    for url in (str(tmp_path), postgres.new_database()):
        engines: list[sa.Engine] = []

        def fail(connection: sa.Connection, engines: list[sa.Engine] = engines) -> None:
            engines.append(connection.engine)
            raise RuntimeError("stop")

        sa.event.listen(sa.Engine, "commit", fail)
        try:
            with pytest.raises(RuntimeError, match="stop"):
                Catalog.open(url, artifacts=str(tmp_path))
        finally:
            sa.event.remove(sa.Engine, "commit", fail)
        assert len(engines) == 1
        assert Catalog.open(url, artifacts=str(tmp_path)).runs() == []
