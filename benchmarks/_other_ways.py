"""How else pairs are compared while one looks on: what those ways do to false alarms is shown beside ours."""

import numpy as np
import scipy.stats
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FEWEST = 4  # pairs before either way is asked


def t_test_at_every_look(differences: Floats, alpha: float) -> NDArray[np.bool_]:
    """Whether a paired t test, made anew after every pair, says at any look that there is a difference. Shape (m, n)."""
    counts, means, sds = _running(differences)
    statistic = np.abs(means) / np.maximum(sds / np.sqrt(counts), 1e-300)
    bound = scipy.stats.t.ppf(1 - alpha / 2, counts - 1)
    found: NDArray[np.bool_] = (statistic > bound)[:, FEWEST - 1 :].any(axis=1)
    return found


def asymptotic_sequence(differences: Floats, alpha: float, rho: float = 10.0) -> NDArray[np.bool_]:
    """The same of the normal mixture confidence sequence with the sample's sd: right for many pairs, not for few.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2021), asymptotic confidence sequences.
    """
    counts, means, sds = _running(differences)
    widths = (
        sds
        * np.sqrt((counts + rho) * 2 * np.log(np.sqrt((counts + rho) / rho) / alpha))
        / np.maximum(counts, 1)
    )
    found: NDArray[np.bool_] = (np.abs(means) > widths)[:, FEWEST - 1 :].any(axis=1)
    return found


def _running(differences: Floats) -> tuple[Floats, Floats, Floats]:
    counts = np.arange(1, differences.shape[1] + 1, dtype=np.float64)
    means = np.cumsum(differences, axis=1) / counts
    squares = np.cumsum(differences**2, axis=1) - counts * means**2
    return counts, means, np.sqrt(np.maximum(squares, 0) / np.maximum(counts - 1, 1))
