"""The best schedule found when every arrival is known: what the relaxed bound cannot tell, a search over batches can.

A beam search over sequences of batches on one core. A state is (the instant the core is free, for each distinct SLO
the first request not yet passed over, requests answered). Within one SLO deadlines come in order of arrival, so a
batch takes a run of neighbours and what it skips is lost. The result is a schedule that exists, hence a lower bound on
the optimum; a wider beam finds at least nearly as much (`tests/simulate/test_bound.py` compares with brute force).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.workload import Shape, Workload

Ints = NDArray[np.int64]


# Equal states have equal sums; others share one with a chance of 2**-60 or so, and then one of them is lost.
_MIX: Final = np.array([1, 0x9E3779B97F4A7C15 >> 1, 0xC2B2AE3D27D4EB4F >> 1, 0x165667B19E3779F9], np.int64)


@dataclass(frozen=True, slots=True)
class Search:
    """Width of the search. `num_bins`: instants of a horizon of the longest SLO; `beam`: states kept at each."""

    beam: int = 48
    num_bins: int = 100
    num_sizes: int = 48  # batch sizes tried, evenly spaced and as many growing by a factor
    waits: tuple[float, ...] = (
        0.0,
        0.02,
        0.05,
        0.1,
        0.2,
    )  # starts later than now, in shares of the shortest SLO
    ahead: int = 1  # starts at so many of the next arrivals


def best_found(work: Workload, shape: Shape, max_rows: int, search: Search = Search()) -> int:
    """Requests answered in time by the best schedule found. `work`: one stream, one row a request."""
    budgets = work.deadline_ns - work.arrival_ns
    groups = [np.flatnonzero(budgets == budget) for budget in np.unique(budgets)]
    if len(groups) > 2:
        raise ValueError(f"{len(groups)} distinct SLOs; the search knows at most 2")
    if len(groups) < 2:
        groups = [*groups, np.zeros(0, np.int64)]
    beam = _Beam(
        [work.arrival_ns[g] for g in groups], [work.deadline_ns[g] for g in groups], shape, max_rows, search
    )
    return beam.run(int(budgets.min()), int(budgets.max()))


class _Beam:
    def __init__(
        self, arrivals: list[Ints], deadlines: list[Ints], shape: Shape, max_rows: int, search: Search
    ) -> None:
        self.arrivals, self.deadlines, self.shape, self.search = arrivals, deadlines, shape, search
        sizes = np.unique(np.round(np.geomspace(1, max_rows, search.num_sizes)).astype(np.int64))
        even = np.unique(np.linspace(1, max_rows, search.num_sizes).astype(np.int64))
        self.sizes = np.union1d(sizes, even)
        self.all_arrivals = np.sort(np.concatenate(arrivals))

    def run(self, shortest_ns: int, longest_ns: int) -> int:
        width = max(1, longest_ns // self.search.num_bins)
        self.waits = np.array([int(share * shortest_ns) for share in self.search.waits], np.int64)
        self.outlook_ns = shortest_ns // 2
        bins: dict[int, list[Ints]] = {
            0: [np.zeros((4, 1), np.int64)]
        }  # rows: free, next 0, next 1, answered
        best = 0
        while bins:
            first = min(bins)
            states = self._kept(np.concatenate(bins.pop(first), axis=1))
            best = max(best, int(states[3].max()))
            children = self._children(states)
            # By bin; a batch shorter than a bin moves on to the next one all the same, so the search ends.
            place = np.maximum(children[0] // width, first + 1)
            order = np.argsort(place, kind="stable")
            numbers, begins = np.unique(place[order], return_index=True)
            for number, part in zip(numbers.tolist(), np.split(order, begins[1:]), strict=False):
                bins.setdefault(number, []).append(children[:, part])
        return best

    def _kept(self, states: Ints) -> Ints:
        """The most promising states: answered, plus what waits and could still be answered, at two weights."""
        _, first = np.unique(_MIX @ states, return_index=True)
        states = states[:, first]
        if states.shape[1] <= self.search.beam:
            return states
        waiting = np.zeros(states.shape[1], np.int64)
        for group in (0, 1):
            arrived = np.searchsorted(self.arrivals[group], states[0], side="right")
            alive = np.searchsorted(self.deadlines[group], states[0] + self.outlook_ns)
            waiting += np.maximum(0, arrived - np.maximum(states[1 + group], alive))
        half = self.search.beam // 2
        # A later instant within the bin is worth a little less; it breaks ties only.
        late = (states[0] - states[0].min()) / (1 + np.ptp(states[0]))
        keep = [
            np.argsort(late - states[3] - weight * waiting, kind="stable")[:half] for weight in (0.95, 0.4)
        ]
        return states[:, np.unique(np.concatenate(keep))]

    def _children(self, states: Ints) -> Ints:
        """All states one batch later; arrays are (states, waits, sizes) flattened to the feasible ones."""
        after = np.searchsorted(self.all_arrivals, states[0], side="right")
        starts = states[0][:, None] + self.waits[None, :]
        # The next arrivals are starts, too: nothing may wait now, or one more may be worth waiting for.
        ahead = np.minimum(after[:, None] + np.arange(self.search.ahead), len(self.all_arrivals) - 1)
        starts = np.concatenate([starts, np.maximum(states[0][:, None], self.all_arrivals[ahead])], axis=1)
        start = starts[:, :, None]
        end = start + self.shape.fixed_ns + self.sizes * self.shape.per_row_ns
        place, room = [], []
        for group in (0, 1):
            alive = np.maximum(np.searchsorted(self.deadlines[group], end), states[1 + group][:, None, None])
            arrived = np.searchsorted(self.arrivals[group], start, side="right")
            place.append(alive)
            room.append(np.maximum(0, arrived - alive))
        parent, wait, size = np.nonzero(room[0] + room[1] >= self.sizes)
        rows = self.sizes[size]
        ends = end[parent, wait, size]
        rooms = [room[group][parent, wait, size] for group in (0, 1)]
        places = [place[group][parent, wait, size] for group in (0, 1)]
        most = np.minimum(rows, rooms[0])
        least = np.maximum(0, rows - rooms[1])
        result = []
        for taken in (most, least, (most + least) // 2) if len(self.arrivals[1]) else (most,):
            # A group of which nothing is taken keeps its place: the batch passed over nobody.
            first = np.where(taken > 0, places[0] + taken, states[1][parent])
            second = np.where(rows > taken, places[1] + rows - taken, states[2][parent])
            result.append(np.stack([ends, first, second, states[3][parent] + rows]))
        return np.concatenate(result, axis=1)
