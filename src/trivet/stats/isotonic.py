"""The monotone curve nearest to noisy values: what a confidence is really worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats.errors import EmptySampleError


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A falling step curve. edges: where steps begin, rising.  values: of each step, falling."""

    edges: NDArray[np.float64]
    values: NDArray[np.float64]

    def at(self, x: ArrayLike) -> NDArray[np.float64]:
        """The curve's values, shape as `x`; beyond its ends those of the ends; at NaN the first."""
        places = (
            np.searchsorted(self.edges, np.nan_to_num(np.asarray(x, np.float64), nan=-np.inf), "right") - 1
        )
        return np.asarray(self.values[np.clip(places, 0, len(self.values) - 1)], np.float64)


def falling(x: ArrayLike, y: ArrayLike) -> Isotonic:
    """The falling curve with the least squared distance to the points (x, y).

    Args: x, y: shape (n,).  Raises: EmptySampleError: no points.
    Source: pool adjacent violators; Ayer, Brunk, Ewing, Reid & Silverman (1955).
    """
    positions, heights = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(positions) == 0:
        raise EmptySampleError("no points, so no curve")
    edges, place = np.unique(positions, return_inverse=True)
    weights = np.bincount(place).astype(np.float64)
    means = np.bincount(place, weights=heights) / weights
    starts: list[int] = []
    blocks: list[tuple[float, float]] = []  # (sum, weight) of each step
    for index, (mean, weight) in enumerate(zip(means.tolist(), weights.tolist(), strict=True)):
        total, heft, start = mean * weight, weight, index
        while blocks and blocks[-1][0] * heft <= total * blocks[-1][1]:
            before, weight_before = blocks.pop()
            start = starts.pop()
            total, heft = total + before, heft + weight_before
        blocks.append((total, heft))
        starts.append(start)
    return Isotonic(edges[starts], np.array([total / heft for total, heft in blocks]))
