"""An axis of nines: 90 %, 99 %, 99.9 % stand equally far apart, so that a tail can be seen as far as there are requests."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HALF = float(-np.log10(0.5))


def nines(shares: ArrayLike) -> NDArray[np.float64]:
    """Where shares below 1 stand on the axis: 0.9 at 1, 0.99 at 2."""
    return np.asarray(-np.log10(1 - np.asarray(shares, np.float64)))


def nines_axis(axes: "Axes", num: int) -> None:
    """Ticks for what `num` observations can show. The last of them stands half a request below 100 %."""
    last = max(1, int(np.log10(max(10, num))))
    axes.set_yticks([0.0, HALF, *range(1, last + 1)], ["0 %", "50 %", *map(_share, range(1, last + 1))])
    axes.set_ylim(0, float(nines(1 - 0.5 / max(1, num))) + 0.15)


def distribution_points(
    values: NDArray[Any], num_points: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Enough points of the empirical distribution to draw it: observed values, and their places on the axis.

    Half of the points lie evenly in the body, half evenly over the nines of the tail.
    Args: values: shape (n,), at least one.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    num = len(ordered)
    body = np.linspace(1 / num, 1, num_points // 2)
    tail = 1 - np.geomspace(1, 1 / num, num_points // 2)
    wanted = np.ceil(np.concatenate([body, tail]) * num)
    ranks = np.unique(np.clip(wanted, 1, num).astype(np.int64))
    return ordered[ranks - 1], nines((ranks - 0.5) / num)


def _share(num_nines: int) -> str:
    return f"{100 * (1 - 10.0**-num_nines):.{max(0, num_nines - 2)}f} %"
