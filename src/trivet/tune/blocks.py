"""What live blocks say of each configuration, with the mood of the machine taken out.

Configurations that were measured in one block share its mood: y[c, b] = a[c] + m[b] + noise, on a log scale, with m about
zero and as wide as the noise. Whoever was measured beside the incumbent is so compared with all others, too.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trivet.stats import student_t
from trivet.stats.interval import Interval

K = TypeVar("K", bound=Hashable)
MIN_SPREAD = 0.01  # of one block on the log scale, whatever few blocks happen to show
MOOD_WEIGHT = 1.0  # variance of the noise over that of the mood


@dataclass(frozen=True, slots=True)
class Sample:
    """One side of one block: a log value, and how much it counts beside a full one."""

    block: int
    value: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """mean and error: of the log value.  degrees: of freedom; 0: the spread is assumed, not measured."""

    mean: float
    error: float
    degrees: int

    def interval(self, confidence: float = 0.95) -> Interval:
        """On the scale of the figure."""
        share = (1 + confidence) / 2
        width = student_t.quantile(share, max(1, self.degrees)) * self.error
        return Interval(
            math.exp(self.mean), math.exp(self.mean - width), math.exp(min(700, self.mean + width))
        )


def estimates(samples: Mapping[K, Sequence[Sample]]) -> dict[K, Estimate]:
    """Ridge regression with one unknown a configuration, one a block. Those without a sample have no estimate.

    Source: Henderson's mixed-model equations, with the ratio of variances fixed at MOOD_WEIGHT.
    """
    keys = [key for key, found in samples.items() if found]
    blocks = sorted({sample.block for key in keys for sample in samples[key]})
    if not keys:
        return {}
    rows, values, weights = [], [], []
    for column, key in enumerate(keys):
        for sample in samples[key]:
            row = np.zeros(len(keys) + len(blocks))
            row[column] = row[len(keys) + blocks.index(sample.block)] = 1.0
            rows.append(row)
            values.append(sample.value)
            weights.append(sample.weight)
    design, y, w = np.array(rows), np.array(values), np.array(weights)
    penalty = np.diag([1e-9] * len(keys) + [MOOD_WEIGHT] * len(blocks))
    inverse = np.linalg.inv((design.T * w) @ design + penalty)
    solution = inverse @ ((design.T * w) @ y)
    residuals = y - design @ solution
    degrees = len(values) - len(keys)
    # The moods take part of the noise with them: what they cost is in the quadratic form (Henderson's).
    scale = float(w @ residuals**2 + MOOD_WEIGHT * solution[len(keys) :] @ solution[len(keys) :])
    spread = math.sqrt(scale / degrees) if degrees > 0 else 5 * MIN_SPREAD
    spread = max(spread, MIN_SPREAD)
    return {
        key: Estimate(float(solution[i]), spread * math.sqrt(float(inverse[i, i])), max(0, degrees))
        for i, key in enumerate(keys)
    }
