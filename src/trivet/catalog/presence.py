"""Is the process that writes a run still there, asked from another container or machine?

Process ids mean nothing there, and a clock says only when somebody was last heard of. So a writer holds a lock for as
long as its run goes on, which the kernel or the database server releases when it dies, however it dies. Locks are
shared, so that holders never wait for each other; whoever asks tries for all of it, and lets go at once.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from trivet.catalog.database import Database
from trivet.catalog.database_errors import told
from trivet.catalog.location import Location
from trivet.catalog.schema import sa
from trivet.catalog.writer import Fate, Writer

# A machine that fell silent is noticed after two minutes; one that closed its connection at once.
_KEEPALIVES = ("tcp_keepalives_idle = 60", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 6")


class Presence(Protocol):
    """Of runs and studies by their ids. Raises: CatalogError: as every method of the catalog."""

    def hold(self, name: str) -> None:
        """From now on, until this process ends or releases it. Before the run is written: nobody asks earlier."""

    def release(self, name: str) -> None:
        """The run has ended. One that is not held is none of this process's."""

    def is_held(self, name: str) -> bool:
        """Whether any process holds it."""


def is_gone(writer: Writer, name: str, fate: Callable[[Writer], Fate], presence: Presence) -> bool:
    """Whether the process that writes run `name` has ended. A writer of an older trivet that cannot be seen may live."""
    known = fate(writer)
    return known == "gone" or (known == "unknown" and writer.holds and not presence.is_held(name))


def presence_of(database: Database) -> Presence:
    """Where the database is, there are its locks."""
    location = database.location
    return ServerPresence(database) if location.file is None else FilePresence(location, location.file)


class FilePresence:
    """Locked files beside the database file: seen by every container and machine that shares its folder."""

    def __init__(self, location: Location, database: Path) -> None:
        self._location = location
        self._folder = Path(f"{database}.running")
        # Plain descriptors: a catalog that is forgotten before its run has ended leaves the run held, as it should.
        self._held: dict[str, int] = {}

    def hold(self, name: str) -> None:
        with told(self._location):
            self._folder.mkdir(exist_ok=True)
            path = self._folder / name
            while name not in self._held:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                # Whoever asked meanwhile may have removed it: then a lock on it is seen by nobody.
                if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                    self._held[name] = descriptor
                else:
                    os.close(descriptor)

    def release(self, name: str) -> None:
        descriptor = self._held.pop(name, None)
        if descriptor is not None:
            with told(self._location):
                (self._folder / name).unlink(missing_ok=True)
                os.close(descriptor)

    def is_held(self, name: str) -> bool:
        with told(self._location):
            try:
                descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (self._folder / name).unlink(missing_ok=True)  # its process was killed: nobody needs it again
                return False
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)


class ServerPresence:
    """Advisory locks of PostgreSQL, held by one connection for all runs of this catalog object."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: sa.Connection | None = None
        self._held: set[str] = set()

    def hold(self, name: str) -> None:
        with told(self._database.location):
            if self._connection is None:
                self._connection = self._database.session()
                for setting in _KEEPALIVES:
                    self._connection.exec_driver_sql(f"SET {setting}")
            if name not in self._held:
                self._connection.execute(sa.select(sa.func.pg_advisory_lock_shared(_key(name))))
                self._held.add(name)

    def release(self, name: str) -> None:
        """With the last of its runs the connection is closed; until then the lock of one that has ended harms nobody."""
        self._held.discard(name)
        if not self._held and self._connection is not None:
            connection, self._connection = self._connection, None
            with told(self._database.location):
                # The server notices a closed connection a moment later; whoever asks next is to see that nobody holds it.
                # One that is lost holds nothing any more.
                with contextlib.suppress(sa.exc.DBAPIError):
                    connection.execute(sa.select(sa.func.pg_advisory_unlock_all()))
                connection.close()

    def is_held(self, name: str) -> bool:
        with self._database.reading() as connection:
            free = connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_key(name))))
        return not free


def _key(name: str) -> int:
    """PostgreSQL's locks have 64 bits for a name."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"trivet run").digest()
    return int.from_bytes(digest, "big", signed=True)
