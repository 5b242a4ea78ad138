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
# Added to the wrong ones of a group, as by Laplace's rule of succession. All of it for the surest group, so that the surest
# claims together are never surer than the number of their checks allows; for others as many as the model expects among
# so few checks, which a model that is surer than it should be cannot push under the least.
_PSEUDO_WRONG = 1.0
_LEAST_PSEUDO_WRONG = 0.25


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
    expected = np.bincount(groups, weights=1 / (1 + np.exp(-log_odds)), minlength=size)
    return Claims(_rising(_joined(num_wrong.tolist(), num.tolist(), expected.tolist())))


def _joined(num_wrong: list[int], num: list[int], expected: list[float]) -> list[list[float]]:
    """Neighbouring groups together until each has enough checks: [wrong, all, groups]; a rest counts as all wrong."""
    pools: list[list[float]] = []
    wrong, count, model, groups = 0, 0, 0.0, 0
    for one_wrong, one_count, one_expected in zip(num_wrong, num, expected, strict=True):
        wrong, count, groups = wrong + one_wrong, count + one_count, groups + 1
        model += one_expected
        if count >= _FEWEST:
            likely = max(_LEAST_PSEUDO_WRONG, min(_PSEUDO_WRONG, model * _FEWEST / count))
            added = likely if pools else _PSEUDO_WRONG
            pools.append([wrong + added, count + 2 * added, groups])
            wrong, count, model, groups = 0, 0, 0.0, 0
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
