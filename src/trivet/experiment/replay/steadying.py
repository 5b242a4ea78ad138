"""Times of several runs with the speed of their cores taken out, as far as it explains them.

While a run was measured, a fixed piece of work was timed on its cores again and again (catalog/core_speed.py). How much
of a time follows it is learned from the runs themselves: where the cores were slower for a moment, the times of that moment
say by how much they were. It is a regression within the runs, so that what differs between them has no part in it, with
a prior that says what holds on any machine: times are in proportion to the server's cores. On a machine of two speeds,
engine times of a minute varied by 10 to 14 % from run to run, and by 1.6 to 4.5 % with that taken out (decision 42).

Source: analysis of covariance; Bayesian linear regression, Bishop (2006), section 3.3.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.core_speed import CoreSpeed
from trivet.experiment.replay.windows import ENGINE, Quantity, times_of
from trivet.spec.row import RowColumns

AROUND_NS = 200_000_000  # on either side of a request: what four pieces say
EXTREMES = 0.02  # of the pieces at either end: of those that were cold or interrupted
BIN_NS = 1_000_000_000  # in which times and speeds are averaged: a piece more or less is no error of it then
MIN_IN_BIN = 5
GENERATORS_PART = 0.1  # of what a latency grows by where all cores are slower
SLOPE_ERROR = 0.2  # standard error beforehand of each core's part, as a share of it
MIN_BINS = 10  # of all runs together

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the cores were about each request of a run; columns: the server's cores, and the generator's.

    logs: of how long pieces took, shape (rows, 2).
    noise: variance of their mean over BIN_NS that is the pieces' own, shape (2,).
    """

    logs: Floats
    noise: Floats


def pace(
    rows: RowColumns,
    speeds: Mapping[int, CoreSpeed],
    *,
    server: Collection[int],
    generator: Collection[int],
) -> Pace | None:
    """None: nothing is known of the server's cores, or of the generator's."""
    if not rows.num_rows:
        return None
    middles_ns = (rows["sent_ns"] + rows["done_ns"]) // 2
    columns, noise = [], []
    for cores in (server, generator):
        known = [speeds[core] for core in cores if core in speeds and len(speeds[core].instants_ns)]
        if not known:
            return None
        pieces = [(one.instants_ns, _logs(one.pieces_ns)) for one in known]
        columns.append(np.mean([_around(*one, middles_ns) for one in pieces], axis=0))
        noise.append(np.mean([_noise(*one) for one in pieces]) / len(pieces))
    return Pace(np.stack(columns, axis=1), np.array(noise))


def _logs(pieces_ns: NDArray[np.int64]) -> Floats:
    bounds = np.maximum(np.quantile(pieces_ns, [EXTREMES, 1 - EXTREMES]), 1)
    return np.asarray(np.log(np.clip(pieces_ns, *bounds)), np.float64)


def _noise(instants_ns: NDArray[np.int64], logs: Floats) -> float:
    """Of a mean over BIN_NS, by what neighbours differ (von Neumann): a mode of the core lasts longer than that."""
    if len(logs) < 2:
        return 0.0
    num = max(1.0, BIN_NS * (len(logs) - 1) / float(instants_ns[-1] - instants_ns[0]))
    return float(np.mean(np.diff(logs) ** 2)) / 2 / num


def _around(instants_ns: NDArray[np.int64], logs: Floats, at_ns: NDArray[np.int64]) -> Floats:
    """The mean log of the pieces about each instant; between pieces that are far apart, in between."""
    sums = np.concatenate([[0.0], np.cumsum(logs)])
    first, last = (np.searchsorted(instants_ns, at_ns + side) for side in (-AROUND_NS, AROUND_NS))
    nums = last - first
    means = (sums[last] - sums[first]) / np.maximum(nums, 1)
    return np.asarray(np.where(nums > 0, means, np.interp(at_ns, instants_ns, logs)), np.float64)


@dataclass(frozen=True, slots=True)
class Steadied:
    """What the cores' speed explains of one quantity in several runs, the first of them the recorded one.

    slowed: for each run, the log of how much each of its times was slowed, shape (rows,); 0 on average over all runs.
    error: standard error of the slopes, in what is taken out between the recorded run and the mean of the others, log scale.
    taken_out: standard deviation of what is taken out of single seconds, log scale.
    explained: log of how many times longer the others' times are, by their cores alone.
    """

    slowed: tuple[Floats, ...]
    error: float
    taken_out: float
    explained: float


def steadied(quantity: Quantity, runs: Sequence[RowColumns], paces: Sequence[Pace | None]) -> Steadied | None:
    """None: the quantity is no time, the pace of a run is not known, or they are too short to learn from."""
    known = [one for one in paces if one is not None]
    if not quantity.is_time or len(known) < len(runs):
        return None
    binned = [_bins(quantity, rows, one.logs) for rows, one in zip(runs, known, strict=True)]
    if sum(len(times) for times, _ in binned) < MIN_BINS:
        return None
    noise = np.mean([one.noise for one in known], axis=0)
    slopes, covariance = _slopes(binned, noise, *_prior(is_engine=quantity is ENGINE))
    means = np.array([one.logs.mean(axis=0) for one in known])
    change = means[1:].mean(axis=0) - means[0]
    return Steadied(
        tuple((one.logs - means.mean(axis=0)) @ slopes for one in known),
        float(np.sqrt(change @ covariance @ change)),
        float(np.std(np.concatenate([around for _, around in binned]) @ slopes)),
        float(change @ slopes),
    )


def _prior(*, is_engine: bool) -> tuple[Floats, Floats]:
    """Mean and covariance of the slopes: times in proportion to what they run on.

    The engine's time has nothing of the generator; a latency has some, and behind a queue more of the server.
    """
    generator = 0.0 if is_engine else GENERATORS_PART
    mean = np.array([1 - generator, generator])
    return mean, np.diag((SLOPE_ERROR * np.array([1.0, max(generator, 1e-3)])) ** 2)


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
    binned: Sequence[tuple[Floats, Floats]], noise: Floats, expected: Floats, spread: Floats
) -> tuple[Floats, Floats]:
    """Posterior mean and covariance of the slopes, each run with a level of its own.

    Where the cores' speed hardly varies, what varies is the pieces' noise, which no time follows: it is taken out of the
    pieces' variance, and put to that of the times.   Source: Fuller (1987), "Measurement Error Models", section 2.2.
    Args: noise: of the means, shape (columns,).  expected, spread: mean and covariance beforehand.
    """
    pairs = [pair for pair in binned if len(pair[0])]
    y = np.concatenate([times - times.mean() for times, _ in pairs])
    x = np.concatenate([around - around.mean(axis=0) for _, around in pairs])
    degrees = max(1, len(y) - len(pairs) - x.shape[1])
    moments = _positive(x.T @ x - len(y) * np.diag(noise))
    precision = np.linalg.inv(spread)
    slopes, covariance = expected, spread
    for _ in range(3):  # the noise is that of the fit, and the fit weighs the prior by the noise
        variance = float(np.sum((y - x @ slopes) ** 2)) / degrees + float(slopes**2 @ noise) + 1e-9
        covariance = np.linalg.inv(moments / variance + precision)
        slopes = covariance @ (x.T @ y / variance + precision @ expected)
    return slopes, np.asarray(covariance, np.float64)


def _positive(matrix: Floats) -> Floats:
    """The nearest one without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors @ np.diag(np.maximum(values, 0)) @ vectors.T, np.float64)
