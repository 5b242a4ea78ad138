"""Histories of a figure as a gate finds them, simulated, and what becomes of their suspects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks._paired_queues import coin, student_t3
from trivet.stats.change_points import ChangePoint, change_points
from trivet.stats.sequential import PairedSequence

Rng = np.random.Generator
MARGIN = 0.02
MAX_PAIRS = 30


@dataclass(frozen=True, slots=True)
class History:
    """`changed_at`: the first slower run, by `slowdown`; 1 where there is none."""

    values: NDArray[np.float64]
    changed_at: int
    slowdown: float


def history(rng: Rng, slowdown: float = 1.0) -> History:
    """30 to 60 runs: noise of 1 to 3 %, autocorrelated; a drift of up to 3 % over all; one run in thirty an outlier.

    A slowdown comes after at least 10 runs and 5 before the last.
    """
    num = int(rng.integers(30, 61))
    noise, memory = rng.uniform(0.01, 0.03), rng.uniform(0, 0.5)
    steps = rng.normal(0, noise * np.sqrt(1 - memory**2), num)
    logs = np.empty(num)
    logs[0] = rng.normal(0, noise)
    for i in range(1, num):
        logs[i] = memory * logs[i - 1] + steps[i]
    logs += np.linspace(0, rng.uniform(-0.03, 0.03), num)
    logs += (rng.random(num) < 1 / 30) * rng.uniform(0.05, 0.4, num)
    changed_at = int(rng.integers(10, num - 4))
    logs[changed_at:] += np.log(slowdown)
    return History(20 * np.exp(logs), changed_at, slowdown)


def suspects(series: NDArray[np.float64]) -> list[ChangePoint]:
    """The changes for the worse of a figure whose smaller values are better."""
    return [change for change in change_points(series) if change.ratio > 1]


def confirmed(rng: Rng, slowdown: float) -> tuple[bool, int]:
    """Whether an interleaved comparison of before and after ends in "worse", and after how many pairs it ended."""
    sequence = PairedSequence(MARGIN)
    noise = 2 * student_t3(rng, (MAX_PAIRS,)) * coin(rng, (MAX_PAIRS,))
    for value in np.log(slowdown) + noise:
        sequence.add(float(value))
        if sequence.verdict() != "cannot tell":
            break
    return sequence.verdict() == "worse", sequence.num_pairs


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one history: was anything suspected, was the run measured along from before the change, was it confirmed."""

    suspected: bool
    before: bool
    regression: bool
    pairs: int


def outcome(rng: Rng, slowdown: float = 1.0) -> Outcome:
    """The newest configuration, which is what a gate is asked about, beside one from before the oldest suspect."""
    one = history(rng, slowdown)
    found = suspects(one.values)
    if not found:
        return Outcome(False, False, False, 0)
    before = found[0].steady < one.changed_at
    is_worse, pairs = confirmed(rng, slowdown if before else 1.0)
    return Outcome(True, before, is_worse, pairs)
