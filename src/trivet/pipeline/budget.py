"""How much more than the requests themselves may be sent: retries and hedges, each as a share of the requests."""

# No more is saved up than so many requests give: after a quiet hour an outage still meets no wave of retries.
_MEMORY = 100


class Budget:
    """Invariant: num_spent <= share * num_requests, at all times.

    Args: share: of the requests, in [0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._most = max(1.0, share * _MEMORY)
        self._left = 0.0
        self.num_requests = 0
        self.num_spent = 0

    def earn(self) -> None:
        """One request more."""
        self.num_requests += 1
        self._left = min(self._left + self._share, self._most)

    def spend(self) -> bool:
        """Take one try out of the budget; False: it is used up."""
        # The invariant is checked in whole numbers: sums of shares are not exact.
        if self._left < 1 - 1e-9 or self.num_spent + 1 > self._share * self.num_requests:
            return False
        self._left = max(0.0, self._left - 1)
        self.num_spent += 1
        return True
