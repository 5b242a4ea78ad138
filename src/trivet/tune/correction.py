"""What live runs teach about the simulator: its error as a ratio, shared by configurations that are alike.

The log of live over simulated is a Gaussian process over choices: one part that all share, one that those of one variant
share, and one that fades with the number of levers that differ. Few trials move a forecast little, many of one kind much.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.tune.choice import Choice

# Standard deviations on the log scale: of what all share, of a variant's own, of a configuration's own.
SHARED, OF_VARIANT, OF_CHOICE = 0.10, 0.04, 0.05
FADES_WITHIN = 2.0  # levers
# How well the simulator is known to do here is learned, too: the scale that makes the residuals likeliest.
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def is_variant(lever: str) -> bool:
    return lever.rpartition(".")[2] == "variant"


def kernel(a: Sequence[Choice], b: Sequence[Choice]) -> NDArray[np.float64]:
    """Prior covariance of the log residuals, shape (len(a), len(b)), at scale 1."""
    found = np.empty((len(a), len(b)))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            differing = [lever for lever in one if one[lever] != other.get(lever)]
            same_variant = not any(map(is_variant, differing))
            found[i, j] = (
                SHARED**2
                + OF_VARIANT**2 * same_variant
                + OF_CHOICE**2 * math.exp(-len(differing) / FADES_WITHIN)
            )
    return found


class Correction:
    """Made of all residuals at once.

    Args: choices: that were measured.  log_ratios: log(live / simulated) of each.  errors: their standard errors.
    """

    def __init__(
        self, choices: Sequence[Choice] = (), log_ratios: Sequence[float] = (), errors: Sequence[float] = ()
    ) -> None:
        self._choices = list(choices)
        self._residuals = np.array(log_ratios, np.float64)
        self._noise = np.diag(np.square(np.array(errors, np.float64)))
        self._shape = kernel(self._choices, self._choices)
        self._scaled = self._scale() ** 2 if self._choices else 1.0
        self._inverse = np.linalg.inv(self._scaled * self._shape + self._noise)

    def predict(self, choices: Sequence[Choice]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean, shape (n,), and covariance, shape (n, n), of the log residuals of these choices."""
        prior = self._scaled * kernel(choices, choices)
        across = self._scaled * kernel(choices, self._choices)
        weights = across @ self._inverse
        return weights @ self._residuals, prior - weights @ across.T

    def _scale(self) -> float:
        """The likeliest of SCALES, each as likely as another beforehand but for a mild preference for 1."""

        def log_likelihood(scale: float) -> float:
            covariance = scale**2 * self._shape + self._noise + 1e-12 * np.eye(len(self._residuals))
            log_size = float(np.linalg.slogdet(covariance)[1])
            fit = float(self._residuals @ np.linalg.solve(covariance, self._residuals))
            return -0.5 * (fit + log_size) - 0.5 * math.log(scale) ** 2

        return max(SCALES, key=log_likelihood)
