"""What is offered in virtual time: arrivals with their deadlines, and how long batches really take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Instants = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests in order of arrival; all arrays have shape (n,).

    `stream`: which of the driver's queues a request joins; `rows`: client rows.
    """

    arrival_ns: Instants
    deadline_ns: Instants
    stream: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.arrival_ns)


def workload(arrival_ns: Instants, budget_ns: Instants | int, stream: int = 0) -> Workload:
    """One-row requests of one stream, each due `budget_ns` after it arrives."""
    num = len(arrival_ns)
    return Workload(
        arrival_ns, arrival_ns + budget_ns, np.full(num, stream, np.int64), np.ones(num, np.int64)
    )


def merged(*parts: Workload) -> Workload:
    """Several workloads as one, in order of arrival (ties: in the order given)."""
    arrival_ns = np.concatenate([part.arrival_ns for part in parts])
    order = np.argsort(arrival_ns, kind="stable")
    return Workload(
        arrival_ns[order],
        np.concatenate([part.deadline_ns for part in parts])[order],
        np.concatenate([part.stream for part in parts])[order],
        np.concatenate([part.rows for part in parts])[order],
    )


@dataclass(frozen=True, slots=True)
class Shape:
    """Nominal service time s(b) = fixed + b * per_row, in ns."""

    fixed_ns: int
    per_row_ns: int

    def ns(self, rows: int) -> int:
        return self.fixed_ns + rows * self.per_row_ns

    def max_rows(self, budget_ns: int) -> int:
        """The largest batch that takes at most `budget_ns`; at least 1."""
        return max(1, (budget_ns - self.fixed_ns) // self.per_row_ns)

    def best_rows_per_ns(self, budget_ns: int) -> float:
        """C: the best rate over batches that take at most `budget_ns` (rate grows with the batch)."""
        rows = self.max_rows(budget_ns)
        return rows / self.ns(rows)


class Machine:
    """Realised service times: nominal, times lognormal noise of mean 1, hiccups, and a slowdown from some instant on.

    One factor is drawn a batch, in the order of starting, so a machine is used for one run.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        noise_cv: float = 0.0,
        hiccup_share: float = 0.0,
        hiccup_factor: float = 5.0,
        slow_from_ns: int | None = None,
        slow_factor: float = 1.3,
    ) -> None:
        self._rng = rng
        self._sigma = float(np.sqrt(np.log1p(noise_cv**2)))
        self._hiccup_share = hiccup_share
        self._hiccup_factor = hiccup_factor
        self.slow_from_ns = slow_from_ns
        self.slow_factor = slow_factor
        self._drawn: list[float] = []

    def slowness(self, now_ns: int) -> float:
        """The factor that holds for any work started at `now_ns`, without noise and hiccups."""
        slow = self.slow_from_ns is not None and now_ns >= self.slow_from_ns
        return self.slow_factor if slow else 1.0

    def factor(self, start_ns: int) -> float:
        """Realised over nominal time of the next batch."""
        if not self._drawn:
            self._draw()
        return self._drawn.pop() * self.slowness(start_ns)

    def _draw(self) -> None:
        num = 512
        noise = np.exp(self._rng.normal(-(self._sigma**2) / 2, self._sigma, num))
        hiccup = self._rng.random(num) < self._hiccup_share
        self._drawn = np.where(hiccup, noise * self._hiccup_factor, noise).tolist()
