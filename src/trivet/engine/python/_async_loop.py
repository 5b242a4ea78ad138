"""Child: answers batches and streams of async code: one task for each, all at once, on one event loop."""

import asyncio
import inspect
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from typing import Any

from trivet.engine.python._batches import Batches
from trivet.engine.python._outbox import STOPPED, Outbox
from trivet.engine.python.channel import Channel
from trivet.engine.python.messages import Cancel, Grant, Open, Run, Stop, ToChild

Chunks = AsyncGenerator[Any, None]


class AsyncLoop:
    """The user's code meets one event loop from `load` to the end."""

    def __init__(self, channel: Channel[ToChild], batches: Batches, outbox: Outbox) -> None:
        self._channel = channel
        self._batches = batches
        self._outbox = outbox
        self._runner = asyncio.Runner()
        self._credits: dict[int, asyncio.Semaphore] = {}  # by stream
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._stopping = False

    def load(self) -> None:
        self._runner.run(self._load())

    async def _load(self) -> None:
        if self._batches.target.load is not None:
            loading = self._batches.target.load()
            if inspect.isawaitable(loading):
                await loading

    def serve(self) -> None:
        """Until the parent stops us or is gone."""
        self._runner.run(self._serve())
        self._runner.close()  # not after an error: closing cancels streams, which would then seem to end well

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._channel.fileno(), self._on_readable, stopped)
        await stopped
        loop.remove_reader(self._channel.fileno())
        self._stopping = True
        for stream in self._streams.values():
            stream.cancel()
        await asyncio.gather(*self._runs, *self._streams.values(), return_exceptions=True)

    def _on_readable(self, stopped: asyncio.Future[None]) -> None:
        try:
            message = self._channel.receive(wait=False)
            if message is not None and not isinstance(message, Stop):
                self._on_message(message)
            elif (message is not None or self._channel.ended) and not stopped.done():
                stopped.set_result(None)
        except Exception as error:  # a callback's error would only be logged; this one must end the process
            stopped.set_exception(error)

    def _on_message(self, message: ToChild) -> None:
        match message:
            case Run():
                self._outbox.acknowledge(message.received)
                run = asyncio.create_task(self._run(message))
                self._runs.add(run)
                run.add_done_callback(self._runs.discard)
            case Open():
                self._outbox.acknowledge(message.received)
                self._credits[message.stream_id] = asyncio.Semaphore(message.credits)
                self._streams[message.stream_id] = asyncio.create_task(self._stream(message))
            case Grant():
                self._outbox.acknowledge(message.received)
                if message.stream_id in self._credits:
                    for _ in range(message.credits):
                        self._credits[message.stream_id].release()
            case Cancel() if message.stream_id in self._streams:
                self._streams[message.stream_id].cancel()

    async def _run(self, message: Run) -> None:
        try:
            returned = self._batches.call(message)
            if inspect.isawaitable(returned):
                returned = await returned
            self._outbox.done(message.batch_id, self._batches.answer(message, returned))
        except (Exception, asyncio.CancelledError) as error:  # the user's code may cancel itself
            self._outbox.error(message.batch_id, error)

    async def _stream(self, message: Open) -> None:
        failure: BaseException | None = None
        try:
            await self._send_chunks(message)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            asked = task is not None and task.cancelling() > 0  # else the user's code cancelled itself
            failure = STOPPED if self._stopping else None if asked else error
        except Exception as error:
            failure = error
        del self._streams[message.stream_id], self._credits[message.stream_id]
        self._outbox.end(message.stream_id, failure)

    async def _send_chunks(self, message: Open) -> None:
        async with aclosing(self._chunks(message)) as chunks:
            while True:
                await self._credits[message.stream_id].acquire()
                try:
                    returned = await anext(chunks)
                except StopAsyncIteration:
                    return
                self._outbox.chunk(message.stream_id, self._batches.chunk(returned))

    async def _chunks(self, message: Open) -> Chunks:
        """The answers of one request; code that is no generator gives its one answer as the one chunk."""
        returned = self._batches.call(message)
        if inspect.isasyncgen(returned):
            async with aclosing(returned):
                async for chunk in returned:
                    yield chunk
        elif inspect.isgenerator(returned):
            with closing(returned):
                for chunk in returned:
                    yield chunk
        else:
            yield (await returned) if inspect.isawaitable(returned) else returned
