"""What the benchmarks with a fixed offered load share: a second of warm-up, then what is measured."""

from collections.abc import Sequence

from benchmarks._measurement import NS_PER_S
from trivet.load.arrivals import Poisson
from trivet.load.job import HttpRequest, Job, OpenLoop

WARM_UP_NS = NS_PER_S


def poisson(rate_rps: float, seconds: float) -> Poisson:
    """Arrivals for the warm-up and so many seconds more."""
    return Poisson(rate_rps=rate_rps, duration_ns=WARM_UP_NS + int(seconds * NS_PER_S))


def job(
    target: str,
    requests: Sequence[HttpRequest],
    arrivals: Poisson,
    seed: int,
    max_send_lag_ns: int = NS_PER_S // 1000,
) -> Job:
    return Job(
        target=target,
        requests=list(requests),
        load=OpenLoop(arrivals=arrivals),
        seed=seed,
        warmup_ns=WARM_UP_NS,
        max_send_lag_ns=max_send_lag_ns,
    )


def settings(offered: str, seconds: float) -> dict[str, str]:
    """As records and pages state them."""
    return {"offered": offered, "warm-up": "1 s", "measured": f"{seconds:g} s"}
