"""What is believed of every configuration: the simulator's forecasts, moved by what live blocks showed.

Two kinds of live blocks count. At the reference rate a figure is what it is. Near the largest rate each block is one
sample of that rate: the latency that it saw, against what a block of its length would see at the limit (sight.py), says how
much closer or farther the limit lies, by the slope that the simulator has there. The nearer to the limit a block was
offered, the more it counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.study import Goal, TrialBlock
from trivet.tune.blocks import Estimate, Sample, estimates
from trivet.tune.choice import Choice
from trivet.tune.correction import Correction
from trivet.tune.prices import PRICE
from trivet.tune.screen import DEFAULT_SLOPE, Screened

FURTHEST = 0.35  # how far from where it was offered one block may move a limit, on the log scale
FULL_WEIGHT_WITHIN = 0.10
ROOM = 1 / 2  # of what a block sees at the limit: luck alone seldom halves it
REFERENCE_FIGURES = ("latency_p50_ms", "latency_p99_ms", "cpu_ms_per_request", PRICE, "memory_mib")
LIMIT = "max_rate_rps"
MOST_RPS = "most_rps"  # of a block: what upstreams elsewhere may be asked; absent: all runs here


@dataclass(slots=True)
class Records:
    """All that live blocks gave, by choice, in the order measured; and what did not run, with the reason."""

    blocks: dict[Choice, list[TrialBlock]] = field(default_factory=dict)
    failed: dict[Choice, str] = field(default_factory=dict)
    order: dict[Choice, None] = field(default_factory=dict)  # as they were first tried

    def fail(self, choice: Choice, reason: str) -> None:
        self.order.setdefault(choice)
        self.failed[choice] = reason

    def add(self, choice: Choice, block: TrialBlock) -> None:
        self.order.setdefault(choice)
        self.blocks.setdefault(choice, []).append(block)

    @property
    def num_blocks(self) -> int:
        """The number that the next block gets."""
        return 1 + max((block.block for found in self.blocks.values() for block in found), default=-1)

    def measured(self) -> list[Choice]:
        """Those with a block that counts, in the order measured."""
        return [choice for choice, found in self.blocks.items() if any(not block.invalid for block in found)]


def moved(block: TrialBlock, slope: float, slo_latency_ns: int) -> float:
    """How far the largest rate is from where a block was offered, on the log scale; cut off at FURTHEST.

    A latency of less than half of what is seen at the limit is that of a server with room: there it hardly grows with the
    rate, and no slope says where it will.
    Args: slope: where the block has none of its own.
    """
    latency_ms = block.values.get("slo_latency_ms")
    at_limit_ms = block.at_limit_ms or slo_latency_ns / 1e6
    if not latency_ms:
        return -FURTHEST
    most = block.values.get(MOST_RPS, math.inf)  # a rate that is never offered says nothing of the limit
    furthest = min(FURTHEST, math.log(most / block.rate_rps)) if most > block.rate_rps else 0.0
    if latency_ms < ROOM * at_limit_ms:
        return furthest
    return max(-FURTHEST, min(furthest, (block.slope or slope) * math.log(at_limit_ms / latency_ms)))


def limit_sample(block: TrialBlock, slope: float, slo_latency_ns: int) -> Sample:
    """The log of the largest rate, as one block has it."""
    further = moved(block, slope, slo_latency_ns)
    weight = 1 / (1 + (further / FULL_WEIGHT_WITHIN) ** 2)
    return Sample(block.block, math.log(block.rate_rps) + further, weight)


def telling(blocks: Sequence[TrialBlock], slope: float, slo_latency_ns: int) -> list[TrialBlock]:
    """The blocks that were near enough to say where the limit is; where none was, the last: it was the nearest."""
    near = [block for block in blocks if abs(moved(block, slope, slo_latency_ns)) < FURTHEST]
    return near or list(blocks[-1:])


class Beliefs:
    """Computed anew from all records: the same records give the same beliefs, in whatever process."""

    def __init__(self, found: Sequence[Screened], records: Records, goal: Goal) -> None:
        self._screened = {one.choice: one for one in found}
        self._goal = goal
        self._records = records
        self._measured = {name: estimates(self._samples(name)) for name in (LIMIT, *REFERENCE_FIGURES)}
        self._measured[LIMIT] = {
            choice: replace(estimate, error=math.hypot(estimate.error, self._simulated_error(choice)))
            for choice, estimate in self._measured[LIMIT].items()
        }
        self._corrections = {name: self._learned(name) for name in self._measured}

    def measured(self, choice: Choice, figure: str) -> Estimate | None:
        """Of the log of a figure, from live blocks alone."""
        return self._measured[figure].get(choice)

    def simulated(self, choice: Choice, figure: str) -> float | None:
        """The simulator's own forecast; of a choice that it cannot tell from another, that one's."""
        one = self._screened.get(choice)
        return None if one is None else one.figures.get(figure)

    def slope(self, choice: Choice) -> float:
        one = self._screened.get(choice)
        return DEFAULT_SLOPE if one is None else one.slope

    def know(self, choice: Choice, like: Screened) -> None:
        """Another choice has the forecast of `like`: simulation cannot tell them apart."""
        self._screened.setdefault(choice, Screened(choice, like.setup, like.figures, like.slope))

    def screened(self, choice: Choice) -> Screened | None:
        return self._screened.get(choice)

    def predicted(self, choice: Choice, figure: str) -> tuple[float, float] | None:
        """Mean and standard deviation of the log of a figure; None: it was not simulated."""
        simulated = self.simulated(choice, figure)
        if not simulated:
            return None
        mean, covariance = self._corrections[figure].predict([choice])
        return math.log(simulated) + float(mean[0]), math.sqrt(max(0.0, float(covariance[0, 0])))

    def joint(
        self, choices: Sequence[Choice], figure: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean, shape (n,), and covariance, shape (n, n), of the logs of a figure of choices that were simulated."""
        simulated = [math.log(self.simulated(choice, figure) or math.nan) for choice in choices]
        mean, covariance = self._corrections[figure].predict(choices)
        return np.array(simulated) + mean, covariance

    def limit_rps(self, choice: Choice) -> float | None:
        """Where to offer the next block near the limit: forecast and samples, weighed by how sure they are."""
        predicted = self.predicted(choice, LIMIT)
        return None if predicted is None else math.exp(predicted[0])

    def _samples(self, figure: str) -> dict[Choice, list[Sample]]:
        found: dict[Choice, list[Sample]] = {}
        for choice, blocks in self._records.blocks.items():
            valid = [block for block in blocks if not block.invalid]
            if figure == LIMIT:
                slope, budget = self.slope(choice), self._goal.slo_latency_ns
                limits = [block for block in valid if block.kind == "limit"]
                samples = [limit_sample(block, slope, budget) for block in telling(limits, slope, budget)]
            else:
                samples = [
                    Sample(block.block, math.log(block.values[figure]))
                    for block in valid
                    if block.kind == "reference" and block.values.get(figure, 0) > 0
                ]
            if samples:
                found[choice] = samples
        return found

    def _simulated_error(self, choice: Choice) -> float:
        """Of what blocks see at the limit: no number of live blocks makes it smaller."""
        return max((block.limit_error for block in self._records.blocks.get(choice, ())), default=0.0)

    def _learned(self, figure: str) -> Correction:
        known = [
            (choice, estimate.mean - math.log(simulated), estimate.error)
            for choice, estimate in self._measured[figure].items()
            if (simulated := self.simulated(choice, figure))
        ]
        choices, residuals, errors = zip(*known, strict=True) if known else ((), (), ())
        return Correction(choices, residuals, errors)
