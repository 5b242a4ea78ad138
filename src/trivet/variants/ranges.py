"""Ranges of the tensors between nodes, from calibration rows: what eight bits have to cover.

minmax: all that was seen. percentile: without the outermost values. entropy: the range whose eight-bit picture of the
values has the least Kullback-Leibler divergence from them (Migacz 2017, 8-bit inference with TensorRT).
Rows are taken one by one, so that they may have any lengths.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trivet.variants._models import Model
from trivet.variants._session import Watched

Method = Literal["percentile", "entropy", "minmax"]
Range = tuple[float, float]

_NUM_BINS = 2048
_NUM_LEVELS = 128  # of one sign in eight bits
_STEP = 16  # bins between two ranges that are tried
_NOTHING = 1e-12  # a probability in place of zero


def ranges_of(
    model: Model,
    names: Sequence[str],
    rows: Sequence[Mapping[str, NDArray[Any]]],
    method: Method,
    percentile: float,
) -> dict[str, Range]:
    """The range of each named tensor that holds floats; one that the rows leave empty has none.

    Args: percentile: the share of the values, in percent, that each end may leave outside is 100 minus this.
    Raises: VariantError: the model fails on a row.
    """
    watched = Watched(model, names)
    ranges: dict[str, Range] = {}
    for row in rows:
        for name, values in watched.run(row).items():
            if values.dtype.kind == "f" and values.size:
                low, high = ranges.get(name, (np.inf, -np.inf))
                ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
    if method == "minmax":
        return ranges
    counts = {name: np.zeros(_NUM_BINS, np.int64) for name in ranges}
    for row in rows:
        for name, values in watched.run(row).items():
            if name in ranges:
                sample, span = (
                    (np.abs(values), (0.0, _largest(ranges[name])))
                    if method == "entropy"
                    else (values, ranges[name])
                )
                counts[name] += np.histogram(sample, _NUM_BINS, span)[0]
    if method == "entropy":
        return {name: _clipped(ranges[name], counts[name]) for name in ranges}
    return {name: percentile_range(ranges[name], counts[name], percentile) for name in ranges}


def percentile_range(whole: Range, counts: NDArray[np.int64], percentile: float) -> Range:
    """Of values in bins of equal width: each end leaves at most 100 - percentile percent of them outside."""
    edges = np.linspace(*whole, len(counts) + 1)
    outside = counts.sum() * (100 - percentile) / 100
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])
    first = int(np.searchsorted(below, outside, side="right"))
    last = len(counts) - int(np.searchsorted(above, outside, side="right"))
    return float(edges[min(first, len(counts) - 1)]), float(edges[max(last, 1)])


def entropy_bins(counts: NDArray[np.int64]) -> int:
    """How many bins, from zero on, are best pictured in 128 levels, all values beyond them counting as the last one's."""
    best, chosen = np.inf, len(counts)
    for num in range(_NUM_LEVELS, len(counts) + 1, _STEP):
        kept = counts[:num].astype(np.float64)
        seen = kept > 0
        if not seen.any():
            continue
        level = np.arange(num) * _NUM_LEVELS // num
        sums = np.bincount(level, kept, _NUM_LEVELS)
        filled = np.maximum(np.bincount(level, seen, _NUM_LEVELS), 1)
        picture = np.where(seen, (sums / filled)[level], 0.0)
        kept[-1] += counts[num:].sum()
        divergence = _divergence(kept / kept.sum(), picture / picture.sum())
        if divergence < best:
            best, chosen = divergence, num
    return chosen


def _divergence(true: NDArray[np.float64], picture: NDArray[np.float64]) -> float:
    seen = true > 0
    return float((true[seen] * np.log(true[seen] / np.maximum(picture[seen], _NOTHING))).sum())


def _clipped(whole: Range, counts: NDArray[np.int64]) -> Range:
    limit = _largest(whole) * entropy_bins(counts) / len(counts)
    return max(whole[0], -limit), min(whole[1], limit)


def _largest(whole: Range) -> float:
    return max(abs(whole[0]), abs(whole[1]))
