"""A worker: one process, one event loop, one scheduler. It owns requests and nothing else.

Started by the supervisor with inherited descriptors: the listening sockets, the channel, the board, and where there
are several workers an inbox of accepted connections for each of them.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop

from trivet import host
from trivet.errors import TrivetError, UserError
from trivet.runtime.fronts.making import make_fronts, wants_shared_store
from trivet.runtime.fronts.redis_store import RedisStore, check_store
from trivet.runtime.installing import install
from trivet.runtime.live import LiveService
from trivet.runtime.preparing.preparing import Prepared, prepare
from trivet.runtime.runtime import Runtime
from trivet.runtime.table import LiveTable
from trivet.schedule import Scheduler
from trivet.serve.accepting import Acceptor
from trivet.serve.board import Board
from trivet.serve.channel import Channel
from trivet.serve.draining import Draining
from trivet.serve.http.budgets import Budgets
from trivet.serve.http.hangups import Hangups
from trivet.serve.http.response import response
from trivet.serve.http.router import Router
from trivet.serve.http.tenants import Tenants
from trivet.serve.http.v2 import V2
from trivet.serve.messages import (
    AskSnapshot,
    Drain,
    Forward,
    Forwarded,
    Ready,
    Remove,
    Reply,
    Said,
    Sampling,
    ServedService,
    SetLive,
    Start,
    StartFailed,
    ToWorker,
)
from trivet.serve.snapshot import GcPauses, snapshot
from trivet.serve.spending import Spending
from trivet.spec.configuration import Configuration

if TYPE_CHECKING:
    from trivet.serve.samples import Outlet

_BEAT_S = 0.1
_SWEEP_S = 1.0
_DRAIN_STEP_S = 0.01
_BACKGROUND_NICENESS = 19
# How long a thread that computes in Python beside the loop may keep it waiting; the interpreter's own 5 ms are a tail.
_SWITCH_INTERVAL_S = 0.0003
# How long a sampled row waits for company on its way to the background process.
_ROWS_S = 0.1
# What the last rows have to reach it, after the last answers.
_ROWS_GRACE_NS = 2_000_000_000


class Worker:
    """Carries out the supervisor's messages."""

    def __init__(self, arguments: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._index: int = arguments.index
        self._num_workers: int = arguments.count
        self._num_cores = host.engine_cores(arguments.count)
        self._board = Board(arguments.board, arguments.count)
        self._board.begin(self._index)
        self._listeners = [socket.socket(fileno=fd) for fd in arguments.listen]
        self._inboxes = [socket.socket(fileno=fd) for fd in arguments.inbox]
        self._channel = Channel(ToWorker, self._on_message, self._on_supervisor_lost)
        self.runtime = Runtime(loop, Scheduler(self._num_cores))
        self._router: Router | None = None
        self._acceptor: Acceptor | None = None
        self._rows_fd: int | None = arguments.rows
        self._spending_fd: int | None = arguments.spending
        self._outlet: Outlet | None = None
        self._waiting: dict[int, asyncio.Future[Forwarded]] = {}
        self._num_forwarded = 0
        self._pauses = GcPauses()
        self._pauses.watch()
        self._store: RedisStore | None = None
        self._draining = False
        self._terms: Start | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.done: asyncio.Event = asyncio.Event()

    async def connect(self, fd: int) -> None:
        await self._loop.connect_accepted_socket(lambda: self._channel, socket.socket(fileno=fd))

    # --- messages -----------------------------------------------------------------------------------------------

    def _on_message(self, message: ToWorker) -> None:
        match message:
            case Start():
                self._spawn(self._start(message))
            case SetLive():
                self._spawn(self._answer(message.id, self._set_live(message.service)))
            case Remove():
                self._spawn(self._answer(message.id, self._remove(message.name, message.version)))
            case AskSnapshot():
                self._channel.send(
                    Reply(message.id, snapshot(self._ready_router, self.runtime, self._pauses, self._outlet))
                )
            case Forwarded():
                self._waiting.pop(message.id).set_result(message)
            case Drain():
                self.drain()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message_id: int, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except TrivetError as error:
            self._channel.send(Reply(message_id, error=str(error)))
        else:
            self._channel.send(Reply(message_id))

    def say(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self._channel.send, Said(text))

    # --- what is served -----------------------------------------------------------------------------------------

    @property
    def _start_terms(self) -> Start:
        assert self._terms is not None  # `Start` is the first message
        return self._terms

    @property
    def _ready_router(self) -> Router:
        assert self._router is not None  # the supervisor asks nothing before Ready
        return self._router

    async def _start(self, message: Start) -> None:
        self._terms = message
        router = self._router = Router(self.runtime, message.limits, message.statuses)
        board, index = self._board, self._index
        router.hangups = Hangups(self._loop)
        router.num_connections = board.total_connections
        router.tenants = Tenants(message.tenants) if message.tenants else None
        if self._spending_fd is not None:
            page = Spending(self._spending_fd, self._num_workers, len(message.tenants))
            router.budgets = Budgets(message.tenants, page, self._index, self.say)
        router.on_closed = lambda: board.connection_closed(index)
        V2(router, self.forward).register()
        router.prefixes[b"/v1/"] = partial(_first_under_v1, router)
        if message.sampling is not None:
            self._sample(router, message.sampling)
        try:
            for service in message.services:
                # On a thread, so that the supervisor is heard (and hears of a profile) meanwhile.
                prepared = [
                    await self._loop.run_in_executor(
                        None, self._prepare, served.configuration, service.version
                    )
                    for served in service.entries
                ]
                self._install(service, prepared)
        except Exception as error:
            # Whatever it is, the supervisor waits for a word; a user's mistake needs no traceback.
            if not isinstance(error, UserError):
                traceback.print_exc()
            self._channel.send(StartFailed(str(error) or repr(error)))
            self._exit_soon()
            return
        # What is alive now stays alive: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._acceptor = Acceptor(
            self._loop, router, self._board, self._index, self._listeners, self._inboxes
        )
        await self._acceptor.open()
        self.runtime.on_turn = lambda: board.set_requests(
            index, router.answering.num_accepted, router.answering.num_answered
        )
        self._beat()
        self._sweep()
        self._channel.send(Ready(tuple(describe(live) for live in router.live())))

    def _sample(self, router: Router, sampling: Sampling) -> None:
        from trivet.serve.samples import Outlet  # who needs no rows loads none of it
        from trivet.serve.sampling import Sampler

        assert self._rows_fd is not None  # the supervisor gives both or neither
        self._outlet = Outlet(socket.socket(fileno=self._rows_fd))
        router.answering.sampler = Sampler(
            self._outlet, share=sampling.share, seed=self._index, traces=sampling.traces
        )
        self._flush_rows(self._outlet)

    def _flush_rows(self, outlet: "Outlet") -> None:
        outlet.flush()
        self._loop.call_later(_ROWS_S, self._flush_rows, outlet)

    def _shared_store(self) -> Callable[[], RedisStore] | None:
        url = self._start_terms.cache_url
        return None if url is None else partial(self._store_at, url)

    def _store_at(self, url: str) -> RedisStore:
        """The store that servers share, connected when the first service wants it."""
        if self._store is None:
            self._store = RedisStore(url, self._loop, self.runtime.now_ns, self.say)
            self._store.start()
        return self._store

    def _prepare(self, configuration: Configuration, version: str) -> Prepared:
        if self._start_terms.cache_url is not None and wants_shared_store(configuration.service.cache):
            check_store(self._start_terms.cache_url)
        return prepare(configuration, version, self.runtime.now_ns, self.say, self._num_cores)

    def _install(self, service: ServedService, prepared: Sequence[Prepared]) -> None:
        """Put configurations to work and give each its share; those that lose theirs are drained and freed."""
        router = self._ready_router
        table = router.tables.get((service.name, service.version))
        before = {live.hash: live for live in table.entries} if table is not None else {}
        now = dict(before)
        for one in prepared:
            live = install(
                one,
                self.runtime.scheduler,
                self._loop,
                self.runtime.now_ns,
                self.say,
                self._start_terms.default_deadline_ns,
            )
            if live.costing is not None and router.budgets is not None:
                live.costing.spend = router.budgets.spend
            live.fronts = make_fronts(one, live, self.runtime, self._loop, self._shared_store())
            self.runtime.add(live)
            now[live.hash] = live
        entries = [(now[served.configuration.hash], served.share) for served in service.entries]
        if table is None:
            table = LiveTable(entries)
            router.add_service(service.name, service.version, table, default_version=service.default_version)
        else:
            table.replace(entries)
        kept = {live.hash for live, _ in entries}
        for content_hash, live in before.items():
            if content_hash not in kept:
                self.runtime.retire(live)

    async def _set_live(self, service: ServedService) -> None:
        table = self._ready_router.tables.get((service.name, service.version))
        known = {live.hash for live in table.entries} if table is not None else set()
        missing = [
            served.configuration for served in service.entries if served.configuration.hash not in known
        ]
        prepared = [await self._prepare_beside(configuration, service.version) for configuration in missing]
        self._install(service, prepared)

    async def _prepare_beside(self, configuration: Configuration, version: str) -> Prepared:
        """Load beside live traffic: on a thread that gives way to everything else."""

        def work() -> Prepared:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND_NICENESS)
            return self._prepare(configuration, version)

        # A thread of its own: its niceness ends with it.
        with ThreadPoolExecutor(1, "load") as pool:
            return await self._loop.run_in_executor(pool, work)

    async def _remove(self, name: str, version: str) -> None:
        table = self._ready_router.remove_service(name, version)
        for live in table.entries:
            self.runtime.retire(live)

    async def forward(self, method: str, path: Sequence[str], body: bytes) -> bytes:
        """Let the supervisor answer for all workers."""
        self._num_forwarded += 1
        waiting = self._waiting[self._num_forwarded] = self._loop.create_future()
        self._channel.send(Forward(self._num_forwarded, method, tuple(path), body))
        forwarded = await waiting
        return response(forwarded.status, [forwarded.body])

    # --- life ---------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._board.beat(self._index, self.runtime.now_ns())
        self._loop.call_later(_BEAT_S, self._beat)

    def _sweep(self) -> None:
        self._ready_router.sweep()
        self._loop.call_later(_SWEEP_S, self._sweep)

    def _on_supervisor_lost(self) -> None:
        """No orphans: without a supervisor the worker answers what it has accepted and ends."""
        self.drain()

    def drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        if self._acceptor is None:  # nothing was ever served
            self._exit_soon()
            return
        self._acceptor.close()
        self._spawn(self._drain())

    async def _drain(self) -> None:
        now_ns = self.runtime.now_ns
        draining = Draining(self._ready_router, now_ns(), self._start_terms.drain_timeout_ns)
        while not draining.step(now_ns()):
            await asyncio.sleep(_DRAIN_STEP_S)
        end_ns = now_ns() + _ROWS_GRACE_NS
        while self._outlet is not None and self._outlet.num_waiting and now_ns() < end_ns:
            self._outlet.flush()
            await asyncio.sleep(_DRAIN_STEP_S)
        self._exit_soon()

    def _exit_soon(self) -> None:
        # One more turn, so that the last message is written.
        self._loop.call_soon(self.done.set)

    async def close(self) -> None:
        self._channel.close()
        if self._store is not None:
            await self._store.close()
        if self._router is not None:
            for live in self._router.live():
                self.runtime.retire(live)


def describe(live: LiveService) -> str:
    return f"{live.name} {live.version} [{live.hash[:12]}]: {live.summary()}; deadline {live.deadline_ns / 1e6:g} ms"


def _first_under_v1(router: Router, *request: Any) -> None:
    """Few servers are asked there: the modules are read when one is."""
    from trivet.serve.http.openai.front import OpenAIFront

    front = OpenAIFront(router)
    front.register()
    front.handle(*request)


async def _run(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(arguments, loop)
    # The terminal's Ctrl-C reaches every process of the group; the supervisor alone decides what it means.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, worker.drain)
    await worker.connect(arguments.channel)
    await worker.done.wait()
    await worker.close()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="trivet-worker", description="started by the supervisor")
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--board", type=int, required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--spending", type=int)
    parser.add_argument("--listen", type=int, action="append", default=[])
    parser.add_argument("--inbox", type=int, action="append", default=[])
    arguments = parser.parse_args(argv)
    host.take_short_slices()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    uvloop.run(_run(arguments))


if __name__ == "__main__":
    main()
