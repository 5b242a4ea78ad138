"""Two systems measured in turn, block by block: how much better is one, and how sure is that?"""

import math

import numpy as np
from numpy.typing import ArrayLike

from trivet.stats import student_t
from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Ratio


def ratio_of_paired_blocks(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Ratio:
    """How many times `b` is `a`? Pairing cancels what both sides of a block share: the machine's mood.

    exp(mean(d) ± t * sd(d) / sqrt(n)) with d = log(a_i / b_i) and t the quantile of Student's t with n - 1
    degrees of freedom. Exact for log-normal ratios, and near it where the log ratios are roughly symmetric.

    Args: a, b: shape (n,), positive, one value a block (throughput, median latency ...), paired by index.
    Raises: EmptySampleError: n == 0.  TooFewError: n == 1.  ValueError: not paired, or a value not positive.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"blocks are not paired: shapes {first.shape} and {second.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, must be in (0, 1)")
    for side in (first, second):
        bad = ~(np.isfinite(side) & (side > 0))
        if bad.any():
            raise ValueError(
                f"a ratio needs positive finite values; block {int(bad.argmax())} has {side[bad][0]}"
            )
    num_blocks = len(first)
    if num_blocks == 0:
        raise EmptySampleError("no blocks, so no ratio")
    if num_blocks == 1:
        raise TooFewError("one block has no spread, so its ratio has no interval; measure at least 2")
    logs = np.log(first / second)
    centre = float(logs.mean())
    margin = (
        student_t.quantile((1 + confidence) / 2, num_blocks - 1)
        * float(logs.std(ddof=1))
        / math.sqrt(num_blocks)
    )
    return Ratio(_exp(centre), _exp(centre - margin), _exp(centre + margin), num_blocks)


def _exp(x: float) -> float:
    """Few blocks with a wide spread say nothing: then the interval reaches to infinity."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
