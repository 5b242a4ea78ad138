"""How little is known of a proposal: its leverage among the checks that the model was fitted to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SAME = 1e-6  # a feature that differs by less does not
_WIDEST = 6.0  # spreads from the mean


@dataclass(frozen=True, slots=True)
class Novelty:
    """precision: shape (features, features), the inverse of the mean product of scaled features."""

    middle: NDArray[np.float64]
    spread: NDArray[np.float64]
    precision: NDArray[np.float64]

    def of(self, features: tuple[float, ...]) -> float:
        """The leverage of one proposal, in units of one check: on average over the checks at most the number of features.

        So many checks tell as much of it as the whole, divided by this, would (Hoaglin & Welsch, 1978).
        """
        return float(self.of_rows(np.array([features]))[0])

    def of_rows(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same for rows, shape (n, features) -> (n,)."""
        scaled = _scaled(features, self.middle, self.spread)
        leverages: NDArray[np.float64] = ((scaled @ self.precision) * scaled).sum(axis=1)
        return leverages


def novelty(features: NDArray[np.float64]) -> Novelty:
    """Args: features: of the checks, shape (n, features), n >= 1, the first feature constant."""
    middle, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < _SAME] = np.inf  # the model does not use it
    middle[0], spread[0] = 0.0, 1.0
    scaled = _scaled(features, middle, spread)
    # One check's worth of ridge, as the model's own.
    curvature = scaled.T @ scaled / len(scaled) + np.eye(scaled.shape[1]) / len(scaled)
    precision: NDArray[np.float64] = np.linalg.inv(curvature).astype(np.float64)
    return Novelty(middle, spread, precision)


def _scaled(
    features: NDArray[np.float64], middle: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = (features - middle) / spread
    return np.minimum(np.maximum(scaled, -_WIDEST), _WIDEST)  # of one row in half of np.clip's time
