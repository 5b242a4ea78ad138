"""Upstreams that behave as told, on real sockets in the test's own loop: good, slow, silent, dripping, lying, gone."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Behaviour = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request, and the connection that it came over."""

    def __init__(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.body = body
        self.writer = writer

    @property
    def path(self) -> str:
        return self.head.split(" ", 2)[1]

    def header(self, name: str) -> str:
        lines = [line.split(": ", 1) for line in self.head.split("\r\n")[1:] if ": " in line]
        return {key.lower(): value for key, value in lines}.get(name, "")

    async def answer(self, status: int, body: bytes, *headers: str, length: int | None = None) -> None:
        """Args: length: that is claimed; by default the body's."""
        lines = [
            f"HTTP/1.1 {status} Said",
            f"Content-Length: {len(body) if length is None else length}",
            *headers,
        ]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    async def begin_events(self) -> None:
        lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", "", ""]
        self.writer.write("\r\n".join(lines).encode())

    async def event(self, data: str) -> None:
        piece = f"data: {data}\n\n".encode()
        self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await self.writer.drain()

    async def end_events(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()


class Upstream:
    """Use it as an async context manager, in the loop. Its address is known before.

    The next request is met by the next of `script`, then by `usual`.
    """

    def __init__(self, usual: Behaviour, *script: Behaviour) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.name}"
        self.usual = usual
        self.script = deque(script)
        self.seen: list[Exchange] = []
        self.num_open = 0
        self.all_closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, sock=self._socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.num_open += 1
        self.all_closed.clear()
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await self._exchange(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)
            self.num_open -= 1
            if not self.num_open:
                self.all_closed.set()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        exchange = Exchange(head, b"", writer)
        exchange.body = await reader.readexactly(int(exchange.header("content-length") or 0))
        self.seen.append(exchange)
        behave = self.script.popleft() if self.script else self.usual
        behaving = asyncio.ensure_future(behave(exchange))
        leaving = asyncio.ensure_future(reader.read(1))  # a client that waits says nothing more
        await asyncio.wait([behaving, leaving], return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        await asyncio.wait([leaving])  # nobody else reads meanwhile
        if not behaving.done():
            behaving.cancel()
            raise ConnectionResetError
        await behaving


def says(status: int, body: bytes = b"", *headers: str) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, body, *headers)

    return behave


async def hangs(exchange: Exchange) -> None:
    await asyncio.Event().wait()


async def resets(exchange: Exchange) -> None:
    exchange.reset()
    raise ConnectionResetError


async def drips(exchange: Exchange) -> None:
    """An answer that never ends, a byte at a time, as fast as the loop turns."""
    await exchange.answer(200, b"{", length=10**9)
    while True:
        exchange.writer.write(b" ")
        await exchange.writer.drain()
        await asyncio.sleep(0.001)


async def closes_early(exchange: Exchange) -> None:
    await exchange.answer(200, b'{"outputs": [', length=1000)
    exchange.writer.close()
    raise ConnectionResetError


async def doubles(exchange: Exchange) -> None:
    """A V2 model that gives y, twice its x, as JSON."""
    from trivet.wire.v2_client import decode_infer

    size = int(exchange.header("inference-header-content-length"))
    head = json.loads(exchange.body[:size])
    head["outputs"] = head.pop("inputs")
    x = decode_infer(json.dumps(head).encode() + exchange.body[size:], None).outputs["x"]
    y = {"name": "y", "datatype": "FP32", "shape": list(x.shape), "data": (2 * x).reshape(-1).tolist()}
    await exchange.answer(200, json.dumps({"outputs": [y]}).encode())
