"""What is measured: a deployment that is started for it, pinned to cores of its own, or a server that runs already."""

import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from trivet.errors import UserError
from trivet.experiment.foreign import listener
from trivet.experiment.placement import Placement
from trivet.experiment.processes import ProcessTree, Server
from trivet.host import affinity
from trivet.runtime.preparing.resolving import known_resolutions
from trivet.spec.configuration import Configuration, Resolution
from trivet.spec.service_file import load_configuration

_SERVING = re.compile(r"serving on http://(\S+), control on")
START_TIMEOUT_S = 300.0  # a large model that is profiled for the first time takes minutes
DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True)
class Subject:
    """What a user names: a service file or a model to serve, or the URL of a server.

    address: host:port of a running server; empty where one is to be started.
    path: of the URL, without a last slash.
    """

    text: str
    configuration: Configuration | None = None
    address: str = ""
    path: str = ""

    @property
    def is_ours(self) -> bool:
        """It is started for the measurement."""
        return self.configuration is not None


@dataclass(slots=True)
class Started:
    """A subject that answers now.

    server: None for one that ran already.  processes: what can be weighed: the server's, or those that were found on
    this machine; None for a server elsewhere.  serve: starts one more server like this one; None: it was not started.
    """

    subject: Subject
    target: str
    server: Server | None = None
    processes: ProcessTree | None = None
    resolutions: Mapping[str, Resolution | None] = field(default_factory=dict)
    serve: Callable[[], Server] | None = None

    def end(self) -> str:
        """Empty while it runs, as far as we know; else how it ended."""
        return "" if self.server is None else self.server.end()

    def restart(self) -> None:
        """The same in new processes, at another port. Raises: StartError: it did not become ready again."""
        if self.server is None or self.serve is None:
            raise ValueError(f"{self.subject.text} was not started here, so it cannot be started again")
        old, self.server = self.server, None  # whatever happens, nobody stops the old one a second time
        old.ask_to_end()  # it has nothing left to do: it goes while the new one comes
        try:
            self.server = self.processes = self.serve()
        finally:
            old.stop()
        self.target = self.server.target


def subject_of(text: str) -> Subject:
    """Raises: UserError: neither a file that can be served nor an http URL; names what was expected."""
    if "://" in text:
        return _subject_of_url(text)
    path = Path(text)
    if not path.exists():
        raise UserError(
            f"{text}: no such file; expected a service.yaml, a model.onnx, or http://host:port of a server that runs"
        )
    if path.is_dir():
        raise UserError(f"{text} is a folder; name one service.yaml or model file in it")
    return Subject(text, load_configuration(path))


def _subject_of_url(text: str) -> Subject:
    parts = urlsplit(text)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise UserError(f"{text}: the port is not a number up to 65535") from None
    if parts.scheme != "http":
        raise UserError(
            f"{text}: expected http://host:port; {parts.scheme} is not spoken: a proxy that speaks it would be "
            "measured with the server"
        )
    if not parts.hostname:
        raise UserError(f"{text}: expected http://host:port, got no host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    return Subject(text, address=f"{host}:{port}", path=path)


@contextlib.contextmanager
def started(subject: Subject, placement: Placement, *, workers: int | None = None) -> Iterator[Started]:
    """The subject, ready to answer; what was started for it is stopped at the end.

    Raises: StartError: the deployment did not become ready; the message ends with its log.
    """
    if subject.configuration is None:
        yield Started(subject, subject.address, processes=listener(subject.address))
        return
    with tempfile.TemporaryDirectory(prefix="trivet-bench-") as folder:
        serve = partial(_serve, subject, placement, workers, Path(folder))
        server = serve()
        running = Started(subject, server.target, server, server, serve=serve)
        try:
            # What `auto` became depends on the cores that the server may use: it is asked for as on those.
            with affinity(placement.server):
                running.resolutions = known_resolutions(subject.configuration)
            yield running
        finally:
            if running.server is not None:
                running.server.stop()


def _serve(subject: Subject, placement: Placement, workers: int | None, folder: Path) -> Server:
    """`trivet serve` in processes of its own. Args: folder: where its log and its state get one of their own."""
    own = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "trivet.cli.main", "serve", subject.text, "--port", "0"]
    command += ["--control-port", "0", *([] if workers is None else ["--workers", str(workers)])]
    return Server.start(
        command,
        _SERVING,
        log=own / "log",
        cores=placement.server,
        ready_path="/v2/health/ready",
        env={"TRIVET_STATE": str(own)},
        timeout_s=START_TIMEOUT_S,
        dies_with_us=True,
    )
