"""Intervals for a percentile as they are published and used, in their simplest honest forms."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Sample = NDArray[np.float64]
Method = Callable[[Sample, float], tuple[float, float] | None]

TAIL = 0.025  # two-sided 95 %
SECTIONS = 20
BLOCKS, STARTS_PER_BLOCK, RESAMPLES, LEVELS = 50, 10, 200, 100


def independent(latencies: Sample, p: float) -> tuple[float, float] | None:
    """Order statistics at the binomial's ranks: right where requests know nothing of each other."""
    num = len(latencies)
    low = int(stats.binom.ppf(TAIL, num, p)) - 1
    high = int(stats.binom.ppf(1 - TAIL, num, p))
    if low < 0 or high >= num:
        return None
    ordered = np.partition(latencies, [low, high])
    return float(ordered[low]), float(ordered[high])


def sections(latencies: Sample, p: float) -> tuple[float, float] | None:
    """The quantiles of 20 sections about that of the whole, Student's t with 19 degrees of freedom."""
    length = len(latencies) // SECTIONS
    rank = math.ceil(p * length) - 1
    each = np.partition(latencies[: SECTIONS * length].reshape(SECTIONS, length), rank, axis=1)[:, rank]
    whole = np.partition(latencies, math.ceil(p * len(latencies)) - 1)[math.ceil(p * len(latencies)) - 1]
    error = math.sqrt(float(((each - whole) ** 2).sum()) / (SECTIONS * (SECTIONS - 1)))
    half = float(special.stdtrit(SECTIONS - 1, 1 - TAIL)) * error
    return float(whole) - half, float(whole) + half


def block_bootstrap(latencies: Sample, p: float) -> tuple[float, float] | None:
    """Moving blocks of a fiftieth of the run, 200 resamples, the percentile of each (Künsch, 1989).

    To be quick it counts on a grid of levels, draws a line between them, and starts at every tenth of a block.
    """
    num = len(latencies)
    step = num // (BLOCKS * STARTS_PER_BLOCK)
    used = step * BLOCKS * STARTS_PER_BLOCK
    shares = np.geomspace(min(0.9, 8 * (1 - p)), max((1 - p) / 16, 1 / num), LEVELS)
    levels = np.quantile(latencies, 1 - shares)
    exceeded = np.searchsorted(levels, latencies[:used])
    piece = np.repeat(np.arange(used // step), step)
    counts = np.bincount(piece * (LEVELS + 1) + exceeded, minlength=(used // step) * (LEVELS + 1))
    counts = counts.reshape(-1, LEVELS + 1).astype(np.float64)
    # counts[i, k] of piece i: how many of its requests exceed exactly k levels; summed from above: at least k.
    exceeding = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:]
    running = np.concatenate([np.zeros((1, LEVELS)), np.cumsum(exceeding, axis=0)])
    of_block = running[STARTS_PER_BLOCK:] - running[:-STARTS_PER_BLOCK]
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(BLOCKS, np.full(len(of_block), 1 / len(of_block)), RESAMPLES)
    target = (1 - p) * used
    ordered = np.sort([np.interp(-target, -above, levels) for above in drawn @ of_block])
    return float(ordered[int(TAIL * RESAMPLES)]), float(ordered[int((1 - TAIL) * RESAMPLES) - 1])


RIVALS: dict[str, Method] = {
    "independent": independent,
    "20 sections": sections,
    "block bootstrap": block_bootstrap,
}
