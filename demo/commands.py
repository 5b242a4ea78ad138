"""trivet's commands as the reader would type them, in subprocesses that end with the demo."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SERVING = re.compile(r"serving on (http://\S+), control on")
_STOP_S = 60


class StoppedError(Exception):
    """A command that failed: the demo ends there."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that runs. address: `http://HOST:PORT`.  pid: of its supervisor."""

    address: str
    pid: int


def trivet(folder: Path, *words: str, codes: Sequence[int] = (0,)) -> int:
    """Run a command in the folder, its output as it comes; the code that it ended with.

    Raises: StoppedError: it is not among `codes`.
    """
    print(f"$ trivet {' '.join(words)}", flush=True)
    process = subprocess.Popen(_command(words), cwd=folder)
    try:
        code = process.wait()
    except KeyboardInterrupt:  # the terminal has told it, too
        process.wait(timeout=_STOP_S)
        raise
    if code not in codes:
        raise StoppedError(f"`trivet {' '.join(words)}` ended with {code}: its message is above")
    return code


def output(folder: Path, *words: str, codes: Sequence[int] = (0,)) -> str:
    """What a command prints, shown only when it fails. Raises: StoppedError: it ended with a code not among `codes`."""
    done = subprocess.run(_command(words), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise StoppedError(f"`trivet {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def serving(folder: Path, service: str) -> Iterator[Serving]:
    """A server of the service, which stops at the end. Raises: StoppedError: it does not start."""
    print(f"$ trivet serve {service}", flush=True)
    words = ["serve", service, "--port", "0", "--control-port", "0"]
    server = subprocess.Popen(_command(words), cwd=folder, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        yield Serving(_address(server), server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=_STOP_S)
        server.stderr.close()
    print(f"stopped cleanly (exit code {code})" if code == 0 else f"the server ended with {code}")


def _address(server: "subprocess.Popen[str]") -> str:
    assert server.stderr is not None
    for line in server.stderr:
        print("  " + line.rstrip(), flush=True)
        if found := _SERVING.search(line):
            return found.group(1)
    raise StoppedError(f"the server ended with {server.wait()}")


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "trivet.cli.main", *words]
