"""The end of a worker, step by step: accepted requests are answered, then nothing is left. Time comes from outside."""

from trivet.errors import UnavailableError
from trivet.serve.http.router import Router

# How long idle keep-alive connections stay open while draining, so that a request that is just being sent is still
# answered (with `Connection: close`) instead of reset.
_LINGER_NS = 500_000_000
# What the last answers have to reach their clients, after which the rest is cut.
_LAST_WORDS_NS = 1_000_000_000


class Draining:
    """Begun when the worker is told to stop.

    Args: timeout_ns: for requests that are accepted; those that are not answered by then get 503.
    """

    def __init__(self, router: Router, now_ns: int, timeout_ns: int) -> None:
        self._router = router
        self._close_idle_ns = now_ns + min(_LINGER_NS, timeout_ns)
        self._timeout_ns = timeout_ns
        self._abandon_ns = now_ns + timeout_ns
        self._has_closed_idle = False
        self._has_abandoned = False
        router.draining = True

    def step(self, now_ns: int) -> bool:
        """Do what is due. True: nothing is left to wait for."""
        connections = list(self._router.connections)
        if not self._has_closed_idle and now_ns >= self._close_idle_ns:
            self._has_closed_idle = True
            for connection in connections:
                connection.close_when_idle()
        if not self._has_abandoned and now_ns >= self._abandon_ns:
            self._has_abandoned = True
            error = UnavailableError(
                f"the server stops: this request was not answered within {self._timeout_ns / 1e9:g} s (drain_timeout)"
            )
            for connection in connections:
                connection.abandon(error)
        if now_ns >= self._abandon_ns + _LAST_WORDS_NS:
            for connection in connections:
                connection.abort()
            return True
        return self._has_closed_idle and not self._router.connections
