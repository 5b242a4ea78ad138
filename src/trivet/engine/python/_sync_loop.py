"""Child: answers batches and streams of code that is not async. One thread; streams take turns."""

from collections.abc import Generator
from typing import Any

from trivet.engine.python._batches import Batches
from trivet.engine.python._outbox import STOPPED, Outbox
from trivet.engine.python.channel import Channel
from trivet.engine.python.messages import Cancel, Grant, Open, Run, Stop, ToChild

Chunks = Generator[Any, None, None]


class _Stream:
    """One answer in chunks, and how many of them may still be sent."""

    __slots__ = ("chunks", "credits")

    def __init__(self, chunks: Chunks, num_credits: int) -> None:
        self.chunks = chunks
        self.credits = num_credits


class SyncLoop:
    """Batches in the order of arrival; before each chunk of a stream it looks for messages."""

    def __init__(self, channel: Channel[ToChild], batches: Batches, outbox: Outbox) -> None:
        self._channel = channel
        self._batches = batches
        self._outbox = outbox
        self._streams: dict[int, _Stream] = {}  # who waited longest comes first

    def load(self) -> None:
        if self._batches.target.load is not None:
            self._batches.target.load()

    def serve(self) -> None:
        """Until the parent stops us or is gone."""
        while not self._channel.ended:
            stream_id = self._next_stream() if self._streams else None
            message = self._channel.receive(wait=stream_id is None)
            if isinstance(message, Stop):
                break
            if message is not None:
                self._on_message(message)
            elif stream_id is not None:
                self._step(stream_id)
        for stream_id in list(self._streams):
            self._end(stream_id, STOPPED)

    def _next_stream(self) -> int | None:
        return next((key for key, stream in self._streams.items() if stream.credits > 0), None)

    def _on_message(self, message: ToChild) -> None:
        match message:
            case Run():
                self._outbox.acknowledge(message.received)
                self._run(message)
            case Open():
                self._outbox.acknowledge(message.received)
                self._streams[message.stream_id] = _Stream(self._chunks(message), message.credits)
            case Grant():
                self._outbox.acknowledge(message.received)
                if message.stream_id in self._streams:
                    self._streams[message.stream_id].credits += message.credits
            case Cancel() if message.stream_id in self._streams:
                self._end(message.stream_id)

    def _run(self, message: Run) -> None:
        try:
            arrays = self._batches.answer(message, self._batches.call(message))
            self._outbox.done(message.batch_id, arrays)
        except Exception as error:
            self._outbox.error(message.batch_id, error)

    def _chunks(self, message: Open) -> Chunks:
        """The answers of one request; code that is no generator gives its one answer as the one chunk."""
        returned = self._batches.call(message)
        if self._batches.target.streams:
            yield from returned
        else:
            yield returned

    def _step(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id)
        self._streams[stream_id] = stream  # to the end of the line
        stream.credits -= 1
        try:
            self._outbox.chunk(stream_id, self._batches.chunk(next(stream.chunks)))
        except StopIteration:
            self._end(stream_id)
        except Exception as error:
            self._end(stream_id, error)

    def _end(self, stream_id: int, error: Exception | None = None) -> None:
        try:
            self._streams.pop(stream_id).chunks.close()  # runs the generator's `finally` blocks
        except Exception as closing:
            error = error or closing
        self._outbox.end(stream_id, error)
