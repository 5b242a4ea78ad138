"""A real PostgreSQL server for tests: its own folder, a Unix socket and no port, ended by its own tool."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self


class Postgres:
    """Use it as a context manager. `new_database` gives the URL of an empty database."""

    def __init__(self) -> None:
        self._tools = _tools()
        self._user = _user()
        # Not below pytest's folders: those are closed to the user that the server runs as where the tests run as root.
        self._folder = Path(tempfile.mkdtemp(prefix="trivet-postgres-"))
        self._num_schemas = 0

    def __enter__(self) -> Self:
        try:
            if self._user is not None:
                os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
            # Without fsync: what is tested is this program, not the disk's promises.
            options = f"-c listen_addresses= -c fsync=off -k {self._folder}"
            self._run("pg_ctl", "start", "--wait", "--silent", "-o", options, "-l", str(self._folder / "log"))
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run("pg_ctl", "stop", "--wait", "--silent", "-m", "immediate")
        finally:
            shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """As good as a database: a schema that all names of its connections mean. Making one takes a millisecond."""
        import psycopg

        self._num_schemas += 1
        name = f"test_{self._num_schemas}"
        url = f"postgresql://postgres@/postgres?host={self._folder}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{url}&options=-csearch_path%3D{name}"

    def _run(self, tool: str, *arguments: str) -> None:
        command = [str(self._tools / tool), "-D", str(self._folder / "data"), *arguments]
        options = {} if self._user is None else {"user": self._user.pw_uid, "group": self._user.pw_gid}
        _check(command, options, self._folder)


def _check(command: Sequence[str], options: dict[str, int], folder: Path) -> None:
    with (
        tempfile.TemporaryFile() as output
    ):  # a pipe would stay open as long as the server that pg_ctl starts
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            check=False,
            extra_groups=[] if options else None,
            **options,  # type: ignore[call-overload]
        )
        output.seek(0)
        assert done.returncode == 0, f"{' '.join(command)}:\n{output.read().decode()}"


def _tools() -> Path:
    """The folder of initdb and pg_ctl: on the path, or where Debian puts it; the newest."""
    on_path = shutil.which("initdb")
    found = [Path(on_path)] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "these tests need a PostgreSQL server: apt-get install postgresql"
    return found[-1].resolve().parent


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses root. None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]
