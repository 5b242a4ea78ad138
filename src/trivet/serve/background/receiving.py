"""The background process's loop: samples from the workers to whatever keeps them, until all workers are gone."""

import select
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from trivet.serve.samples import MAX_MESSAGE, Sample, decode


class Sink(Protocol):
    """Keeps samples. Called from one thread."""

    def take(self, samples: Sequence[Sample], now_ns: int) -> None: ...

    def wake_at_ns(self) -> int | None:
        """When `turn` has something to do; None: not before the next samples."""

    def turn(self, now_ns: int) -> None:
        """It is at least `wake_at_ns`."""

    def close(self, now_ns: int) -> None:
        """There are no more samples: keep what was taken, free everything."""


def receive(end: socket.socket, sinks: Sequence[Sink], now_ns: Callable[[], int]) -> None:
    """Returns when every writer of `end` is gone and all that they wrote is kept."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    while True:
        if poll.poll(_timeout_ms(sinks, now_ns())):
            message = end.recv(MAX_MESSAGE)
            if not message:
                break
            samples = decode(message)
            for sink in sinks:
                sink.take(samples, now_ns())
        for sink in sinks:
            wake_ns = sink.wake_at_ns()
            if wake_ns is not None and wake_ns <= now_ns():
                sink.turn(now_ns())
    for sink in sinks:
        sink.close(now_ns())


def _timeout_ms(sinks: Sequence[Sink], now_ns: int) -> float | None:
    """Until the first sink wants its turn; None: for as long as it takes."""
    wakes = [wake_ns for sink in sinks if (wake_ns := sink.wake_at_ns()) is not None]
    return max(0.0, (min(wakes) - now_ns) / 1e6 + 1) if wakes else None
