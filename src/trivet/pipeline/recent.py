"""Times of recent answers, and their percentiles."""

from collections import deque

_SIZE = 256
_FEWEST = 20  # of which a percentile is believed
_RENEW_EVERY = 8  # answers: sorting for each one would cost more than it tells


class RecentTimes:
    """Args: percentile: in (0, 100)."""

    def __init__(self, percentile: float) -> None:
        self._share = percentile / 100
        self._times: deque[int] = deque(maxlen=_SIZE)
        self._num_new = 0
        self._found_ns: int | None = None

    def add(self, time_ns: int) -> None:
        self._times.append(time_ns)
        self._num_new += 1
        if len(self._times) >= _FEWEST and (self._found_ns is None or self._num_new >= _RENEW_EVERY):
            self._num_new = 0
            # Nearest rank; integers, so that no share of 0.95 becomes 0.9500000001.
            rank = -(-round(self._share * 10_000) * len(self._times) // 10_000)
            self._found_ns = sorted(self._times)[rank - 1]

    def value_ns(self) -> int | None:
        """The percentile of the latest 256 times, renewed with every eighth; None before there are 20."""
        return self._found_ns

    def clear(self) -> None:
        self._times.clear()
        self._found_ns = None
        self._num_new = 0

    def __len__(self) -> int:
        return len(self._times)
