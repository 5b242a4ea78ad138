"""A real PostgreSQL server for tests: its own folder, a Unix socket and no port; it ends with the process that asked."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

# The server lives as long as this shell's input is open: also where the tests are killed, nothing is left running.
_UNTIL_THE_INPUT_ENDS = '"$@" & server=$!; read -r _; kill -QUIT $server; wait $server'


class Postgres:
    """Use it as a context manager. `new_database` gives the URL of an empty database."""

    def __init__(self) -> None:
        self._tools = _tools()
        user = _user()
        self._options: dict[str, Any] = {}
        # Not below pytest's folders: those are closed to the user that the server runs as where the tests run as root.
        self._folder = Path(tempfile.mkdtemp(prefix="trivet-postgres-"))
        if user is not None:
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._num_schemas = 0
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._make()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.communicate()
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

    def _make(self) -> None:
        command = [str(self._tools / "initdb"), "-D", str(self._folder / "data"), "-U", "postgres"]
        command += ["-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self._folder, check=False, **self._options
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"

    def _start(self) -> None:
        command = [str(self._tools / "postgres"), "-D", str(self._folder / "data"), "-k", str(self._folder)]
        # Without fsync: what is tested is this program, not the disk's promises. Errors of statements are the
        # client's to tell: here they would fill the pipe, which is read only until the server is ready.
        command += ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=log"]
        self._server = subprocess.Popen(
            ["sh", "-c", _UNTIL_THE_INPUT_ENDS, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            **self._options,
        )
        assert self._server.stderr is not None
        said = []
        for line in self._server.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                return
        raise AssertionError(f"{' '.join(command)} ended:\n{''.join(said)}")


def _tools() -> Path:
    """The folder of initdb and postgres: on the path, or where Debian puts it; the newest."""
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
