"""One connection for each piece of work, in a transaction; SQLite or PostgreSQL; brought up to date when opened.

Connections are not kept: nothing is left open when a process is killed or forks, and opening one costs a fraction of
a millisecond (SQLite) or a few (PostgreSQL), which nothing here repeats often enough to notice.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trivet.catalog.database_errors import told
from trivet.catalog.errors import CatalogError, NewerCatalogError, NoCatalogError
from trivet.catalog.location import Location
from trivet.catalog.schema import HEAD, sa
from trivet.errors import ExtraMissingError

BUSY_TIMEOUT_S = 60  # how long a writer waits for another; one holds the database for milliseconds
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x7472697665  # of PostgreSQL's advisory locks: "trive"


class Database:
    """Opened by `Database.open`."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._engine = _engine(location)

    @classmethod
    def open(cls, location: Location, *, create: bool) -> "Database":
        """Make it, where it may be made, and run the migrations that it lacks.

        Raises: NoCatalogError: there is none, and it is not to be made.  NewerCatalogError: this code is too old.
            CatalogError: it cannot be opened.  ExtraMissingError: the driver is not installed.
        """
        if location.file is not None and not location.file.exists():
            if not create:
                raise NoCatalogError(
                    f"there is no catalog at {location}; a run makes one, or name another with TRIVET_CATALOG"
                )
            _make_folder(location.file.parent)
        database = cls(location)
        with database.reading() as connection:
            revision = _revision(connection)
        if revision != HEAD:
            if revision is None and not create:
                raise NoCatalogError(f"there is no catalog at {location}: the database has no tables of one")
            database._migrate()
        return database

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for queries; in SQLite all of them see one state of the database."""
        with told(self.location), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction: all of it is on disk at the end, or nothing. In SQLite writers wait for each other here."""
        with told(self.location), self._engine.connect() as connection:
            # A writer takes the lock at once: one that began by reading could not wait for another, only fail.
            connection.execution_options(trivet_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    def session(self) -> sa.Connection:
        """A connection that its caller keeps and closes, each statement by itself; for locks that a server holds."""
        with told(self.location):
            return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        with self._migrating_alone() as connection:
            revision = _revision(connection)  # another process may have been here first
            if revision is not None and revision not in known:
                raise NewerCatalogError(
                    f"the catalog at {self.location} was written by a newer trivet (its schema is {revision}, "
                    f"this one knows {HEAD}): upgrade trivet, or name another catalog with TRIVET_CATALOG"
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def _migrating_alone(self) -> Iterator[sa.Connection]:
        """A writing transaction that only one process has at a time, from before the first table exists."""
        if self.location.file is None:
            with self.writing() as connection:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                yield connection
            return
        # SQLite's change to a write-ahead log does not wait for others as its transactions do: a file lock does.
        with told(self.location), Path(f"{self.location.file}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._engine.connect().execution_options(trivet_begin="") as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            with self.writing() as connection:
                yield connection


def _engine(location: Location) -> sa.Engine:
    if location.file is None:
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise ExtraMissingError("a catalog in PostgreSQL", "postgres") from None
        try:
            url = sa.make_url(str(location.server)).set(drivername="postgresql+psycopg")
        except (sa.exc.ArgumentError, ValueError):  # the latter for a port that is no number
            raise CatalogError(
                f"{location} cannot be read as a URL; expected postgresql://USER@HOST/DATABASE"
            ) from None
        return sa.create_engine(url, poolclass=sa.NullPool)
    url = sa.URL.create("sqlite", database=str(location.file))
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = (
        None  # transactions begin where _begin_sqlite says, not where the driver guesses
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # what was told to be recorded survives a power cut


def _begin_sqlite(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get("trivet_begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def _revision(connection: sa.Connection) -> str | None:
    """The last migration that was run; None: there are no tables."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n")  # records of a machine are no part of a project's code
    except FileExistsError:
        return  # also where another process has made it a moment ago
    except OSError as error:
        raise CatalogError(
            f"{folder} cannot be made: {error.strerror}; name another folder with TRIVET_CATALOG"
        ) from None
