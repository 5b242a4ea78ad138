"""Blocks of several sides in turn: the sides of one block share the machine's mood, the arrivals and the payloads."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trivet.experiment.measured import Measured
from trivet.experiment.pairs import Deciding

Measure = Callable[[str, int], Measured]  # of a side, by its name, in a block


def block_orders(sides: Sequence[str], num_blocks: int, seed: int) -> list[list[str]]:
    """The order of the sides in each block, each drawn for itself.

    A coin of its own for each block is what sequential tests on the pairs are valid under. Turning the order around
    in every second block (ABBA) would cancel a drift a little better, and make every second coin a known one.
    """
    rng = np.random.default_rng(seed)
    return [[sides[i] for i in rng.permutation(len(sides))] for _ in range(num_blocks)]


def interleave(
    sides: Sequence[str],
    measure: Measure,
    *,
    num_blocks: int,
    seed: int,
    until_decided: bool = False,
) -> Mapping[str, list[Measured]]:
    """Measure every side once in each block, in turn.

    Args: until_decided: end when the first two sides have been told apart, or found equivalent.
    A side that was cut off (Ctrl-C) is the last that is measured.
    """
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    deciding = Deciding()
    for block, order in enumerate(block_orders(sides, num_blocks, seed)):
        for side in order:
            measured = measure(side, block)
            found[side].append(measured)
            if measured.record.partial:
                return found
        if until_decided and len(sides) > 1:
            deciding.add(found[sides[0]][-1], found[sides[1]][-1])
            if deciding.is_decided():
                return found
    return found
