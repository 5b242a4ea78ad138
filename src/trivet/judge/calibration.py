"""Calibration: do answers that claim 90 % turn out right nine times of ten? The expected calibration error, binned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError
from trivet.stats.errors import EmptySampleError
from trivet.stats.interval import Interval

MAX_BINS = 15
MIN_IN_BIN = 20
_TOLERANCE = 1e-3  # of a sum of probabilities: float16 and rounded outputs


@dataclass(frozen=True, slots=True)
class Calibration:
    """error: mean over rows of |confidence - share that is right| of their bin.  assumed: what scores were taken for."""

    error: Interval
    num_bins: int
    assumed: str


def top_confidences(scores: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], str]:
    """The confidence in the highest score of each row, and what was assumed: probabilities where every row is
    non-negative and adds up to 1, else logits, whose softmax it is.

    Args: scores: of the rows, each of shape (classes,), finite.
    """
    rows = np.array(scores, np.float64)
    if (rows >= 0).all() and np.abs(rows.sum(axis=1) - 1).max() <= _TOLERANCE:
        return rows.max(axis=1), "outputs are probabilities: each row adds up to 1"
    shifted = rows - rows.max(axis=1, keepdims=True)
    return 1 / np.exp(shifted).sum(axis=1), "outputs are logits: rows do not add up to 1; softmax was taken"


def yes_probabilities(scores: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], str]:
    """The probability of «yes» of one score a row: as it is where all lie in [0, 1], else its sigmoid."""
    column = np.array(scores, np.float64).reshape(-1)
    if ((column >= 0) & (column <= 1)).all():
        return column, "outputs are probabilities: all lie in [0, 1]"
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-column)), "outputs are logits: not all lie in [0, 1]; sigmoid was taken"


def calibration_error(
    confidences: NDArray[np.float64], right: NDArray[np.bool_], confidence: float = 0.95
) -> tuple[Interval, int]:
    """ECE over bins of equal mass, with an interval that holds for these bins; and the number of bins.

    By Cauchy-Schwarz the estimate is off by at most sqrt(sum of w² s²) times the length of the vector of standardised
    gaps, whose square is chi-squared with one degree of freedom a bin. A plain bootstrap would not do: noise alone
    makes the estimate of a perfect model positive, and its resamples more so.

    Args: confidences: in [0, 1], shape (n,).  right: whether what they are about came true.
    Raises: EmptySampleError: n == 0.
    Source: of the estimate: Naeini et al. (2015), with the equal-mass bins of Nixon et al. (2019).
    """
    num = len(confidences)
    if num == 0:
        raise EmptySampleError("no rows, so no calibration error")
    num_bins = int(np.clip(num // MIN_IN_BIN, 1, MAX_BINS))
    order = np.argsort(confidences, kind="stable")
    gaps, variances, weights = [], [], []
    for rows in np.array_split(order, num_bins):
        hits, claimed = right[rows].astype(np.float64), confidences[rows]
        gaps.append(abs(float((hits - claimed).mean())))
        # Two hits and two misses are added (Agresti-Coull): bins where all are right are not known exactly.
        share = (float(hits.sum()) + 2) / (len(rows) + 4)
        variances.append(max(float((hits - claimed).var()), share * (1 - share)) / len(rows))
        weights.append(len(rows) / num)
    estimate = float(np.dot(weights, gaps))
    margin = (_chi_squared(num_bins, confidence) * float(np.dot(np.square(weights), variances))) ** 0.5
    return Interval(estimate, max(0.0, estimate - margin), min(1.0, estimate + margin)), num_bins


def _chi_squared(degrees: int, p: float) -> float:
    """Its quantile."""
    try:
        from scipy.special import chdtri
    except ImportError:
        raise ExtraMissingError("the interval of a calibration error", "bench") from None
    return float(chdtri(degrees, 1 - p))
