"""A measured run with the simulator beside it: the interval of its p99, narrower where both follow the same arrivals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.load.arrivals import Arrivals, Recorded
from trivet.simulate.asked import EVENLY, Asked
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.record import Simulated
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup
from trivet.stats.control_variate import Controlled, controlled_interval

Ints = NDArray[np.int64]

NUM_SIMULATED, NUM_FRESH = 4, 30  # of the run's own arrivals; of fresh ones


def controlled_percentile(
    profile: ServiceProfile,
    setup: Setup,
    process: Arrivals,
    intended_ns: Ints,
    latencies_ns: Ints,
    p: float,
    *,
    is_counted: NDArray[np.bool_],
    seed: int,
    lengths: Ints | None = None,
    asked: Asked = EVENLY,
    confidence: float = 0.95,
    num_simulated: int = NUM_SIMULATED,
    num_fresh: int = NUM_FRESH,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Controlled:
    """Percentile `p` of the latencies that count, nanoseconds.

    Args: process: what the arrivals were drawn from: its own rate and duration.  intended_ns: shape (n,), ascending from
    0: every request of the run, warm-up too.  latencies_ns, is_counted: shape (n,); what does not count (warm-up,
    requests without result) is simulated and left out.  lengths, asked: of the inputs.
    Raises: UserError: a trace (no fresh one can be drawn), or simulated requests that get no result.
    NotProfiledError: as `simulated`.  TooFewError: where the plain interval is needed and refused.
    """
    if isinstance(process, Recorded):
        raise UserError(
            "arrivals of a trace cannot be drawn again, so a simulator has no expectation on them"
        )
    total = num_simulated + num_fresh
    rngs = np.random.default_rng(seed).spawn(total)
    own, fresh = [], []
    for index, rng in enumerate(rngs):
        if index < num_simulated:
            run = simulated(profile, setup, intended_ns, lengths, rng=rng, asked=asked)
            own.append(_latencies(run)[is_counted])
        else:
            drawn = None if lengths is None else rng.permutation(lengths)
            instants = process.instants_ns(rng)
            sizes = None if drawn is None else np.resize(drawn, len(instants))
            other = (
                asked
                if asked.items is None
                else Asked(np.resize(rng.permutation(asked.items), len(instants)))
            )
            fresh.append(_latencies(simulated(profile, setup, instants, sizes, rng=rng, asked=other)))
        on_progress(index + 1, total)
    # A fresh run begins with an empty server as well: as much of it is left out as of the measured one.
    first = int(np.argmax(is_counted))
    length = min(map(len, fresh))
    steady = np.stack([one[:length][min(first, length // 2) :] for one in fresh])
    return controlled_interval(latencies_ns[is_counted], np.stack(own), steady, p, confidence=confidence)


def _latencies(run: Simulated) -> Ints:
    """Requests without result are slower than any: a share of them below 1 - p moves no percentile below p."""
    return np.where(run.is_ok(), run.latency_ns(), np.iinfo(np.int64).max)
