"""What is claimed of a proposed answer is what was seen of those like it, and a little worse."""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Answers are alike between two of these: log odds of being wrong. Finer where a budget is spent.
_SHARES = (
    *(0.0005, 0.001, 0.002, 0.004, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.055),
    *(0.07, 0.09, 0.11, 0.14, 0.17, 0.2, 0.25, 0.3, 0.4, 0.5),
)
_EDGES = tuple(math.log(share / (1 - share)) for share in _SHARES)
_FEWEST = 60  # checks in a group
_PSEUDO_WRONG = 1.0  # Laplace's rule of succession: no group is surer than its number of checks allows


@dataclass(frozen=True, slots=True)
class Claims:
    """The probability of being wrong that is claimed, by group of log odds; rises with them."""

    by_group: tuple[float, ...]

    def of(self, log_odds: float) -> float:
        return self.by_group[bisect_right(_EDGES, log_odds)]

    def of_rows(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.array(self.by_group)[np.searchsorted(_EDGES, log_odds, side="right")]
        return found


def calibrated(log_odds: NDArray[np.float64], wrong: NDArray[np.bool_]) -> Claims:
    """Args: log_odds, wrong: of answers that were checked, shape (n,)."""
    groups = np.searchsorted(_EDGES, log_odds, side="right")
    size = len(_EDGES) + 1
    num = np.bincount(groups, minlength=size)
    num_wrong = np.bincount(groups[wrong], minlength=size)
    return Claims(_rising(_joined(num_wrong.tolist(), num.tolist())))


def _joined(num_wrong: list[int], num: list[int]) -> list[list[float]]:
    """Neighbouring groups together until each has enough checks: [wrong, all, groups]; a rest counts as all wrong."""
    pools: list[list[float]] = []
    wrong, count, groups = 0, 0, 0
    for one_wrong, one_count in zip(num_wrong, num, strict=True):
        wrong, count, groups = wrong + one_wrong, count + one_count, groups + 1
        if count >= _FEWEST:
            pools.append([wrong + _PSEUDO_WRONG, count + 2 * _PSEUDO_WRONG, groups])
            wrong, count, groups = 0, 0, 0
    if groups:
        pools.append([1.0, 1.0, groups])
    return pools


def _rising(pools: list[list[float]]) -> tuple[float, ...]:
    """Shares that never fall, by pooling neighbours that do (isotonic regression), one for each group."""
    rising: list[list[float]] = []
    for pool in pools:
        rising.append(list(pool))
        while len(rising) > 1 and rising[-2][0] * rising[-1][1] > rising[-1][0] * rising[-2][1]:
            last = rising.pop()
            for place in range(3):
                rising[-1][place] += last[place]
    return tuple(wrong / count for wrong, count, groups in rising for _ in range(int(groups)))
