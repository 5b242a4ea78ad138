"""Times of several runs with the speed of their cores taken out, as far as it explains them.

While a run was measured, fixed pieces of work were timed on its cores (catalog/core_speed.py). How much of a time follows
them is learned from the runs themselves: where the cores were slower for a moment, the times of that moment say by how
much they were. It is a regression within the runs, so that what differs between them has no part in it, with a prior that
says what holds on any machine: times are in proportion to the server's cores. On a machine of two speeds two runs of 20 s
differed by 18 %, and by 2 to 3 % with that taken out (docs/benchmarks/measuring.md).

Source: analysis of covariance; Bayesian linear regression, Bishop (2006), section 3.3.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.core_speed import KINDS, CoreSpeed
from trivet.experiment.replay.windows import ENGINE, Quantity, times_of
from trivet.spec.row import RowColumns

AROUND_NS = 25_000_000  # on either side of a request: what a handful of pieces say
EXTREMES = 0.02  # of the pieces at either end: of those that were cold or interrupted
BIN_NS = 500_000_000  # in which times and speeds are averaged: a piece more or less is no error of it then
MIN_IN_BIN = 5
MIN_BINS = 10  # of all runs together

Floats = NDArray[np.float64]


def pace(
    rows: RowColumns,
    speeds: Mapping[int, CoreSpeed],
    *,
    server: Collection[int],
    generator: Collection[int],
) -> Floats | None:
    """Logs of how long pieces of work took around each request: shape (rows, 2 * KINDS), the server's cores first.

    None: nothing is known of one of the two.
    """
    if not rows.num_rows:
        return None
    middles_ns = (rows["sent_ns"] + rows["done_ns"]) // 2
    columns = []
    for cores in (server, generator):
        known = [speeds[core] for core in cores if core in speeds and len(speeds[core].instants_ns)]
        if not known:
            return None
        for kind in range(KINDS):
            logs = [_around(one.instants_ns, one.pieces_ns[kind], middles_ns) for one in known]
            columns.append(np.mean(logs, axis=0))
    return np.stack(columns, axis=1)


def _around(instants_ns: NDArray[np.int64], pieces_ns: NDArray[np.int64], at_ns: NDArray[np.int64]) -> Floats:
    """The mean log of the pieces about each instant; between pieces that are far apart, in between."""
    logs = np.log(np.clip(pieces_ns, *np.maximum(np.quantile(pieces_ns, [EXTREMES, 1 - EXTREMES]), 1)))
    sums = np.concatenate([[0.0], np.cumsum(logs)])
    first, last = (np.searchsorted(instants_ns, at_ns + side) for side in (-AROUND_NS, AROUND_NS))
    nums = last - first
    means = (sums[last] - sums[first]) / np.maximum(nums, 1)
    return np.asarray(np.where(nums > 0, means, np.interp(at_ns, instants_ns, logs)), np.float64)


@dataclass(frozen=True, slots=True)
class Steadied:
    """What the cores' speed explains of one quantity in several runs, the first of them the recorded one.

    slowed: for each run, the log of how much each of its times was slowed, shape (rows,); 0 on average over all runs.
    error: standard error of what is left between the recorded run and the mean of the others, log scale.
    explained: log of how many times longer the others' times are, by their cores alone.
    """

    slowed: tuple[Floats, ...]
    error: float
    explained: float


def steadied(
    quantity: Quantity, runs: Sequence[RowColumns], paces: Sequence[Floats | None]
) -> Steadied | None:
    """None: the quantity is no time, the pace of a run is not known, or they are too short to learn from."""
    known = [one for one in paces if one is not None]
    if not quantity.is_time or len(known) < len(runs):
        return None
    binned = [_bins(quantity, rows, one) for rows, one in zip(runs, known, strict=True)]
    if sum(len(times) for times, _ in binned) < MIN_BINS:
        return None
    slopes, covariance = _slopes(binned, *_PRIORS[quantity is ENGINE])
    means = np.array([one.mean(axis=0) for one in known])
    change = means[1:].mean(axis=0) - means[0]
    return Steadied(
        tuple((one - means.mean(axis=0)) @ slopes for one in known),
        float(np.sqrt(change @ covariance @ change)),
        float(change @ slopes),
    )


# Slopes of the server's kinds of pieces, then the generator's: what is expected, and how far from it they may be. The
# engine's time has nothing of the generator; a latency has some, and behind a queue more of the server.
_PRIORS = {
    True: (np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.4, 0.4, 0.001, 0.001])),
    False: (np.array([0.45, 0.45, 0.05, 0.05]), np.array([0.4, 0.4, 0.15, 0.15])),
}


def _bins(quantity: Quantity, rows: RowColumns, around: Floats) -> tuple[Floats, Floats]:
    """Means of the log times and of the pace in stretches of the run: shapes (bins,) and (bins, columns)."""
    usable, times = times_of(quantity, rows)
    usable = usable & (times > 0)
    places = rows["intended_ns"][usable] // BIN_NS
    _, places = np.unique(places, return_inverse=True)
    nums = np.bincount(places) if len(places) else np.array([], np.int64)
    kept = nums >= MIN_IN_BIN

    def mean(values: Floats) -> Floats:
        return np.asarray((np.bincount(places, values) / np.maximum(nums, 1))[kept], np.float64)

    if not kept.any():
        return np.empty(0), np.empty((0, around.shape[1]))
    return mean(np.log(times[usable])), np.stack([mean(column) for column in around[usable].T], axis=1)


def _slopes(
    binned: Sequence[tuple[Floats, Floats]], expected: Floats, spread: Floats
) -> tuple[Floats, Floats]:
    """Posterior mean and covariance of the slopes, each run with a level of its own."""
    pairs = [pair for pair in binned if len(pair[0])]
    y = np.concatenate([times - times.mean() for times, _ in pairs])
    x = np.concatenate([around - around.mean(axis=0) for _, around in pairs])
    degrees = max(1, len(y) - len(pairs) - x.shape[1])
    prior = np.diag(1 / spread**2)
    slopes = expected
    for _ in range(3):  # the noise is that of the fit, and the fit weighs the prior by the noise
        variance = max(float(np.sum((y - x @ slopes) ** 2)) / degrees, 1e-9)
        covariance = np.linalg.inv(x.T @ x / variance + prior)
        slopes = covariance @ (x.T @ y / variance + prior @ expected)
    return slopes, covariance
