"""Time, injected. Integer nanoseconds everywhere, so that equality is exact."""

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time. Never wall-clock: records take their date at the edge."""

    def now_ns(self) -> int: ...


class MonotonicClock:
    """The host's monotonic clock; comparable between processes of one host (CLOCK_MONOTONIC)."""

    now_ns = staticmethod(time.monotonic_ns)


class FakeClock:
    """A clock that moves only when it is told to."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance_ns(self, delta_ns: int) -> None:
        if delta_ns < 0:
            raise ValueError(f"time cannot go back by {-delta_ns} ns")
        self._now_ns += delta_ns
