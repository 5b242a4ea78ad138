"""A circuit breaker: when an upstream that fails is left alone, and how it is tried again.

Decisions only. Closed: it gets requests. Open: it gets none, for a time that doubles each time it is found failing again.
Half-open: single requests, one after the other, show whether it is back.
"""

from collections import deque
from typing import Literal

from trivet.spec.failures import BreakerRule

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Of one upstream.

    Invariant: while half-open at most one try is on its way (`probing`).
    """

    def __init__(self, rule: BreakerRule) -> None:
        self._rule = rule
        self.num_opened = 0
        self.probing = False
        self._open_until_ns: int | None = None  # None: closed
        self._open_ns = rule.open_ns
        self._num_good_probes = 0
        self._in_a_row = 0
        self._latest: deque[bool] = deque(maxlen=rule.window)  # of each try: whether it failed
        self._num_failed = 0  # of the latest
        self._num_good = 0  # since it closed

    def state(self, now_ns: int) -> State:
        if self._open_until_ns is None:
            return "closed"
        return "open" if now_ns < self._open_until_ns else "half-open"

    def allows(self, now_ns: int) -> bool:
        """Whether a try may be sent now."""
        if self._open_until_ns is None:
            return True
        return now_ns >= self._open_until_ns and not self.probing

    def share_failed(self) -> float | None:
        """Of the latest tries; None before there are as many as its rule looks at."""
        return self._num_failed / self._rule.window if len(self._latest) == self._rule.window else None

    @property
    def opens_again_ns(self) -> int:
        """The instant of its next probe; 0 where it is closed."""
        return self._open_until_ns or 0

    def sent(self) -> bool:
        """A try that it allowed is on its way. True: as a probe."""
        if self._open_until_ns is None:
            return False
        self.probing = True
        return True

    def dropped(self, *, probe: bool) -> None:
        """A try was broken off by us: nothing is known of it."""
        if probe:
            self.probing = False

    def succeeded(self, *, probe: bool) -> None:
        if probe:
            self.probing = False
            self._num_good_probes += 1
            if self._num_good_probes >= self._rule.probes:
                self._close()
            return
        if self._open_until_ns is not None:
            return  # sent before it opened: old news
        self._in_a_row = 0
        self._note(False)
        self._num_good += 1
        if (
            self._num_good >= self._rule.window
        ):  # well for so long: the next time begins with the shortest pause
            self._open_ns = self._rule.open_ns

    def failed(self, now_ns: int, *, probe: bool) -> None:
        if probe:
            self.probing = False
            self._open(now_ns)
            return
        if self._open_until_ns is not None:
            return
        self._in_a_row += 1
        self._note(True)
        rule = self._rule
        is_full = len(self._latest) == rule.window
        if self._in_a_row >= rule.failures or (is_full and self._num_failed >= rule.rate * rule.window):
            self.open(now_ns)

    def open(self, now_ns: int) -> None:
        """Leave it alone from now on, where that is not so already."""
        if self._open_until_ns is None:
            self._open(now_ns)

    def _open(self, now_ns: int) -> None:
        self.num_opened += 1
        self._open_until_ns = now_ns + self._open_ns
        self._open_ns = min(2 * self._open_ns, self._rule.max_open_ns)
        self._num_good_probes = 0

    def _close(self) -> None:
        self._open_until_ns = None
        self._in_a_row = self._num_failed = self._num_good = 0
        self._latest.clear()

    def _note(self, failed: bool) -> None:
        if len(self._latest) == self._latest.maxlen:
            self._num_failed -= self._latest[0]
        self._latest.append(failed)
        self._num_failed += failed
