"""What the host takes beside the engines, as one replication of a simulation has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.profile import HostCosts

_POOL: Final = 512


class Host:
    """Costs of the loop in ns, the same for each request; latencies of waking and handing over, drawn anew each time.

    Args: speed: factor of all of them.  resample: means are those of a sample drawn again.
    """

    __slots__ = (
        "_busy_factors",
        "_hand_over",
        "_hand_overs",
        "_interference",
        "_rng",
        "_short_wakes",
        "_wakes",
        "answer_ns",
        "batch_ns",
        "hand_back_ns",
        "idle_after_ns",
        "idle_factor",
        "read_ns",
        "short_wakes",
        "travel_ns",
        "wake_core_ns",
        "wakes",
    )

    def __init__(
        self, costs: HostCosts, rng: np.random.Generator, *, speed: float = 1.0, resample: bool = False
    ) -> None:
        def mean(values: Sequence[int]) -> float:
            return speed * _mean(values, rng if resample else None)

        request_ns = mean(costs.per_request_ns)
        self.answer_ns = round(costs.answer_share * request_ns)
        self.read_ns = round(request_ns) - self.answer_ns
        self.batch_ns = round(mean(costs.per_batch_ns))
        self.hand_back_ns = round(mean(costs.hand_back_ns))
        self.travel_ns = costs.travel_ns
        self.wake_core_ns = costs.wake_core_ns
        self._busy_factors = costs.busy_factors or {1: 1.0}
        self.idle_factor = costs.idle_factor
        self.idle_after_ns = costs.idle_after_ns
        self._interference = {1: 1.0, **costs.interference}
        self._rng = rng
        self._wakes = np.maximum(np.array(costs.per_wake_ns or [0], np.int64) - costs.travel_ns, 0)
        short = costs.short_wake_ns or costs.per_wake_ns or [0]
        self._short_wakes = np.maximum(np.array(short, np.int64) - costs.travel_ns, 0)
        self._hand_overs = np.array(costs.hand_over_ns or [0], np.int64)
        self.wakes: list[int] = []  # drawn and not used yet
        self.short_wakes: list[int] = []
        self._hand_over: list[int] = []

    def wake_ns(self, pause_ns: int) -> int:
        """From an arrival at a server that was idle for so long until its loop runs."""
        if pause_ns > self.idle_after_ns:
            if not self.wakes:
                self.wakes = self._drawn(self._wakes)
            return self.wakes.pop()
        if not self.short_wakes:
            self.short_wakes = self._drawn(self._short_wakes)
        return self.short_wakes.pop()

    def busy_factors(self, max_rows: int) -> list[float]:
        """Factors of the times of 0..max_rows rows: in straight lines between the measured ones, level beyond them."""
        known = sorted(self._busy_factors)
        values = [self._busy_factors[rows] for rows in known]
        factors: list[float] = np.interp(range(max_rows + 1), known, values).tolist()
        return factors

    def hand_over_ns(self) -> int:
        """From the loop to an engine thread that begins."""
        if not self._hand_over:
            self._hand_over = self._drawn(self._hand_overs)
        return self._hand_over.pop()

    def interference(self, num_busy: int) -> float:
        """Factor of the times of an engine that is one of so many at work."""
        known = self._interference
        return known[num_busy] if num_busy in known else known[max(known)]

    def _drawn(self, values: NDArray[np.int64]) -> list[int]:
        drawn: list[int] = values[self._rng.integers(len(values), size=_POOL)].tolist()
        return drawn


def _mean(values: Sequence[int], rng: np.random.Generator | None) -> float:
    """Without times of more than twice the median: those are hiccups, which have a record of their own."""
    if not values:
        return 0.0
    found = np.asarray(values, np.float64)
    if rng is not None:
        found = found[rng.integers(len(found), size=len(found))]
    return float(found[found <= 2 * np.median(found)].mean())
