"""A latency budget for a service that declares none, from the profile of its default."""

import math

from trivet.tune.bench import Bench
from trivet.tune.goals import proposed_slo_ns
from trivet.tune.screen import FIRST, engine_bound_rps
from trivet.tune.simulated_load import SimulatedLoad
from trivet.tune.space import Space

PROFILE_NS = 30_000_000_000
_EASIER = 0.7  # steps to a lower rate, where half of the engines' bound is more than the whole server bears
_MAX_STEPS = 12


def proposed_slo(bench: Bench, space: Space, seed: int, budget_ns: int) -> int:
    """Nanoseconds: twice the p99 of the default at half of what its engines alone could bear, rounded up."""
    profile = bench.profile([space.default], budget_ns=budget_ns)
    setup = bench.setup(space.default)
    load = SimulatedLoad(profile, FIRST, seed, space.zipf)
    rate = engine_bound_rps(profile, setup) / 2
    for _ in range(_MAX_STEPS):
        point = load.at(setup, rate)
        if math.isfinite(point.p99_ms) and point.p99_ms < 10 * point.p50_ms:
            break
        rate *= _EASIER
    return proposed_slo_ns(point.p99_ms * 1e6 if math.isfinite(point.p99_ms) else setup.deadline_ns)
