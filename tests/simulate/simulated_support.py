"""Profiles whose truth is known: constant times, no costs but those that a test names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.record import Simulated
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup, StageSetup

NO_COSTS = HostCosts(hand_over_ns=[0], interference={2: 1.0})


def constant(times: Mapping[int, int], host: HostCosts = NO_COSTS, key: str = "m") -> ServiceProfile:
    """Rows -> ns, always the same."""
    return ServiceProfile(
        service="s",
        models={key: ModelTimes(samples={0: {rows: [ns] * 8 for rows, ns in times.items()}})},
        host=host,
    )


def lone(*, cores: int = 1, deadline_ns: int = 1 << 50, slo_ns: int | None = None, **stage: Any) -> Setup:
    """One model on one worker."""
    return Setup("s", (StageSetup("m", **stage),), 1, cores, deadline_ns, slo_ns)


def run(
    profile: ServiceProfile,
    setup: Setup,
    arrivals: NDArray[np.int64] | list[int],
    *,
    seed: int = 0,
    **given: Any,
) -> Simulated:
    return simulated(profile, setup, np.array(arrivals, np.int64), rng=np.random.default_rng(seed), **given)
