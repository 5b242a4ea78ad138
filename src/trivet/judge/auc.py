"""Area under the ROC curve of one score for two classes: the chance that a positive row scores above a negative one."""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trivet.judge import intervals
from trivet.stats.errors import EmptySampleError
from trivet.stats.interval import Interval

_STEPS = 60  # of bisection: to the last bits of a number in [0, 1]


def auc(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], confidence: float, rng: np.random.Generator
) -> Interval:
    """The wider, on each side, of a bootstrap within each class and of Newcombe's score interval.

    The bootstrap follows the scores as they are; alone it would call 20 of 20 pairs in order certainty.
    Args: scores: shape (n,), without NaN.  positive: shape (n,).
    Raises: EmptySampleError: a class has no row.   Source: Newcombe (2006), Statistics in Medicine 25, method 5.
    """
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        missing = "positive" if not len(above) else "negative"
        raise EmptySampleError(f"no row is {missing}, so nothing is ranked; auc needs rows of both classes")
    values, codes = np.unique(scores, return_inverse=True)
    histograms = [np.bincount(codes[mask], minlength=len(values)) for mask in (positive, ~positive)]
    estimate = float(_auc_of_counts(*(counts[None, :] for counts in histograms))[0])
    draws = _resampled(histograms, rng)
    low, high = intervals.percentiles(draws, confidence)
    score_low, score_high = _newcombe(estimate, len(above), len(below), confidence)
    return Interval(estimate, min(low, score_low), max(high, score_high))


def _resampled(histograms: list[NDArray[np.int64]], rng: np.random.Generator) -> NDArray[np.float64]:
    size = max(1, (1 << 22) // len(histograms[0]))
    parts = []
    for done in range(0, intervals.NUM_RESAMPLES, size):
        num = min(size, intervals.NUM_RESAMPLES - done)
        parts.append(
            _auc_of_counts(
                *(rng.multinomial(counts.sum(), counts / counts.sum(), num) for counts in histograms)
            )
        )
    return np.concatenate(parts)


def _auc_of_counts(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mann-Whitney's U over the number of pairs, ties as halves.

    Args: counts of each score in ascending order, shape (samples, scores).
    """
    lower = np.cumsum(below, axis=1) - below / 2
    pairs = above.sum(axis=1) * below.sum(axis=1)
    return np.asarray((above * lower).sum(axis=1) / pairs, np.float64)


def _newcombe(estimate: float, num_above: int, num_below: int, confidence: float) -> tuple[float, float]:
    """The values t with |estimate - t| <= z * sqrt(V(t)), where V is the variance under exponential scores."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    half = (num_above + num_below) / 2 - 1

    def excess(t: float) -> float:
        spread = 1 + half * ((1 - t) / (2 - t) + t / (1 + t))
        return (estimate - t) ** 2 - z * z * t * (1 - t) * spread / (num_above * num_below)

    return _root(excess, 0.0, estimate), _root(excess, 1.0, estimate)


def _root(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where `excess` changes its sign: bisection between a point outside of the interval and one inside."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        if excess(middle) > 0:
            outside = middle
        else:
            inside = middle
    return outside
