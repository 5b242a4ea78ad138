"""A real server in its own process, on free ports; ended by its process id."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_READY = re.compile(r"serving on http://(\S+), control on http://(\S+)")


class ServerProcess:
    """`trivet serve ...`, ready when the constructor returns. `log` holds the lines it printed until then.

    Args: prefix: of the command, where something else starts it.
    """

    def __init__(
        self, arguments: Sequence[str], folder: Path, prefix: Sequence[str] = (), **environment: str
    ) -> None:
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [
                *prefix,
                sys.executable,
                "-m",
                "trivet.cli.main",
                "serve",
                "--port",
                "0",
                "--control-port",
                "0",
                *arguments,
            ],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=os.environ | {"TRIVET_STATE": str(folder / "state"), **environment},
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())
            found = _READY.search(line)
            if found:
                self.address, self.control = found.groups()
                self.host, _, port = self.address.rpartition(":")
                self.port = int(port)
                return
        self.process.stderr.close()
        self.process.wait(timeout=60)
        raise RuntimeError("the server ended before it was ready:\n" + "\n".join(self.log))

    def read_until(self, text: str) -> str:
        """The next line of the log that holds `text`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())
            if text in line:
                return line.rstrip()
        raise AssertionError(f"the server ended without saying {text!r}")

    @property
    def token(self) -> str:
        return (Path(self.folder) / "control-token").read_text().strip()

    @property
    def folder(self) -> str:
        environ = Path(f"/proc/{self.process.pid}/environ").read_bytes().split(b"\0")
        return next(item.decode().split("=", 1)[1] for item in environ if item.startswith(b"TRIVET_STATE="))

    def children(self) -> list[int]:
        """Process ids of the workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self) -> int:
        """SIGTERM, then the exit code; the rest of the log is kept. Once is enough."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        if not self.process.stderr.closed:
            self.log += [line.rstrip() for line in self.process.stderr]
            self.process.stderr.close()
        return self.process.wait(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
