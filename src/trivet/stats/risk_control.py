"""Settings (thresholds of a cascade, a cache) whose risk is certified, from losses on labelled rows."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.stats._scipy import special
from trivet.stats.errors import EmptySampleError

_MOST_LOST = 2000  # so near to the limit nobody has the rows


def learn_then_test(losses: ArrayLike, *, max_risk: float, delta: float) -> list[int]:
    """The settings whose expected loss is at most `max_risk`: all of them together with probability 1 - `delta`.

    Settings are tested in the order given, at level `delta` each, until the first that fails: so many cost no more
    than one, and an order that is wrong costs settings, never the promise. The order must not come from these rows.

    Args: losses: shape (settings, rows), in [0, 1], the safest setting first; rows drawn independently.
    Returns: indices, a prefix of the order; empty where not even the first is certified.
    Raises: EmptySampleError: no rows.  ValueError: a loss or level out of range.  ExtraMissingError: no scipy.
    Source: Angelopoulos, Bates, Candès, Jordan & Lei (2021), "Learn then Test", fixed sequence testing.
    """
    table = np.asarray(losses, np.float64)
    if table.ndim != 2:
        raise ValueError(f"losses must be of shape (settings, rows), got {table.shape}")
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, must be in (0, 1)")
    certified: list[int] = []
    for index, row in enumerate(table):
        if risk_p_value(row, max_risk) > delta:
            break
        certified.append(index)
    return certified


def risk_p_value(losses: ArrayLike, max_risk: float) -> float:
    """How probable losses so small would be, at most, if the expected loss were over `max_risk`.

    Exact (binomial) where each loss is 0 or 1; else by the bound of Hoeffding and Bentkus, which holds for all in [0, 1].
    Args, raises: as `learn_then_test`, for one setting.   Source: Bates et al. (2021), proposition 3.1 there.
    """
    values = np.asarray(losses, np.float64)
    if not 0 < max_risk < 1:
        raise ValueError(f"max_risk is {max_risk}, must be in (0, 1)")
    if len(values) == 0:
        raise EmptySampleError("no rows, so no risk")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("losses must be in [0, 1]")
    if np.isin(values, (0.0, 1.0)).all():
        return _binomial(int(values.sum()), len(values), max_risk)
    return _hoeffding_bentkus(values, max_risk)


def _binomial(num_lost: int, n: int, max_risk: float) -> float:
    return float(special("a certified risk").bdtr(num_lost, n, max_risk))


def _hoeffding_bentkus(values: NDArray[np.float64], max_risk: float) -> float:
    n, mean = len(values), float(values.mean())
    if mean >= max_risk:
        return 1.0
    # n h(mean, max_risk): what the relative entropy of two coins says, after Hoeffding.
    entropy = (1 - mean) * math.log((1 - mean) / (1 - max_risk))
    if mean > 0:
        entropy += mean * math.log(mean / max_risk)
    return min(1.0, math.exp(-n * entropy), math.e * _binomial(math.ceil(values.sum()), n, max_risk))


def rows_needed(max_risk: float, delta: float, rate: float = 0.0) -> int | None:
    """The fewest rows that can certify `max_risk` at level `delta` where losses of 0 and 1 come at `rate`; None: no number.

    Raises: ValueError: a level out of range.  ExtraMissingError: no scipy.
    """
    if not 0 < max_risk < 1 or not 0 < delta < 1 or not 0 <= rate <= 1:
        raise ValueError(f"max_risk {max_risk} and delta {delta} must be in (0, 1), rate {rate} in [0, 1]")
    for num_lost in range(_MOST_LOST if rate < max_risk else 0):
        num = _fewest(num_lost, max_risk, delta)
        if num_lost >= rate * num:
            return num
    return None


def _fewest(num_lost: int, max_risk: float, delta: float) -> int:
    """The fewest rows of which so many may be lost."""
    low, high = num_lost, max(1, 2 * num_lost)
    while _binomial(num_lost, high, max_risk) > delta:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _binomial(num_lost, middle, max_risk) > delta else (low, middle)
    return high
