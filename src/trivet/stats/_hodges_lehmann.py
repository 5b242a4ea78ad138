"""Where a sample lies and how far two lie apart, not moved by outliers.   Source: Hodges & Lehmann (1963)."""

import numpy as np
from numpy.typing import NDArray


def centre(values: NDArray[np.float64]) -> float:
    """The median of the means of all pairs of values, each with itself too. Args: values: shape (n,), n > 0."""
    first, second = np.triu_indices(len(values))
    return float(np.median((values[first] + values[second]) / 2))


def shift(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """The median of all differences after - before. Args: shapes (n,) and (m,), both > 0."""
    return float(np.median(np.subtract.outer(after, before)))
