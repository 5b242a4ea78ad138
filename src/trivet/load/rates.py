"""The same arrivals at another mean rate, for whoever looks for the rate that a target bears."""

import msgspec
import numpy as np

from trivet.errors import SpecError
from trivet.load.arrivals import NS, Arrivals, Curve, Recorded, Steps
from trivet.load.scaling import scaled


def at_rate(
    arrivals: Arrivals, rate_rps: float, duration_ns: int | None, rng: np.random.Generator
) -> Arrivals:
    """`arrivals` with the mean rate `rate_rps` over `duration_ns` (their own, if not given).

    Steps and curves keep their shape. A trace is scaled by amplitude, with `rng`, and offered from its start on
    for as long as is asked.
    Raises: SpecError: arrivals without any request, or a trace that is shorter than what is asked.
    """
    if isinstance(arrivals, Recorded):
        return _recorded(arrivals, rate_rps, duration_ns, rng)
    duration_ns = duration_ns or arrivals.duration_ns
    if isinstance(arrivals, Curve):
        return arrivals.times(rate_rps / _positive(arrivals.mean_rps), duration_ns=duration_ns)
    if isinstance(arrivals, Steps):
        rates, durations = np.array(arrivals.rates_rps), np.array(arrivals.durations_ns)
        factor = rate_rps / _positive(float((rates * durations).sum() / durations.sum()))
        ends = np.round(np.cumsum(durations) * (duration_ns / durations.sum())).astype(np.int64)
        return Steps(
            rates_rps=tuple((rates * factor).tolist()), durations_ns=tuple(np.diff(ends, prepend=0).tolist())
        )
    return msgspec.structs.replace(arrivals, rate_rps=rate_rps, duration_ns=duration_ns)


def _recorded(
    trace: Recorded, rate_rps: float, duration_ns: int | None, rng: np.random.Generator
) -> Recorded:
    duration_ns = duration_ns or trace.duration_ns
    if duration_ns > trace.duration_ns:
        raise SpecError(
            f"the trace lasts {trace.duration_ns / NS:g} s, {duration_ns / NS:g} s of it are asked for; ask for less"
        )
    instants = np.array(trace.at_ns, np.int64)
    instants = instants[instants < duration_ns]
    own_rps = _positive(len(instants) / duration_ns * NS)
    return Recorded.of(scaled(instants, rate_rps / own_rps, "amplitude", rng, duration_ns=duration_ns))


def _positive(rate_rps: float) -> float:
    if not rate_rps > 0:
        raise SpecError("arrivals without a request have no rate that could be raised")
    return rate_rps
