"""The floor under every figure: what generator, kernel and loopback take with a target that answers at once."""

from collections.abc import Mapping

from trivet.catalog.records import Figure
from trivet.experiment.placement import Placement
from trivet.experiment.side import Side
from trivet.experiment.workload import Workload
from trivet.load.null_target import Floor, floor

DURATION_NS = 500_000_000
USERS_RATE_RPS = 1000.0  # where there are users and no rate
NS_PER_MS = 1e6

__all__ = ["Floor", "floor_figures", "floor_of"]


def floor_of(side: Side, workload: Workload, placement: Placement) -> Floor:
    """Measured with the requests and at the rate of the run, from the generator's core against one of the server's."""
    return floor(
        placement.generator,
        placement.server[-1],
        rate_rps=workload.rate_rps or USERS_RATE_RPS,
        duration_ns=DURATION_NS,
        request=side.requests[0],
        seed=workload.seed,
    )


def floor_figures(measured: Floor) -> Mapping[str, Figure]:
    """Plain numbers: a bound for others, not a claim."""
    note = f"null target at {measured.rate_rps:g}/s" + (": INVALID" if measured.invalid else "")
    return {
        "floor_p50_ms": Figure(estimate=measured.p50_ns / NS_PER_MS, unit="ms", verdict=note),
        "floor_p99_ms": Figure(estimate=measured.p99_ns / NS_PER_MS, unit="ms", verdict=note),
    }
