"""The rule of vCache (arXiv 2502.03771), written from its description, as a rival: a threshold learned for each entry.

Each entry keeps the similarities at which it was asked for and whether its answer was right, (0, wrong) and (1, right)
among them from the start. With six or more, a logistic curve over similarity is fitted; its midpoint is moved up by
every quantile of its uncertainty in turn, and the least probability of asking the model that any of them leads to is
taken. Only wrong answers make new entries. Where right and wrong can be separated, the midpoint's variance is taken from
a formula close to its table; otherwise by the delta method.
"""

import math
from random import Random
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_DOUBTS = np.linspace(1e-6, 1 - 1e-6, 50)
_QUANTILES = np.array([NormalDist().inv_cdf(1 - doubt) for doubt in _DOUBTS])
_FEWEST = 6
_STEEP = 1_000.0  # of a curve that separates
_START = ((0.0, 0), (1.0, 1))

Observation = tuple[float, int]


class VCacheRule:
    def __init__(self, delta: float, seed: int = 0) -> None:
        self._delta = delta
        self._random = Random(seed)
        self._observations: dict[int, list[Observation]] = {}
        self._curves: dict[int, tuple[int, NDArray[np.float64], float]] = {}  # size, midpoints, steepness

    def begin(self, entry: int) -> None:
        self._observations[entry] = list(_START)

    def observe(self, entry: int, similarity: float, is_right: bool) -> None:
        self._observations[entry].append((round(similarity, 3), int(is_right)))

    def is_hit(self, entry: int, similarity: float) -> bool:
        seen = self._observations[entry]
        if len(seen) < _FEWEST:
            return False
        known = self._curves.get(entry)
        if known is None or known[0] != len(seen):
            midpoint, steepness, variance = _fitted(seen)
            moved = np.clip(midpoint + _QUANTILES * math.sqrt(variance), 0, 1)
            known = self._curves[entry] = (len(seen), moved, steepness)
        exponents = np.clip(known[2] * (round(similarity, 3) - known[1]), -500, 500)
        surely_right = (1 - _DOUBTS) / (1 + np.exp(-exponents))
        return self._random.random() > float((1 - self._delta / (1 - surely_right)).min())


def _fitted(seen: list[Observation]) -> tuple[float, float, float]:
    """Midpoint, steepness, and the midpoint's variance."""
    similarity = np.array([one for one, _ in seen])
    right = np.array([is_right for _, is_right in seen], np.float64)
    lowest, highest = similarity[right == 1].min(), similarity[right == 0].max()
    if lowest > highest:
        return (lowest + highest) / 2, _STEEP, max(0.0105, 0.0354 * (6 / len(seen)) ** 1.4)
    design = np.column_stack([np.ones(len(seen)), similarity])
    weights = np.zeros(2)
    for _ in range(25):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        curvature = design.T @ ((probability * (1 - probability) + 1e-9)[:, None] * design) + 1e-9 * np.eye(2)
        step = np.clip(np.linalg.solve(curvature, design.T @ (right - probability)), -20, 20)
        weights = weights + step
        if abs(step).max() < 1e-6:
            break
    steepness = max(float(weights[1]), 1e-6)
    gradient = np.array([-1 / steepness, weights[0] / steepness**2])
    variance = max(0.0, float(gradient @ np.linalg.inv(curvature) @ gradient))
    return min(1.0, max(0.0, float(-weights[0] / steepness))), steepness, variance
