"""The supervisor: owns the sockets, starts and restarts workers, gathers what they count, and runs the control API.

It imports no engine and no numpy: a worker is starting while this process still reads its own modules.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal

from trivet.errors import UnavailableError, UserError
from trivet.serve import board as boards
from trivet.serve.background.keeper import BackgroundKeeper
from trivet.serve.board import Board
from trivet.serve.channel import Channel
from trivet.serve.messages import (
    AskSnapshot,
    Drain,
    Forward,
    Forwarded,
    KnownTenant,
    Ready,
    Remove,
    Reply,
    Said,
    ServedService,
    SetLive,
    Start,
    StartFailed,
    ToSupervisor,
)
from trivet.spec.deployment import Limits, Statuses

_RESTART_DELAYS_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
# A worker that lived this long has earned a restart without delay.
_STEADY_S = 30.0
# A worker whose loop has not turned for this long is stuck: killed and replaced.
_STUCK_S = 10.0
_ASK_TIMEOUT_S = 2.0
# Beyond the workers' own time for draining.
_STOP_GRACE_S = 5.0


class WorkerProcess:
    """One worker: its process, its channel, and the messages that wait for a reply."""

    def __init__(self, index: int, process: subprocess.Popen[bytes]) -> None:
        self.index = index
        self.process = process
        self.channel: Channel | None = None
        self.ready = False
        self.started_s = time.monotonic()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._num_asked = 0

    def ask(self, make: Callable[[int], Any]) -> "asyncio.Future[Any]":
        """Send `make(id)`; the future ends with the reply's result.

        Its errors: UserError (the worker could not do it), UnavailableError (the worker is gone).
        """
        self._num_asked += 1
        future = self._asked[self._num_asked] = asyncio.get_running_loop().create_future()
        assert self.channel is not None  # connected when it was started
        self.channel.send(make(self._num_asked))
        return future

    def replied(self, reply: Reply) -> None:
        future = self._asked.pop(reply.id)
        if future.done():  # nobody waits any more
            return
        if reply.error:
            future.set_exception(UserError(reply.error))
        else:
            future.set_result(reply.result)

    def lost(self) -> None:
        for future in self._asked.values():
            if not future.done():
                future.set_exception(UnavailableError(f"worker {self.index} is gone"))
        self._asked.clear()


Forwarding = Callable[["Supervisor", Forward], Coroutine[Any, Any, tuple[int, bytes]]]


class Supervisor:
    """Keeps `num_workers` workers serving `services` on `listeners` until it is told to stop.

    Args: forward: answers what a client asks of the data plane and only the supervisor knows: (status, body).
    """

    def __init__(
        self,
        *,
        num_workers: int,
        listeners: Sequence[socket.socket],
        limits: Limits,
        statuses: Statuses,
        default_deadline_ns: Literal["auto"] | int,
        drain_timeout_ns: int,
        say: Callable[[str], None],
        forward: "Forwarding",
        background: BackgroundKeeper | None = None,
        tenants: tuple[KnownTenant, ...] = (),
        spending_fd: int | None = None,
        cache_url: str | None = None,
    ) -> None:
        self.services: list[ServedService] = []  # what a new worker is told to serve
        self.num_workers = num_workers
        self.worker_lost = 0  # requests that died with their worker
        self.restarts = 0
        self.draining = False
        self.workers: list[WorkerProcess | None] = [None] * num_workers
        self._listeners = list(listeners)
        self._limits = limits
        self._statuses = statuses
        self._default_deadline_ns: Literal["auto"] | int = default_deadline_ns
        self._drain_timeout_ns = drain_timeout_ns
        self._say = say
        self.background = background
        self._tenants = tenants
        self._spending_fd = spending_fd  # the page of serve/spending.py; None: no tenant has a budget
        self._cache_url = cache_url
        self._board_fd = boards.create(num_workers)
        self.board = Board(self._board_fd, num_workers)
        self._inboxes = (
            [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(num_workers)]
            if num_workers > 1
            else []
        )
        self._failures = [0] * num_workers
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_ready = asyncio.Event()
        self._stopped = asyncio.Event()
        self._error: UserError | None = None
        self._forward = forward
        self._launched: list[tuple[subprocess.Popen[bytes], socket.socket]] = []

    # --- life ---------------------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        return not self.draining and any(worker is not None and worker.ready for worker in self.workers)

    def launch(self) -> None:
        """Start the worker processes; they read their modules while the caller goes on."""
        for index in range(self.num_workers):
            self._popen(index)

    def end_processes(self) -> None:
        """Kill what still runs: after a failed start nothing may be left behind."""
        if self.background is not None:
            self.background.close()
        for process, _ in self._launched:
            if process.poll() is None:
                process.kill()
                process.wait()

    @property
    def port(self) -> int:
        """The TCP port of the data plane, as bound."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Connect to the launched workers and wait until one of them serves.

        Raises: UserError: what a worker said why it cannot serve.
        """
        for index, (process, end) in enumerate(list(self._launched)):
            await self._connect(index, process, end)
        self._spawn(self._watch_beats())
        await self._first_ready.wait()
        if self._error is not None:
            raise self._error
        if self.background is not None:
            self.background.start()

    def _popen(self, index: int) -> tuple["subprocess.Popen[bytes]", socket.socket]:
        ours, theirs = socket.socketpair()
        # For each worker the sending end of every inbox; for its own the receiving end.
        inboxes = [pair[1] if target == index else pair[0] for target, pair in enumerate(self._inboxes)]
        inherited = [theirs.fileno(), self._board_fd]
        arguments = ["--index", str(index), "--count", str(self.num_workers)]
        arguments += ["--channel", str(theirs.fileno()), "--board", str(self._board_fd)]
        for listener in self._listeners:
            arguments += ["--listen", str(listener.fileno())]
            inherited.append(listener.fileno())
        for inbox in inboxes:
            arguments += ["--inbox", str(inbox.fileno())]
            inherited.append(inbox.fileno())
        if self.background is not None:
            arguments += ["--rows", str(self.background.workers_end.fileno())]
            inherited.append(self.background.workers_end.fileno())
        if self._spending_fd is not None:
            arguments += ["--spending", str(self._spending_fd)]
            inherited.append(self._spending_fd)
        process = subprocess.Popen(
            [sys.executable, "-m", "trivet.serve.worker", *arguments], pass_fds=inherited
        )
        theirs.close()
        self._launched.append((process, ours))
        return process, ours

    async def _connect(self, index: int, process: "subprocess.Popen[bytes]", end: socket.socket) -> None:
        worker = WorkerProcess(index, process)
        channel = Channel(
            ToSupervisor, lambda message: self._on_message(worker, message), lambda: self._on_lost(worker)
        )
        worker.channel = channel
        self.workers[index] = worker
        await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, end)
        channel.send(
            Start(
                services=tuple(self.services),
                limits=self._limits,
                statuses=self._statuses,
                default_deadline_ns=self._default_deadline_ns,
                drain_timeout_ns=self._drain_timeout_ns,
                sampling=None if self.background is None else self.background.settings.sampling,
                tenants=self._tenants,
                cache_url=self._cache_url,
            )
        )

    def _on_message(self, worker: WorkerProcess, message: ToSupervisor) -> None:
        match message:
            case Ready():
                worker.ready = True
                if not self._first_ready.is_set():
                    for line in message.summaries:
                        self._say(line)
                self._first_ready.set()
            case StartFailed():
                self._error = UserError(message.error)
                self._first_ready.set()
            case Said():
                self._say(message.text)
            case Reply():
                worker.replied(message)
            case Forward():
                self._spawn(self._answer_forward(worker, message))

    async def _answer_forward(self, worker: WorkerProcess, message: Forward) -> None:
        status, body = await self._forward(self, message)
        if worker.channel is not None:
            worker.channel.send(Forwarded(message.id, status, body))

    def _on_lost(self, worker: WorkerProcess) -> None:
        """The channel ended: the process is dead or dying."""
        worker.ready = False
        worker.lost()
        self._spawn(self._replace(worker))

    async def _replace(self, worker: WorkerProcess) -> None:
        returncode = await _wait(worker.process)
        index = worker.index
        self.workers[index] = None
        if self.draining or self._error is not None:
            if all(other is None for other in self.workers):
                self._stopped.set()
            return
        lost = self.board.num_in_flight(index)
        self.worker_lost += lost
        self.restarts += 1
        lived_s = time.monotonic() - worker.started_s
        self._failures[index] = 0 if lived_s > _STEADY_S else self._failures[index] + 1
        self._say(f"worker {index} {_how(returncode)}; {lost} requests were lost with it; starting another")
        await asyncio.sleep(_RESTART_DELAYS_S[min(self._failures[index], len(_RESTART_DELAYS_S)) - 1])
        if not self.draining:
            await self._connect(index, *self._popen(index))

    async def _watch_beats(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for worker in self.workers:
                if worker is None or not worker.ready:
                    continue
                silent_s = (time.monotonic_ns() - self.board.last_beat_ns(worker.index)) / 1e9
                if silent_s > _STUCK_S:
                    self._say(f"worker {worker.index} has not turned its loop for {silent_s:.1f} s: killed")
                    worker.process.kill()

    async def stop(self) -> None:
        """Drain: no new connections, every accepted request is answered, then the workers are gone."""
        self.draining = True
        for listener in self._listeners:
            listener.close()
        for worker in self.workers:
            if worker is not None and worker.channel is not None:
                worker.channel.send(Drain())
        if any(worker is not None for worker in self.workers):
            try:
                grace_s = self._drain_timeout_ns / 1e9 + _STOP_GRACE_S
                await asyncio.wait_for(self._stopped.wait(), grace_s)
            except TimeoutError:
                for worker in self.workers:
                    if worker is not None:
                        worker.process.kill()
        if self.background is not None:
            await self.background.drain()
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what workers are asked ---------------------------------------------------------------------------------

    def _live_workers(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker is not None and worker.ready]

    async def snapshots(self) -> list[dict[str, Any]]:
        """A snapshot of every worker that answers within two seconds."""
        workers = self._live_workers()
        asked = [asyncio.wait_for(worker.ask(AskSnapshot), _ASK_TIMEOUT_S) for worker in workers]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [
            {"worker": worker.index, **answer}
            for worker, answer in zip(workers, answers, strict=True)
            if isinstance(answer, dict)
        ]

    async def set_live(self, service: ServedService) -> None:
        """Replace the live configurations of a service version in every worker.

        Raises: UserError: a worker cannot load one; the configurations before stay live everywhere.
        """
        before = next(
            (one for one in self.services if (one.name, one.version) == (service.name, service.version)), None
        )
        workers = self._live_workers()
        asked = [worker.ask(lambda i: SetLive(i, service)) for worker in workers]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, UserError)]
        if errors:
            await self._undo(workers, answers, before, service)
            raise errors[0]
        self.services = [one for one in self.services if one is not before] + [service]

    async def _undo(
        self,
        workers: Sequence[WorkerProcess],
        answers: Sequence[Any],
        before: ServedService | None,
        service: ServedService,
    ) -> None:
        for worker, answer in zip(workers, answers, strict=True):
            if answer is not None:
                continue
            undo = (
                worker.ask(lambda i: SetLive(i, before))
                if before is not None
                else worker.ask(lambda i: Remove(i, service.name, service.version))
            )
            with contextlib.suppress(
                UserError, UnavailableError
            ):  # a worker that died is started with `services`
                await undo

    async def remove(self, name: str, version: str) -> None:
        """Stop serving a service version."""
        self.services = [one for one in self.services if (one.name, one.version) != (name, version)]
        asked = [worker.ask(lambda i: Remove(i, name, version)) for worker in self._live_workers()]
        await asyncio.gather(*asked, return_exceptions=True)


async def _wait(process: "subprocess.Popen[bytes]") -> int:
    """The exit code; a process whose channel is closed and that still runs is given a second, then killed."""
    end_s = time.monotonic() + 1.0
    while (returncode := process.poll()) is None:
        if time.monotonic() > end_s:
            process.kill()
        await asyncio.sleep(0.005)
    return returncode


def _how(returncode: int) -> str:
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with {returncode}"


def listen_tcp(host: str, port: int) -> socket.socket:
    """Raises: UserError: the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port or --host"
        ) from None
    listener.listen(4096)
    return listener


def listen_unix(path: str) -> socket.socket:
    """A Unix socket at `path`; a stale one is replaced, one that is answered is not.

    Raises: UserError: in use, or not possible.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with (
            contextlib.suppress(ConnectionRefusedError, FileNotFoundError),
            socket.socket(socket.AF_UNIX) as probe,
        ):
            probe.connect(path)
            raise UserError(f"another server listens on {path}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise UserError(f"cannot listen on {path}: {error.strerror}") from None
    listener.listen(4096)
    return listener
