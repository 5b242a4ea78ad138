"""Since when is a figure's history another? Suspects, which an interleaved comparison has to confirm.

Four detectors vote: E-divisive on ranks and on logarithms, least squares with a penalty (what PELT computes), and
Pettitt's rank test. Each is fooled by something else (outliers, slow drift, short tails of a series), so that two that agree
within two runs are worth a look. A history is no experiment: what drifts, drifts with the machine, and only
`PairedSequence` can tell it from the code.

Source: Matteson & James (2014); Killick et al. (2012); Pettitt (1979); Hodges & Lehmann (1963).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats import _hodges_lehmann, _splits

_Finder = Callable[[NDArray[np.float64]], tuple[int, float]]  # of a part: its best cut, and a p value
_NEAR = 2  # runs: votes so far apart are for the same change
_MIN_PART = 3  # runs: a change has to have lasted so long
_LEVEL = 0.03  # of each detector: a suspect costs one comparison, a change that was missed costs users
_ERRORS = 2  # standard errors: a shift under so many of its own is none, and one is gone only beyond so many


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """From run `index` on, values are `ratio` times those before; `votes` of 4 detectors say so.

    begin: the first run of the stretch that the change ended: where the change before it was, else 0.
    """

    index: int
    ratio: float
    votes: int
    begin: int = 0

    @property
    def steady(self) -> int:
        """The run in the middle of the stretch before. In noise a change is named some runs too late: the last run
        before it may be one after it, and this one hardly ever is."""
        return (self.begin + self.index - 1) // 2


class _Shift(NamedTuple):
    size: float  # of the logarithms, with its sign
    error: float
    level: float  # before it
    noise: float  # sd of a run

    def needed(self, min_effect: float) -> float:
        return max(math.log1p(min_effect), _ERRORS * self.error)

    def lasting(self, logs: NDArray[np.float64]) -> float:
        """The size without its sign, or 0 where the end of the series is back: beyond the middle, by more than noise."""
        moved = (float(np.median(logs[-_MIN_PART:])) - self.level) * math.copysign(1, self.size)
        doubt = _ERRORS * self.noise / math.sqrt(_MIN_PART)
        return abs(self.size) if moved >= abs(self.size) / 2 - doubt else 0.0


def change_points(series: ArrayLike, *, min_effect: float = 0.01, min_votes: int = 2) -> list[ChangePoint]:
    """The changes that lasted to the end of the series, oldest first.

    Kept are those with the votes, whose shift (Hodges-Lehmann, between the changes on either side) is at least
    `min_effect` and twice its own standard error, and that have not gone away: the last three runs lie on the new
    side of the middle, give or take two standard errors. A change can be seen once three runs came after it.

    Args: series: shape (n,), positive, one value a run, oldest first.  min_effect: 0.01 is 1 %.
    Raises: ValueError: a value that is not positive, or other shapes.
    """
    values = np.asarray(series, np.float64)
    if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("a history is a list of positive finite values")
    logs = np.log(values)
    votes = _elected(_candidates(logs), min_votes)
    changes = sorted(votes)
    parts = [logs[begin:end] for begin, end in itertools.pairwise([0, *changes, len(logs)])]
    while changes:
        shifts = _shifts(parts)
        lasting = [shift.lasting(logs) for shift in shifts]
        short = [shift.needed(min_effect) - size for shift, size in zip(shifts, lasting, strict=True)]
        # One at a time: without it its neighbours have longer parts, and may look different.
        worst = int(np.argmax(short))
        if short[worst] <= 0:
            found = zip(changes, shifts, [0, *changes[:-1]], strict=True)
            return [
                ChangePoint(index, math.exp(shift.size), votes[index], begin) for index, shift, begin in found
            ]
        if lasting[worst] == 0 and worst + 1 < len(changes):
            del parts[worst + 1]  # an excursion: the way back is no change either, compared with before it
        else:
            parts[worst : worst + 2] = [np.concatenate(parts[worst : worst + 2])]
        del changes[worst]
    return []


def _candidates(logs: NDArray[np.float64]) -> list[list[int]]:
    """What each detector says."""

    def by_ranks(part: NDArray[np.float64]) -> tuple[int, float]:
        cut = _splits.energy_split(_splits.ranks(part), _MIN_PART)
        return cut, _splits.rank_sum_p_value(part[:cut], part[cut:])

    def by_logs(part: NDArray[np.float64]) -> tuple[int, float]:
        cut = _splits.energy_split(part, _MIN_PART)
        return cut, _splits.welch_p_value(part[:cut], part[cut:])

    def by_pettitt(part: NDArray[np.float64]) -> tuple[int, float]:
        return _splits.pettitt_split(part, _MIN_PART)

    return [*(_recursive(logs, finder) for finder in (by_ranks, by_logs, by_pettitt)), _least_squares(logs)]


def _recursive(logs: NDArray[np.float64], finder: _Finder) -> list[int]:
    """Cuts the series where the finder is sure, then each part, and so on."""
    cuts: list[int] = []
    parts = [(0, len(logs))]
    while parts:
        begin, end = parts.pop()
        if end - begin < 2 * _MIN_PART:
            continue
        cut, p_value = finder(logs[begin:end])
        if p_value <= _LEVEL:
            cuts.append(begin + cut)
            parts += [(begin, begin + cut), (begin + cut, end)]
    return sorted(cuts)


def _least_squares(logs: NDArray[np.float64]) -> list[int]:
    if len(logs) < 2 * _MIN_PART:
        return []
    # Differences of neighbours show the noise whatever the level does; the median forgives single jumps.
    noise = _robust_sd(np.diff(logs)) / math.sqrt(2)
    # Twice the Bayesian information criterion's log(n) for the mean of one more part, in units of the noise.
    penalty = 2 * math.log(len(logs)) * noise**2
    return _splits.least_squares_cuts(logs, max(penalty, 1e-18), _MIN_PART)


def _elected(candidates: list[list[int]], min_votes: int) -> dict[int, int]:
    """Cuts with votes enough, best first; what lies near one that was taken votes for that one."""
    votes = {
        index: sum(any(abs(index - other) <= _NEAR for other in cuts) for cuts in candidates)
        for cuts in candidates
        for index in cuts
    }
    exact = {index: sum(index in cuts for cuts in candidates) for index in votes}
    elected: dict[int, int] = {}
    for index in sorted(votes, key=lambda index: (-votes[index], -exact[index], index)):
        if votes[index] >= min_votes and all(abs(index - other) > _NEAR for other in elected):
            elected[index] = votes[index]
    return elected


def _shifts(parts: list[NDArray[np.float64]]) -> list[_Shift]:
    """What each change did to the parts on either side of it."""
    noise = _robust_sd(np.concatenate([part - np.median(part) for part in parts]))
    return [
        _Shift(
            _hodges_lehmann.shift(left, right),
            noise * math.sqrt(1 / len(left) + 1 / len(right)),
            float(np.median(left)),
            noise,
        )
        for left, right in itertools.pairwise(parts)
    ]


def _robust_sd(residuals: NDArray[np.float64]) -> float:
    """From the median of the magnitudes: outliers do not move it. Right for normal noise."""
    return 1.4826 * float(np.median(np.abs(residuals)))
