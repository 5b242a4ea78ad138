"""Blocks of several sides in turn: the sides of one block share the machine's mood, the arrivals and the payloads."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trivet.experiment.measured import Measured
from trivet.experiment.pairs import Deciding

# The sides of one block, by their names, in this order; without those that come after one that was cut off.
Measure = Callable[[Sequence[str], int], Mapping[str, Measured]]
Restart = Callable[[str], None]  # a side, by its name


def block_orders(sides: Sequence[str], num_blocks: int, seed: int) -> list[list[str]]:
    """The order of the sides in each block, each drawn for itself.

    A coin of its own for each block is what sequential tests on the pairs are valid under. Turning the order around
    in every second block (ABBA) would cancel a drift a little better, and make every second coin a known one.
    """
    rng = np.random.default_rng(seed)
    return [[sides[i] for i in rng.permutation(len(sides))] for _ in range(num_blocks)]


def parts_of(num_blocks: int, num_starts: int) -> list[list[int]]:
    """The blocks of each observation: of each start, as many as can be and the first ones one more; else each block."""
    num = min(num_starts, num_blocks) if num_starts > 1 else num_blocks
    return [part.tolist() for part in np.array_split(np.arange(num_blocks), max(1, num))]


def interleave(
    sides: Sequence[str],
    measure: Measure,
    *,
    num_blocks: int,
    seed: int,
    until_decided: bool = False,
    num_starts: int = 1,
    restart: Restart = lambda side: None,
    slo_latency_ns: int | None = None,
) -> Mapping[str, list[Measured]]:
    """Measure every side once in each block, in turn.

    Args: until_decided: end when the first two sides have been told apart in a figure, or their latencies found equivalent.
    num_starts: so many parts of the blocks have servers of their own: `restart` is called for each side, in the order of
    the block that follows. Not before the first part: its servers run already.
    A block that was cut off (Ctrl-C) is the last that is measured.
    """
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    deciding, orders = Deciding(slo_latency_ns), block_orders(sides, num_blocks, seed)
    for part in parts_of(num_blocks, num_starts):
        if num_starts > 1 and part[0] > 0:
            for side in orders[part[0]]:
                restart(side)
        for block in part:
            measured = measure(orders[block], block)
            for side, one in measured.items():
                found[side].append(one)
            if any(one.record.partial for one in measured.values()):
                return found
        if until_decided and len(sides) > 1:
            deciding.add([(found[sides[0]][block], found[sides[1]][block]) for block in part])
            if deciding.is_decided():
                break
    return found
