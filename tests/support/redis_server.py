"""A real Redis server for tests: a port of its own, nothing on the disk; it ends with the process that asked."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Self

import pytest

# The server lives as long as this shell's input is open: also where the tests are killed, nothing is left running.
_UNTIL_THE_INPUT_ENDS = '"$@" & server=$!; read -r _; kill -CONT $server; kill -KILL $server; wait $server'
_PID = re.compile(r"\bpid=(\d+)")
_MOST_TRIES = 20  # ports that somebody else took between two of our steps


class RedisServer:
    """Use it as a context manager.

    Args: options: as redis-server's own, such as "--maxmemory", "2mb". port: 0: any free one.
    """

    def __init__(self, *options: str, port: int = 0) -> None:
        self.port = port
        self.pid = 0
        self._options = options
        self._folder = tempfile.mkdtemp(prefix="trivet-redis-")
        self._shell: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Ready when it returns."""
        assert shutil.which("redis-server"), "these tests need a Redis server: apt-get install redis-server"
        fixed = self.port
        for _ in range(1 if fixed else _MOST_TRIES):
            self.port = fixed or free_port()
            if self._start():
                return
        raise AssertionError(f"redis-server ended before it was ready, on port {self.port}")

    def _start(self) -> bool:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", self._folder, "--daemonize", "no", *self._options]
        self._shell = subprocess.Popen(
            ["sh", "-c", _UNTIL_THE_INPUT_ENDS, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            if found := _PID.search(line):
                self.pid = int(found[1])
            if "Ready to accept connections" in line:
                return True
            if "Failed listening" in line or "exiting" in line:
                break
        self.kill()
        return False

    def kill(self) -> None:
        """It is gone at once, with all that it held; `start` brings an empty one to the same port."""
        if self._shell is not None:
            self._shell.communicate()
            self._shell = None

    def freeze(self) -> None:
        """It hangs: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """One server for tests that use keys of their own."""
    with RedisServer() as server:
        yield server.url
