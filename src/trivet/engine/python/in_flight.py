"""Which batches and streams a process still owes an answer, and where their inputs lie."""

from trivet.engine.python.events import Event, Failed, StreamEnded
from trivet.engine.python.slab import Regions
from trivet.errors import EngineError


class InFlight:
    """Each is added once and leaves once: answered, or failed with the process."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._batches: dict[int, int] = {}  # id -> start of its inputs
        self._streams: dict[int, int] = {}
        self._cancelled: set[int] = set()

    def add_batch(self, batch_id: int, start: int) -> None:
        self._batches[batch_id] = start

    def add_stream(self, stream_id: int, start: int) -> None:
        self._streams[stream_id] = start

    def is_empty(self) -> bool:
        return not (self._batches or self._streams)

    def cancel(self, stream_id: int) -> bool:
        """Whether this is news: the stream is there, and was not cancelled before."""
        news = self.has_reader(stream_id)
        if news:
            self._cancelled.add(stream_id)
        return news

    def has_reader(self, stream_id: int) -> bool:
        return stream_id in self._streams and stream_id not in self._cancelled

    def forget_batch(self, batch_id: int) -> bool:
        """Whether it was still in flight."""
        return self._forget(self._batches, batch_id)

    def forget_stream(self, stream_id: int) -> bool:
        """Whether it was still in flight."""
        self._cancelled.discard(stream_id)
        return self._forget(self._streams, stream_id)

    def _forget(self, starts: dict[int, int], answer_id: int) -> bool:
        start = starts.pop(answer_id, None)
        if start is not None:
            self._regions.free(start)
        return start is not None

    def fail_all(self, reason: str) -> list[Event]:
        """The last event of everything in flight. A cancelled stream got what it asked for: no error."""
        events: list[Event] = [Failed(batch_id, EngineError(reason)) for batch_id in self._batches]
        for stream_id in self._streams:
            error = EngineError(reason) if self.has_reader(stream_id) else None
            events.append(StreamEnded(stream_id, error))
        self._batches.clear()
        self._streams.clear()
        return events
