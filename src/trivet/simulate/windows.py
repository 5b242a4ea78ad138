"""What one replica of many gets of a trace that is scaled: drawn directly, without drawing what the others get.

Requests are spread over replicas at random, so each is this replica's with probability 1 / N, independently of all
others. The scaled trace is the one of `load/scaling.py`: copies of the recorded one, moved over all of it (users) or
within each 10 s (amplitude). Which copies have how many requests in a window is counted, and the replica's are drawn
from them without replacement: the law is that of scaling all and splitting it, at the cost of one replica's share. Only
a part of a copy is another one: its requests are drawn at random, also under amplitude.

A rate curve is a Poisson process, and so is a random split of it. Under users, copies of a curve move by whole days (by
whole weeks where it has two), so that each keeps its hours; what lies behind the last whole one is left out. A
curve of less than two days has nothing to move: there more users are more of the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.load.arrivals import NS, Curve, Instants, Steps
from trivet.load.scaling import WINDOW_NS

Floats = NDArray[np.float64]
How = Literal["users", "amplitude"]

DAY_NS = 86_400 * NS
CURVE_STEPS = 60  # a window of a curve is drawn in so many steps of constant rate


class Demand(Protocol):
    """A trace at a scale. Windows are [begin, begin + length) within `duration_ns`.

    noise: variance over mean that the counts do not show, because they are expectations: 1 for a curve, else 0.
    """

    @property
    def duration_ns(self) -> int: ...
    @property
    def noise(self) -> float: ...

    def counts(self, bin_ns: int) -> Floats:
        """Expected requests in each bin of the trace, all replicas together; what is left at the end is no bin."""
        ...

    def replica(self, begin_ns: int, length_ns: int, replicas: int, rng: np.random.Generator) -> Instants:
        """What one of the replicas gets in a window; int64, ascending, counted from its begin."""
        ...


def demand(trace: Instants | Curve, factor: float, how: How, rng: np.random.Generator) -> Demand:
    """A trace (shape (n,), ascending from 0) or rate curve at `factor` times its load; `rng` moves the copies.

    Raises: UserError: a factor that is not positive, or a trace without requests.
    """
    if not 0 < factor < np.inf:
        raise UserError(f"a load is scaled by a factor above 0, got {factor:g}")
    if isinstance(trace, Curve):
        return _curve(trace, factor, how, rng)
    if len(trace) < 2:
        raise UserError(
            f"the trace holds {len(trace)} requests: there is nothing to plan for; at least 2 are needed"
        )
    duration_ns = int(trace[-1]) + 1
    if how == "amplitude":
        return _Amplitude(trace, factor, duration_ns)
    num_copies = int(factor)
    shifts = rng.integers(duration_ns, size=num_copies + 1)
    shifts[0] = 0
    return _Users(trace, shifts[:num_copies], factor - num_copies, int(shifts[num_copies]), duration_ns)


@dataclass(frozen=True, slots=True)
class _Users:
    """`shifts`: of each whole copy.  part, part_shift: share and shift of the last one."""

    trace: Instants
    shifts: Instants
    part: float
    part_shift: int
    duration_ns: int
    noise: float = 0.0

    def counts(self, bin_ns: int) -> Floats:
        """By the copies' bins and their shifts' bins: exact to within a bin."""
        num_bins = max(1, self.duration_ns // bin_ns)
        one = _histogram(self.trace, bin_ns, num_bins)
        moved = _histogram(self.shifts, bin_ns, num_bins)
        moved[min(self.part_shift // bin_ns, num_bins - 1)] += self.part
        summed: Floats = np.fft.irfft(np.fft.rfft(one) * np.fft.rfft(moved), num_bins)
        return np.maximum(summed, 0.0)

    def replica(self, begin_ns: int, length_ns: int, replicas: int, rng: np.random.Generator) -> Instants:
        drawn = self._whole(begin_ns, length_ns, replicas, rng)
        if self.part:
            first, num = self._places(np.array([self.part_shift]), begin_ns, length_ns)
            places = first[0] + np.flatnonzero(rng.random(int(num[0])) < self.part / replicas)
            drawn = np.concatenate([drawn, self._instants(places, self.part_shift, begin_ns)])
        drawn.sort()
        return drawn

    def _whole(self, begin_ns: int, length_ns: int, replicas: int, rng: np.random.Generator) -> Instants:
        first, num = self._places(self.shifts, begin_ns, length_ns)
        ends = np.cumsum(num)
        total = int(ends[-1]) if len(ends) else 0
        chosen = drawn_places(total, replicas, rng)
        copy = np.searchsorted(ends, chosen, side="right")
        places = first[copy] + chosen - (ends[copy] - num[copy])
        return self._instants(places, self.shifts[copy], begin_ns)

    def _places(self, shifts: Instants, begin_ns: int, length_ns: int) -> tuple[Instants, Instants]:
        """For each copy: where the window begins in the trace repeated twice, and how many of its requests it holds."""
        begins = (begin_ns - shifts) % self.duration_ns
        first = np.searchsorted(self.trace, begins)
        ends = begins + length_ns
        over = ends > self.duration_ns
        last = np.searchsorted(self.trace, np.where(over, ends - self.duration_ns, ends))
        return first, np.where(over, len(self.trace) + last, last) - first

    def _instants(self, places: Instants, shift: Instants | int, begin_ns: int) -> Instants:
        moved: Instants = (self.trace[places % len(self.trace)] + shift - begin_ns) % self.duration_ns
        return moved


@dataclass(frozen=True, slots=True)
class _Amplitude:
    trace: Instants
    factor: float
    duration_ns: int
    noise: float = 0.0

    def counts(self, bin_ns: int) -> Floats:
        return self.factor * _histogram(self.trace, bin_ns, max(1, self.duration_ns // bin_ns))

    def replica(self, begin_ns: int, length_ns: int, replicas: int, rng: np.random.Generator) -> Instants:
        end_ns = begin_ns + length_ns
        grid = range(begin_ns // WINDOW_NS * WINDOW_NS, end_ns, WINDOW_NS)
        drawn = np.concatenate([self._grid(at_ns, replicas, rng) for at_ns in grid])
        kept: Instants = drawn[(drawn >= begin_ns) & (drawn < end_ns)] - begin_ns
        kept.sort()
        return kept

    def _grid(self, at_ns: int, replicas: int, rng: np.random.Generator) -> Instants:
        """One window of the grid: each copy keeps its gaps and moves within it."""
        length_ns = min(WINDOW_NS, self.duration_ns - at_ns)
        begin, end = np.searchsorted(self.trace, [at_ns, at_ns + length_ns])
        offsets = self.trace[begin:end] - at_ns
        num_copies = int(self.factor)
        chosen = drawn_places(num_copies * len(offsets), replicas, rng)
        copies, copy = np.unique(chosen // max(1, len(offsets)), return_inverse=True)
        shifts = np.where(copies == 0, 0, rng.integers(length_ns, size=len(copies)))
        whole = (offsets[chosen % max(1, len(offsets))] + shifts[copy]) % length_ns
        part = offsets[rng.random(len(offsets)) < (self.factor - num_copies) / replicas]
        moved = (part + rng.integers(length_ns)) % length_ns if num_copies else part
        return at_ns + np.concatenate([whole, moved])


@dataclass(frozen=True, slots=True)
class _Rates:
    """A Poisson process whose expected count up to each instant of `at_ns` is `expected`, in straight lines."""

    at_ns: Instants
    expected: Floats
    duration_ns: int
    noise: float = 1.0

    def counts(self, bin_ns: int) -> Floats:
        edges = np.arange(self.duration_ns // bin_ns + 1) * bin_ns
        if len(edges) < 2:
            edges = np.array([0, self.duration_ns])
        return np.diff(np.interp(edges, self.at_ns, self.expected))

    def replica(self, begin_ns: int, length_ns: int, replicas: int, rng: np.random.Generator) -> Instants:
        edges = np.unique(np.linspace(0, length_ns, CURVE_STEPS + 1).astype(np.int64))
        expected = np.diff(np.interp(begin_ns + edges, self.at_ns, self.expected)) / replicas
        lengths = np.diff(edges)
        rates = np.maximum(expected, 0.0) / lengths * NS
        steps = Steps(rates_rps=tuple(rates.tolist()), durations_ns=tuple(lengths.tolist()))
        return steps.instants_ns(rng)


def has_users(trace: Instants | Curve) -> bool:
    """Whether copies of it can be moved; else more users are the same as more of each."""
    return not isinstance(trace, Curve) or trace.duration_ns // _period_ns(trace) >= 2


def drawn_places(total: int, replicas: int, rng: np.random.Generator) -> Instants:
    """Which of `total` requests are one replica's: each with probability 1 / replicas; in no order."""
    if replicas == 1:
        return np.arange(total)
    num = int(rng.binomial(total, 1 / replicas)) if total else 0
    return rng.choice(total, num, replace=False, shuffle=False) if num else np.zeros(0, np.int64)


def _curve(curve: Curve, factor: float, how: How, rng: np.random.Generator) -> _Rates:
    at, rates = np.array(curve.at_ns, np.int64), np.array(curve.rates_rps)
    steps = np.diff(at) * (rates[1:] + rates[:-1]) / 2 / NS
    expected = np.concatenate([[0.0], np.cumsum(steps)])
    if not expected[-1] > 0:
        raise UserError("the rate curve has no requests: there is nothing to plan for")
    period_ns = _period_ns(curve)
    num_periods = curve.duration_ns // period_ns
    if how == "amplitude" or num_periods < 2 or factor <= 1:
        return _Rates(at, factor * expected, curve.duration_ns)
    # How many copies are moved by each number of periods; the first is not.
    moved = rng.multinomial(int(factor) - 1, [1 / num_periods] * num_periods).astype(np.float64)
    moved[0] += 1
    moved[int(rng.integers(num_periods))] += factor - int(factor)
    whole_ns = num_periods * period_ns
    edges = np.unique(np.concatenate([at % period_ns, [0, period_ns]]))
    edges = np.unique((np.arange(num_periods)[:, np.newaxis] * period_ns + edges).ravel())
    return _Rates(edges, _summed(edges, at, expected, moved, period_ns, whole_ns), whole_ns)


def _period_ns(curve: Curve) -> int:
    return 7 * DAY_NS if curve.duration_ns >= 14 * DAY_NS else DAY_NS


def _summed(
    edges: Instants, at: Instants, expected: Floats, moved: Floats, period_ns: int, whole_ns: int
) -> Floats:
    """Expected counts up to each edge of the copies together, each moved around the whole periods."""
    whole = float(np.interp(whole_ns, at, expected))
    summed = np.zeros(len(edges))
    for periods, weight in enumerate(moved.tolist()):
        back = edges - periods * period_ns
        wrapped = np.interp(back % whole_ns, at, expected) + (back // whole_ns) * whole
        summed += weight * (wrapped - wrapped[0])
    return summed


def _histogram(instants: Instants, bin_ns: int, num_bins: int) -> Floats:
    """Counts by bin; the rest of a bin at the end belongs to the last one."""
    places = np.minimum(instants // bin_ns, num_bins - 1)
    return np.bincount(places, minlength=num_bins).astype(np.float64)
