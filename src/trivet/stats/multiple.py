"""Several tests at once: what is left of each when all of them had a chance to err.

An adjusted p value is compared with the level asked for, as if its test were the only one.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p values: at level alpha, any false rejection at all has a probability of at most alpha.

    However the tests depend on each other.
    Args: p: shape (n,), in [0, 1].  Raises: ValueError: other values.   Source: Holm (1979).
    """
    values, order = _ordered(p)
    adjusted = np.maximum.accumulate(np.arange(len(values), 0, -1) * values[order])
    return _restored(adjusted, order)


def hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """As `holm` and never larger, where the tests are independent or depend positively on each other.

    Quantiles of one sample do.  Args, raises: as `holm`.   Source: Hochberg (1988); Sarkar (1998).
    """
    values, order = _ordered(p)
    steps = np.arange(len(values), 0, -1) * values[order]
    return _restored(np.minimum.accumulate(steps[::-1])[::-1], order)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p values: at level alpha, at most a share alpha of the rejections is false, in expectation.

    Where the tests are independent or depend positively on each other. For a board with many rows; a gate takes `holm`.
    Args, raises: as `holm`.   Source: Benjamini & Hochberg (1995).
    """
    values, order = _ordered(p)
    num = len(values)
    steps = num / np.arange(1, num + 1) * values[order]
    return _restored(np.minimum.accumulate(steps[::-1])[::-1], order)


def closed_e_values(e: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Adjusted e values: any false one at all reaches 1 / alpha with a probability of at most alpha, at all looks together.

    The least mean of any set of e values with this one in it. However the tests depend on each other.
    Args: e: shape (..., n), one family a row, none negative.
    weights: of the means, shape (n,), positive, chosen before the data: who has more is shown by less. None: equal ones.
    Raises: ValueError: a negative one; weights that are not positive, or not as many.
    Source: Vovk & Wang (2021), closed testing by weighted means.
    """
    values = np.asarray(e, np.float64)
    if values.ndim == 0 or not (values >= 0).all():
        raise ValueError("e values must be numbers that are not negative, one or more")
    shares = np.ones(values.shape[-1]) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != values.shape[-1:] or not (shares > 0).all():
        raise ValueError(f"weights must be {values.shape[-1]} positive numbers")
    order = np.argsort(values, axis=-1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=-1)
    ordered = np.take_along_axis(np.broadcast_to(shares, values.shape), order, axis=-1)
    nothing = np.zeros_like(ascending[..., :1])
    sums = np.concatenate([nothing, np.cumsum(ordered * ascending, axis=-1)], axis=-1)
    masses = np.concatenate([nothing, np.cumsum(ordered, axis=-1)], axis=-1)
    adjusted = np.empty_like(values)
    for rank in range(values.shape[-1]):
        # Only smaller ones draw the mean down, the smallest the most: of all sets their prefixes are enough.
        share = ordered[..., rank, np.newaxis]
        means = share * ascending[..., rank, np.newaxis] + sums[..., : rank + 1]
        means /= share + masses[..., : rank + 1]
        np.put_along_axis(adjusted, order[..., rank, np.newaxis], means.min(axis=-1, keepdims=True), axis=-1)
    return adjusted


def _ordered(p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p values must be a list of numbers in [0, 1]")
    return values, np.argsort(values, kind="stable")


def _restored(adjusted: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    restored = np.empty_like(adjusted)
    restored[order] = np.minimum(adjusted, 1)
    return restored
