"""Decisions about a store that other servers share: when it is asked, when it is given up, and when it is tried again."""

from typing import Final

_FIRST_WAIT_NS: Final = 500_000_000
_LONGEST_WAIT_NS: Final = 30_000_000_000
# One slow answer is the network's; this many in a row are the store's.
_MOST_FAILURES: Final = 3


class StoreBreaker:
    """Open: nobody asks the store, until a probe finds it well. Probes come after waits that double.

    Requests are never probes: whoever waits for an answer does not pay for finding out.
    """

    __slots__ = ("_num_failures", "_wait_ns", "is_open", "probe_at_ns")

    def __init__(self) -> None:
        self.is_open = False
        self.probe_at_ns = 0  # while it is open
        self._num_failures = 0  # in a row
        self._wait_ns = _FIRST_WAIT_NS

    def succeeded(self) -> bool:
        """True: it was open, and is not any more."""
        was_open, self.is_open = self.is_open, False
        self._num_failures = 0
        self._wait_ns = _FIRST_WAIT_NS
        return was_open

    def failed(self, now_ns: int, *, is_certain: bool) -> bool:
        """Args: is_certain: it is not there, rather than slow. True: it was closed, and is open now."""
        if self.is_open:
            return False
        self._num_failures += 1
        if not is_certain and self._num_failures < _MOST_FAILURES:
            return False
        self.is_open = True
        self.probe_at_ns = now_ns + self._wait_ns
        return True

    def probe_failed(self, now_ns: int) -> None:
        self._wait_ns = min(2 * self._wait_ns, _LONGEST_WAIT_NS)
        self.probe_at_ns = now_ns + self._wait_ns
