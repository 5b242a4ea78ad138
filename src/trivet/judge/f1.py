"""F1 of two classes (of the positive one) and of several (macro: the plain mean over classes), with its interval.

As scikit-learn defines them: F1 = 2 TP / (2 TP + FP + FN); the macro mean is over the classes that labels or predictions
hold. A row without a prediction is a miss of its class.
"""

import numpy as np
from numpy.typing import NDArray

from trivet.judge import intervals
from trivet.judge.classes import UNKNOWN, Coded
from trivet.stats.errors import EmptySampleError
from trivet.stats.interval import Interval
from trivet.stats.proportion import proportion_interval


def is_binary(coded: Coded) -> bool:
    """Whether F1 is that of one positive class: two classes are declared, so it is known which is meant."""
    return coded.declared and len(coded.classes) == 2


def f1(coded: Coded, confidence: float, rng: np.random.Generator) -> Interval:
    """Raises: EmptySampleError: no rows, or (two classes) no row is or was said to be positive."""
    if not len(coded.actual):
        raise EmptySampleError("no rows, so no F1")
    return _binary(coded, confidence) if is_binary(coded) else _macro(coded, confidence, rng)


def _binary(coded: Coded, confidence: float) -> Interval:
    """Of the rows that are positive or said to be, TP / (TP + FP + FN) are both: a share q with an exact interval, and
    F1 = 2 q / (1 + q) grows with it.
    """
    said, true = coded.predicted == 1, coded.actual == 1
    num = int((said | true).sum())
    if num == 0:
        raise EmptySampleError(f"no row is {coded.classes[1]!r} or was said to be, so there is no F1")
    both = proportion_interval(int((said & true).sum()), num, confidence)
    return Interval(*(2 * q / (1 + q) for q in (both.estimate, both.low, both.high)))


def _macro(coded: Coded, confidence: float, rng: np.random.Generator) -> Interval:
    """Percentile bootstrap over rows, never narrower on a side than Clopper-Pearson's interval of accuracy: where few
    rows are wrong, a bootstrap cannot see the mistakes that it has no example of.
    """
    num, size = len(coded.actual), len(coded.classes) + 1
    # A bootstrap sample is known by how often each (true, predicted) pair is in it: multinomial counts.
    pairs, counts = np.unique(coded.actual * size + (coded.predicted - UNKNOWN), return_counts=True)
    actual, predicted = np.divmod(pairs, size)
    predicted += UNKNOWN
    estimate = float(_macro_f1(actual, predicted, counts[None, :], len(coded.classes))[0])
    draws = rng.multinomial(num, counts / num, intervals.NUM_RESAMPLES)
    low, high = intervals.percentiles(_macro_f1(actual, predicted, draws, len(coded.classes)), confidence)
    right = proportion_interval(int((coded.actual == coded.predicted).sum()), num, confidence)
    return Interval(
        estimate,
        max(0.0, min(low, estimate - (right.estimate - right.low))),
        min(1.0, max(high, estimate + (right.high - right.estimate))),
    )


def _macro_f1(
    actual: NDArray[np.int64], predicted: NDArray[np.int64], counts: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Macro F1 of each row of `counts`, shape (samples, pairs)."""
    classes = np.arange(num_classes)
    is_actual, is_predicted = actual[:, None] == classes, predicted[:, None] == classes
    true_positives = counts @ (is_actual & is_predicted)
    either = counts @ is_actual.astype(np.int64) + counts @ is_predicted.astype(np.int64)  # 2 TP + FP + FN
    f1_of_class = 2 * true_positives / np.maximum(either, 1)
    present = np.maximum((either > 0).sum(axis=1), 1)
    return np.asarray(f1_of_class.sum(axis=1) / present, np.float64)
