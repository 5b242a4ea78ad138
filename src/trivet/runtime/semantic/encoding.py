"""Encoders that take long run in a thread, and never longer than a request can wait for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from trivet.runtime.semantic.encoders import Encoder, Vector

# Of the time that a request has left: what comes later than that is not waited for.
_WAITED_SHARE = 0.25

Take = Callable[[Vector | None], None]


class Encodings:
    """One encoder's thread. While it is stuck, texts are refused at once."""

    def __init__(self, encoder: Encoder, loop: asyncio.AbstractEventLoop) -> None:
        self._encoder = encoder
        self._loop = loop
        self._pool = ThreadPoolExecutor(1, "semantic-encoder")
        self._num_late = 0  # begun or queued, and given up

    @property
    def is_stuck(self) -> bool:
        return self._num_late > 0

    def start(self, text: str, left_ns: int, take: Take) -> None:
        """Args: left_ns: the time that the request has.  take: called once, in the loop; None: it failed, or is late."""
        job = _Job(self, take)
        future = self._loop.run_in_executor(self._pool, self._encoder.encode, text)
        job.timer = self._loop.call_later(max(0, left_ns) * _WAITED_SHARE / 1e9, job.late)
        future.add_done_callback(job.done)

    def late(self, change: int) -> None:
        self._num_late += change

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._encoder.close()


class _Job:
    __slots__ = ("_encodings", "_take", "timer")

    def __init__(self, encodings: Encodings, take: Take) -> None:
        self._encodings = encodings
        self._take: Take | None = take
        self.timer: asyncio.TimerHandle | None = None

    def late(self) -> None:
        self._encodings.late(1)
        self._give(None)

    def done(self, future: "asyncio.Future[Vector]") -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self._take is None:
            self._encodings.late(-1)
            if not future.cancelled():
                future.exception()  # nobody asks for it any more
            return
        failed = future.cancelled() or future.exception() is not None
        self._give(None if failed else future.result())

    def _give(self, vector: Vector | None) -> None:
        take, self._take = self._take, None
        if take is not None:
            take(vector)
