"""Estimates with their intervals: `low` and `high` enclose the truth at the confidence asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """One number, in the unit of its sample."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times one side is the other, from `num_blocks` blocks of each."""

    estimate: float
    low: float
    high: float
    num_blocks: int

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"
