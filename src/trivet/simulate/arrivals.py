"""Arrival processes for virtual time. Instants are int64 ns, ascending, drawn before the run from a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError

Instants = NDArray[np.int64]


def poisson(rng: np.random.Generator, rate_per_ns: float, horizon_ns: int) -> Instants:
    """Independent arrivals at a constant rate in [0, horizon)."""
    num = rng.poisson(rate_per_ns * horizon_ns)
    return np.sort(rng.integers(0, horizon_ns, num, dtype=np.int64))


def bursty(
    rng: np.random.Generator,
    rate_per_ns: float,
    horizon_ns: int,
    *,
    burst_ns: int,
    ratio: float = 4.0,
    share: float = 0.25,
) -> Instants:
    """Two-state Markov-modulated Poisson process whose mean rate is `rate_per_ns`.

    Bursts come at `ratio` times the quiet rate, last `burst_ns` on average (exponential) and fill `share` of the
    time. Counts are scaled so that the mean over the horizon is kept: a cell's load is what it says.
    """
    quiet_ns = burst_ns * (1 - share) / share
    edges = [0.0]
    in_burst = bool(rng.random() < share)
    first = in_burst
    while edges[-1] < horizon_ns:
        edges.append(edges[-1] + rng.exponential(burst_ns if in_burst else quiet_ns))
        in_burst = not in_burst
    edges[-1] = float(horizon_ns)
    lengths = np.diff(np.array(edges))
    bursts = (np.arange(len(lengths)) % 2 == 0) == first
    weights = lengths * np.where(bursts, ratio, 1.0)
    # Operational time: a Poisson process on [0, sum of weights) mapped back through the cumulative rate.
    marks = np.sort(rng.random(rng.poisson(rate_per_ns * horizon_ns))) * weights.sum()
    cumulative = np.concatenate([[0.0], np.cumsum(weights)])
    return np.asarray(np.interp(marks, cumulative, np.array(edges)), dtype=np.int64)


def replayed(rng: np.random.Generator, trace_ns: Instants, rate_per_ns: float, horizon_ns: int) -> Instants:
    """A recorded trace from a random place on, sped up to the rate; it starts again at its end.

    Every gap is scaled alike, so bursts keep their height over the mean and their length in requests. The slice is
    scaled to the rate by its own mean.

    Raises: UserError: a trace of less than two arrivals.
    """
    if len(trace_ns) < 2:
        raise UserError(f"{len(trace_ns)} arrivals; a trace needs at least 2: record longer")
    num = max(2, round(rate_per_ns * horizon_ns))
    gaps = np.diff(trace_ns, append=trace_ns[-1] + (trace_ns[-1] - trace_ns[0]) // max(1, len(trace_ns) - 1))
    taken = gaps[(int(rng.integers(len(gaps))) + np.arange(num)) % len(gaps)].astype(np.float64)
    instants = np.cumsum(taken) - taken[0]
    return np.asarray(instants * (horizon_ns / (instants[-1] + taken.mean())), dtype=np.int64)


def spread(stamps_ns: Instants, rng: np.random.Generator) -> Instants:
    """A trace whose stamps are rounded: arrivals of one stamp lie evenly at random between it and the next, from 0 on.

    Mooncake's traces, for one, are rounded to about 3 s.
    Args: stamps_ns: ascending, at least two different ones.
    """
    distinct = np.unique(stamps_ns)
    widths = np.diff(distinct, append=distinct[-1] + int(np.median(np.diff(distinct))))
    width = widths[np.searchsorted(distinct, stamps_ns)]
    instants = np.sort(stamps_ns + (rng.random(len(stamps_ns)) * width).astype(np.int64))
    return np.asarray(instants - instants[0], dtype=np.int64)
