"""A number, an interval or the lack of one, as a figure."""

import math
from collections.abc import Sequence

import numpy as np

from trivet.catalog.records import Figure
from trivet.stats.interval import Interval
from trivet.stats.mean import mean_of_blocks

CONFIDENCE = 0.95
MIN_PARTS = 3  # below it a spread is hardly one: t with one degree of freedom reaches to 12.7


def mean_figure(
    values: Sequence[float],
    unit: str,
    confidence: float,
    *,
    low: float = -math.inf,
    estimate: float | None = None,
) -> Figure:
    """The mean of parts with its interval, or without where they are too few.

    Args: low: no value can be below it.  estimate: of the whole, where that is known better than from the parts; at
    least one value is needed else.
    """
    centre = float(np.mean(values)) if estimate is None else estimate
    if len(values) < MIN_PARTS:
        found = f"{len(values)} parts to compare, at least {MIN_PARTS} are needed; measure longer"
        return plain_figure(centre, unit, f"no interval: {found}")
    spread = mean_of_blocks(values, confidence)
    return Figure(estimate=centre, low=max(low, spread.low), high=spread.high, unit=unit)


def interval_figure(interval: Interval, unit: str, verdict: str = "") -> Figure:
    return Figure(
        estimate=interval.estimate, low=interval.low, high=interval.high, unit=unit, verdict=verdict
    )


def plain_figure(estimate: float, unit: str, verdict: str) -> Figure:
    return Figure(estimate=estimate, low=None, high=None, unit=unit, verdict=verdict)
