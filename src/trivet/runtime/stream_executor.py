"""Runs the streams of a python engine that is a generator, in its own process: one stream at a time.

The process may be a few chunks ahead of whoever takes them, and no more. A process that owes a chunk, or the end after
a cancel, for longer than `hang_ns` is killed; how such a process comes back is as in `process_executor.py`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from trivet.engine.python.engine import CHUNKS_AHEAD
from trivet.engine.python.events import Chunk, Event, StreamEnded
from trivet.errors import EngineError, RequestError
from trivet.runtime.executors import Work
from trivet.runtime.notes import Notes
from trivet.runtime.process_executor import ProcessExecutor


class Sink(Protocol):
    """Takes what a stream gives: chunks, then `ended` once, whatever happens."""

    def chunk(
        self,
        outputs: Mapping[str, NDArray[Any]],
        notes: Notes | None = None,
        tokens: tuple[int, int] = (0, 0),
    ) -> None:
        """`notes`, `tokens`: what is told of a stream that comes from another server; tokens with one of its chunks."""

    def late(self) -> None:
        """The instant has passed by which the first chunk was wanted. The stream goes on until it is cancelled."""

    def ended(self, error: RequestError | None, *, executor_lost: bool) -> None:
        """`executor_lost`: another stream cannot be taken yet; `when_back` tells when it can."""


class StreamExecutor(ProcessExecutor):
    """One process, one stream at a time."""

    _sink: Sink | None = None
    _num_credits = 0  # chunks that the process may make now

    def open(self, build: Work, sink: Sink, first_by_ns: int) -> None:
        """Begin a stream. Args: first_by_ns: nobody waits for the first chunk after this instant."""
        now_ns = self._now_ns()
        self._batch_id += 1
        try:
            self._process.open_stream(self._batch_id, build(), CHUNKS_AHEAD)
        except EngineError as error:
            sink.ended(error, executor_lost=False)
            return
        self._sink = sink
        self._sent_id = self._batch_id
        self._ready = False
        self._num_credits = CHUNKS_AHEAD
        self._watch()
        first_by_s = max(0, first_by_ns - now_ns) / 1e9
        self._deadline = self._loop.call_later(first_by_s, self._on_late, self._batch_id)

    def grant(self, num_chunks: int) -> None:
        if self._sink is not None:
            self._process.grant(self._batch_id, num_chunks)
            if not self._num_credits:
                self._watch()
            self._num_credits += num_chunks

    def cancel(self) -> None:
        """Have the generator closed; the sink's `ended` tells when it is."""
        self._process.cancel(self._batch_id)
        self._cancel(self._deadline)
        self._watch()

    def _watch(self) -> None:
        """From now on the process owes something."""
        self._cancel(self._hang)
        self._hang = self._loop.call_later(self._hang_ns / 1e9, self._on_hang, self._sent_id)

    def _on_late(self, stream_id: int) -> None:
        if stream_id == self._batch_id and self._sink is not None:
            self._sink.late()

    def _on_event(self, event: Event) -> None:
        match event:
            case Chunk(stream_id=stream_id, outputs=outputs) if stream_id == self._batch_id:
                self._num_credits -= 1
                self._cancel(self._deadline)
                self._cancel(self._hang)
                if self._num_credits:
                    self._watch()
                if self._sink is not None:
                    self._sink.chunk(outputs)
            case StreamEnded(stream_id=stream_id, error=error) if stream_id == self._batch_id:
                self._end_stream(error)
            case _:
                super()._on_event(event)

    def _end_stream(self, error: RequestError | None) -> None:
        self._cancel(self._deadline)
        self._cancel(self._hang)
        if error is None:
            self._count_answer()
        self._ready = not self._process.has_exited
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.ended(error, executor_lost=not self._ready)
