"""What the host takes beside the engines, as one replication of a simulation has it at one moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.profile import HostCosts

_POOL: Final = 512
_NUM_QUANTILES: Final = 1_000
_WARM: Final = 0.005  # of the cooling time: so short a pause costs nothing


class Host:
    """Costs of the loop in ns, the same for each request at one pace of the machine; latencies of waking and handing over,
    drawn anew each time.

    Args: resample: means are those of a sample drawn again.
    """

    __slots__ = (
        "_answer_share",
        "_batch_ns",
        "_busy_factors",
        "_cold_factor",
        "_cooling_ns",
        "_hand_back_ns",
        "_hand_over",
        "_hand_overs",
        "_interference",
        "_request_ns",
        "_rng",
        "_wakes",
        "_warm_ns",
        "answer_ns",
        "batch_ns",
        "factor",
        "hand_back_ns",
        "read_ns",
        "travel_ns",
        "wake_core_ns",
        "wakes",
    )

    def __init__(self, costs: HostCosts, rng: np.random.Generator, *, resample: bool = False) -> None:
        def mean(values: Sequence[int]) -> float:
            return _mean(values, rng if resample else None)

        self._request_ns, self._answer_share = mean(costs.per_request_ns), costs.answer_share
        self._batch_ns, self._hand_back_ns = mean(costs.per_batch_ns), mean(costs.hand_back_ns)
        self.keep_pace(1.0)
        self.travel_ns = costs.travel_ns
        self.wake_core_ns = costs.wake_core_ns
        self._busy_factors = costs.busy_factors or {1: 1.0}
        self._cooling_ns, self._warm_ns = costs.cooling_ns, costs.cooling_ns * _WARM
        self._cold_factor = max(0.0, costs.idle_factor - self._busy_factors[min(self._busy_factors)])
        self._interference = {1: 1.0, **costs.interference}
        self._rng = rng
        long = costs.per_wake_ns or [0]
        # The same quantile of both: what came when everything was warm, and when everything was cold.
        self._wakes = np.stack([_quantiles(costs.short_wake_ns or long), _quantiles(long)], axis=1)
        self._wakes = np.maximum(self._wakes - costs.travel_ns, 0)
        self._hand_overs = np.array(costs.hand_over_ns or [0], np.int64)
        self.wakes: list[list[float]] = []  # drawn and not used yet
        self._hand_over: list[int] = []

    def keep_pace(self, factor: float) -> None:
        """All that the loop does takes so many times as long as usual."""
        self.factor = factor
        request_ns = factor * self._request_ns
        self.answer_ns = round(self._answer_share * request_ns)
        self.read_ns = round(request_ns) - self.answer_ns
        self.batch_ns = round(factor * self._batch_ns)
        self.hand_back_ns = round(factor * self._hand_back_ns)

    def cold(self, pause_ns: int) -> float:
        """The share of what was warm that is cold after so long a pause."""
        return -math.expm1(-pause_ns / self._cooling_ns) if pause_ns > self._warm_ns else 0.0

    def wake_ns(self, pause_ns: int) -> int:
        """From an arrival at a server that was idle for so long until its loop runs."""
        if not self.wakes:
            self.wakes = self._wakes[self._rng.integers(len(self._wakes), size=_POOL)].tolist()
        short, long = self.wakes.pop()
        return int(short + (long - short) * self.cold(pause_ns))

    def cold_factor(self, pause_ns: int) -> float:
        """What an engine that did nothing for so long takes on top, in times of a batch of one row."""
        return self._cold_factor * self.cold(pause_ns)

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

    def next_hand_over_ns(self) -> int:
        """What `hand_over_ns` will give, without taking it."""
        if not self._hand_over:
            self._hand_over = self._drawn(self._hand_overs)
        return self._hand_over[-1]

    def interference(self, num_busy: int) -> float:
        """Factor of the times of an engine that is one of so many at work."""
        known = self._interference
        return known[num_busy] if num_busy in known else known[max(known)]

    def _drawn(self, values: NDArray[np.int64]) -> list[int]:
        drawn: list[int] = values[self._rng.integers(len(values), size=_POOL)].tolist()
        return drawn


def _quantiles(values: Sequence[int]) -> NDArray[np.float64]:
    """Those of a fixed number of equal parts."""
    return np.quantile(
        values, (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES, method="inverted_cdf"
    ).astype(np.float64)


def _mean(values: Sequence[int], rng: np.random.Generator | None) -> float:
    """Without times of more than twice the median: those are hiccups, which have a record of their own."""
    if not values:
        return 0.0
    found = np.asarray(values, np.float64)
    if rng is not None:
        found = found[rng.integers(len(found), size=len(found))]
    return float(found[found <= 2 * np.median(found)].mean())
