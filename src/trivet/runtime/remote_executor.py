"""Runs batches and streams on other servers, in the loop. As every executor it has one on its way at a time: there are as
many executors as there may be calls at once.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from trivet.engine.python.engine import CHUNKS_AHEAD
from trivet.engine.remote.contract import Asking, Told, TryError
from trivet.errors import RequestError, UpstreamError
from trivet.pipeline.tries import Failure, Try
from trivet.runtime.executors import Done, Executor, Outcome, Work, unexpected
from trivet.runtime.remote_calls import RemoteCall, RemotePool, request_error
from trivet.runtime.stream_executor import Sink

if TYPE_CHECKING:
    from trivet.runtime.request import Request


def remote_executors(pool: RemotePool, num: int) -> list[Executor]:
    """So many calls may be on their way at once. The pool is closed with the last of them."""
    left = [num]

    def close() -> None:
        left[0] -= 1
        if not left[0]:
            pool.close()

    return [RemoteExecutor(pool, close) for _ in range(num)]


class RemoteExecutor:
    """Args: close: hears that this executor is closed."""

    def __init__(self, pool: RemotePool, close: Callable[[], None]) -> None:
        self._pool = pool
        self._close = close
        self._stream: _Stream | None = None
        self._batch: _Batch | None = None

    def start(self, build: Work, done: Done, answer_by_ns: int) -> None:
        started_ns = self._pool.now_ns()
        asking = self._asking(build)
        if isinstance(asking, RequestError):
            done(Outcome(None, asking, started_ns, self._pool.now_ns()))
        else:
            self._batch = _Batch(self._pool, asking, done, answer_by_ns)
            self._batch.start()

    def abandon(self) -> None:
        """Nobody waits for the batch any more: break it off; its `done` follows."""
        if self._batch is not None:
            self._batch.abandon()

    def open(self, build: Work, sink: Sink, first_by_ns: int) -> None:
        """Begin a stream. Args: first_by_ns: nobody waits for the first chunk after this instant."""
        asking = self._asking(build)
        if isinstance(asking, RequestError):
            sink.ended(asking, executor_lost=False)
            return
        self._stream = _Stream(self._pool, asking, sink, first_by_ns)
        self._stream.start()

    def grant(self, num_chunks: int) -> None:
        if self._stream is not None:
            self._stream.grant(num_chunks)

    def cancel(self) -> None:
        """Break the stream off; the sink's `ended` follows."""
        if self._stream is not None:
            self._stream.cancel()

    def when_back(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self) -> None:
        self._close()

    def _asking(self, build: Work) -> Asking | RequestError:
        try:
            return self._pool.dialect.asking(build())
        except RequestError as error:
            return error
        except Exception as error:  # a mistake of ours, in building it
            return unexpected(error)


class LoneCall:
    """A request that is alone in its batch, on its way at an upstream; stands where the runtime looks (`Request.split`).

    Args: requests: of the batch, as they will be answered: this one.
    """

    __slots__ = ("_executor", "_requests")

    def __init__(self, executor: RemoteExecutor, requests: "list[Request]") -> None:
        self._executor = executor
        self._requests = requests
        requests[0].split = self

    def cancel(self) -> None:
        """Nobody waits for it: its upstream sees that, and nobody is answered."""
        self.over()
        self._requests.clear()
        self._executor.abandon()

    def over(self) -> None:
        for request in self._requests:
            request.split = None


class _Batch:
    """One batch, answered whole."""

    def __init__(self, pool: RemotePool, asking: Asking, done: Done, answer_by_ns: int) -> None:
        self._pool = pool
        self._asking = asking
        self._done = done
        self._started_ns = pool.now_ns()
        self._found: dict[Try, Told] = {}
        self._call = RemoteCall(pool, answer_by_ns, self._ask, self._answered, self._gave_up)

    def start(self) -> None:
        self._call.start()

    def abandon(self) -> None:
        self._call.cancel()
        outcome = Outcome(None, UpstreamError("broken off"), self._started_ns, self._pool.now_ns())
        self._pool.loop.call_soon(self._done, outcome)

    async def _ask(self, attempt: Try) -> None:
        pool, name = self._pool, attempt.upstream.name
        headers, body = await pool.client.ask(pool.urls[name], asking=self._asking)
        self._found[attempt] = pool.dialect.told(self._asking, headers, body)

    def _answered(self, attempt: Try) -> None:
        told = self._found[attempt]
        outcome = Outcome(told.outputs, None, self._started_ns, self._pool.now_ns())
        outcome.notes = self._call.notes(attempt)
        outcome.tokens = told.tokens
        self._done(outcome)

    def _gave_up(self, failure: Failure) -> None:
        outcome = Outcome(None, request_error(failure), self._started_ns, self._pool.now_ns())
        outcome.notes = self._call.notes(None)
        self._done(outcome)


class _Stream:
    """One answer in chunks: each goes on as it comes, no faster than it is taken."""

    def __init__(self, pool: RemotePool, asking: Asking, sink: Sink, first_by_ns: int) -> None:
        self._pool = pool
        self._asking = asking
        self._sink = sink
        self._num_credits = CHUNKS_AHEAD
        self._granted = asyncio.Event()
        self._is_over = False
        self._call = RemoteCall(pool, first_by_ns, self._ask, self._answered, self._gave_up)

    def start(self) -> None:
        self._call.start()

    def grant(self, num_chunks: int) -> None:
        self._num_credits += num_chunks
        self._granted.set()

    def cancel(self) -> None:
        if not self._is_over:
            self._call.cancel()
            self._pool.loop.call_soon(self._end, UpstreamError("broken off"))

    async def _ask(self, attempt: Try) -> None:
        pool, name = self._pool, attempt.upstream.name
        if not self._asking.streams:
            headers, body = await pool.client.ask(pool.urls[name], asking=self._asking)
            self._chunk(attempt, pool.dialect.told(self._asking, headers, body))
            return
        async with aclosing(pool.client.stream(pool.urls[name], asking=self._asking)) as events:
            async for data in events:
                told = pool.dialect.chunk(data)
                if told is None:
                    return
                self._chunk(attempt, told)
                await self._room()
        raise TryError("connection", "the stream was cut off: no [DONE]")

    async def _room(self) -> None:
        """Wait until one more chunk may come: what nobody takes is not read from the upstream either."""
        while self._num_credits <= 0:
            self._granted.clear()
            await self._granted.wait()

    def _chunk(self, attempt: Try, told: Told) -> None:
        self._call.began(attempt)
        self._num_credits -= 1
        self._sink.chunk(told.outputs, self._call.notes(attempt), told.tokens)

    def _answered(self, attempt: Try) -> None:
        self._end(None)

    def _gave_up(self, failure: Failure) -> None:
        self._end(request_error(failure))

    def _end(self, error: RequestError | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._sink.ended(error, executor_lost=False)
