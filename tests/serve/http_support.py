"""A worker's HTTP front without sockets: real connections, router, runtime and models; loop and time by hand."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import settings

from trivet.clock import MonotonicClock
from trivet.runtime.installing import install
from trivet.runtime.live import LiveService
from trivet.runtime.preparing.preparing import Prepared, prepare
from trivet.runtime.runtime import Runtime
from trivet.runtime.table import LiveTable
from trivet.schedule import Scheduler
from trivet.serve.http.connection import Connection
from trivet.serve.http.router import Router
from trivet.serve.http.v2 import V2
from trivet.spec.deployment import Limits, Statuses
from trivet.spec.service_file import load_configuration

SECOND_NS = 1_000_000_000
# The same examples in each run; no limit on the time of one, which a busy machine would exceed.
PROPERTIES = settings(deadline=None, derandomize=True)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class HandLoop:
    """What the runtime asks of an event loop; callbacks run when the test says so."""

    def __init__(self) -> None:
        self.ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self.ready.append((callback, arguments))

    def call_later(self, _delay: float, _callback: Callable[..., object], *_arguments: Any) -> "HandLoop":
        return self  # time moves by hand: the test calls `turn` when it has moved the clock

    def cancel(self) -> None:
        """Of a timer that never fires."""

    def run(self) -> None:
        while self.ready:
            callback, arguments = self.ready.popleft()
            callback(*arguments)


class TickingClock:
    """Moves a microsecond with every look, and further when told to: no two instants are the same."""

    def __init__(self) -> None:
        self._now_ns = SECOND_NS

    def now_ns(self) -> int:
        self._now_ns += 1_000
        return self._now_ns

    def advance_ns(self, delta_ns: int) -> None:
        self._now_ns += delta_ns


class Transport:
    """The server's end of a connection, as asyncio would give it; holds what was written."""

    def __init__(self, loop: HandLoop, lost: Callable[[], None]) -> None:
        self._loop = loop
        self._lost = lost
        self.output = bytearray()
        self.is_paused = False
        self.has_eof = False
        self.was_aborted = False
        self._closing = False

    def write(self, data: bytes) -> None:
        if self.has_eof:
            raise RuntimeError("write after write_eof")
        if not self._closing:
            self.output += data

    def write_eof(self) -> None:
        self.has_eof = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lost)

    def drop(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self.was_aborted = True
        self.close()

    def pause_reading(self) -> None:
        if self.is_paused:
            raise RuntimeError("paused twice")
        self.is_paused = True

    def resume_reading(self) -> None:
        if not self.is_paused:
            raise RuntimeError("resumed twice")
        self.is_paused = False


class Client:
    """One client connection of a `Front`."""

    def __init__(self, front: "Front") -> None:
        self._front = front
        self.connection = Connection(front.router)
        self.transport = Transport(front.loop, self._lost)
        self.is_lost = False
        self._read = 0
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]  # has what a connection uses

    def _lost(self) -> None:
        self.is_lost = True
        self.connection.connection_lost(None)

    def send(self, *pieces: bytes) -> None:
        """Deliver bytes as the socket would: nothing to a closed connection. No callbacks of the loop run."""
        for piece in pieces:
            if piece and not self.transport.is_closing():
                self.connection.data_received(piece)

    def leave(self) -> None:
        """The client closes its end, or is gone, before anything else happens."""
        assert not self.connection.eof_received()
        self.transport.drop()
        self._lost()

    def answers(self) -> list[Answer]:
        """What arrived since the last call, after the loop has run; asserts that it is whole answers, nothing else."""
        self._front.loop.run()
        data = bytes(self.transport.output[self._read :])
        self._read += len(data)
        return parse_answers(data)

    def ask(self, *pieces: bytes) -> Answer:
        """The one answer to a request."""
        self.send(*pieces)
        answers = self.answers()
        assert len(answers) == 1, answers
        return answers[0]

    @property
    def is_closed(self) -> bool:
        """The server has closed it, or at least its own direction of it."""
        return self.transport.is_closing() or self.transport.has_eof


class Front:
    """One worker's front over the given service files or models."""

    def __init__(
        self, paths: Sequence[Path], *, limits: Limits | None = None, statuses: Statuses | None = None
    ) -> None:
        self.loop = HandLoop()
        self.clock = TickingClock()
        loop: Any = self.loop
        self.runtime = Runtime(loop, Scheduler(1), self.clock.now_ns)
        self.router = Router(self.runtime, limits or Limits(), statuses or Statuses())
        self.complaints: list[str] = []
        self.lives: list[LiveService] = []
        self.router.complain = self.complaints.append  # type: ignore[method-assign]  # the log, kept
        V2(self.router, self._forward).register()
        for path in paths:
            scheduler = self.runtime.scheduler
            live = install(prepared(path), scheduler, loop, self.clock.now_ns, self.complaints.append)
            self.runtime.add(live)
            self.lives.append(live)
            self.router.add_service(live.name, "1", LiveTable([(live, 1.0)]), default_version=True)

    async def _forward(self, method: str, path: Sequence[str], body: bytes) -> bytes:
        raise AssertionError("nothing here asks the supervisor")

    def connect(self) -> Client:
        return Client(self)

    def check_alive(self) -> None:
        """A right request of a new client gets its right answer, and nothing unexpected was logged."""
        answer = self.connect().ask(infer(b"2.5"))
        assert (answer.status, values(answer)) == (200, b"2.5"), answer
        assert self.complaints == []


@cache
def prepared(path: Path) -> Prepared:
    return prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda _text: None)


def write_echo(folder: Path) -> Path:
    """A service `echo`, x -> y FP32[N,M], that always runs in the loop."""
    from benchmarks import models

    models.write(models.identity(), folder / "identity.onnx")
    path = folder / "echo.yaml"
    path.write_text(
        "models:\n  identity:\n    file: identity.onnx\n    levers: {execution: inline, max_batch_size: 8}\n"
    )
    return path


def tensors(*values: bytes, extra: bytes = b"") -> bytes:
    """The JSON body of a request with one row of numbers."""
    return b'{"inputs":[{"name":"x","shape":[1,%d],"datatype":"FP32","data":[%b]}]%b}' % (
        len(values),
        b",".join(values),
        extra,
    )


def request(
    method: bytes = b"POST",
    url: bytes = b"/v2/models/echo/infer",
    body: bytes = b"",
    headers: Sequence[bytes] = (),
) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, url), b"Host: localhost", *headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def infer(*values: bytes, headers: Sequence[bytes] = (), extra: bytes = b"") -> bytes:
    return request(body=tensors(*values, extra=extra), headers=headers)


def values(answer: Answer) -> bytes:
    """The numbers of an answer of the echo service, as JSON wrote them."""
    return answer.body.partition(b'"data":[')[2].partition(b"]")[0]


def parse_answers(data: bytes, *, bodiless: bool = False) -> list[Answer]:
    """Answers one after the other; asserts that nothing else is between or behind them."""
    answers = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"an answer's head is not whole: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), f"not an answer: {first!r}"
        headers = {}
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon, f"not a header: {line!r}"
            assert name.lower() not in headers, f"header {name!r} stands twice"
            headers[name.lower()] = value
        status = int(first.split(" ")[1])
        size = 0 if bodiless or status < 200 else int(headers["content-length"])
        assert size <= len(data), f"the body has {len(data)} of {size} bytes"
        answers.append(Answer(status, headers, data[:size]))
        data = data[size:]
    return answers
