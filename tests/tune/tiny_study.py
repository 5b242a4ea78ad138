"""A study of a simulated service that is over in a second: few levers, slow service, virtual time."""

from pathlib import Path
from typing import Any

import msgspec

from benchmarks._simulated_bench import SimulatedBench
from benchmarks._simulated_services import Hidden, hidden
from trivet.catalog.study import Goal, Study
from trivet.spec.tuning import Tuning
from trivet.tune.goals import goal_of
from trivet.tune.study import tune

S = 1_000_000_000
MINUTE = 60 * S
FIXED: dict[str, Any] = {
    "engine": "default",
    "threads": 1,
    "instances": 1,
    "deferral": "default",
    "queue": "default",
    "graph_optimization": "default",
    "spinning": "default",
    "workers": 1,
    "execution": "thread",
    "max_batch_size": (1, 8),
}


def slow_service() -> Hidden:
    """The first of the hidden services that takes some milliseconds a request, so that blocks have few requests."""
    return next(
        one for one in map(hidden, range(50)) if one.forms[0].fixed_ns + one.forms[0].row_ns > 5_000_000
    )


def bench_of(
    folder: Path, seed: int = 0, kind: type[SimulatedBench] = SimulatedBench, **levers: Any
) -> SimulatedBench:
    return kind(slow_service(), folder, seed, Tuning(levers={**FIXED, **levers}))


def goal_for(bench: SimulatedBench, **changes: Any) -> Goal:
    service = bench.base.service
    goal = goal_of(service, None, service.slo.latency_ns or 0)
    return msgspec.structs.replace(goal, **changes)


def studied(bench: SimulatedBench, *, budget_ns: int = 5 * MINUTE, seed: int = 0, **settings: Any) -> Study:
    goal = settings.pop("goal", None) or goal_for(bench)
    return tune(bench, bench.space, goal, budget_ns, seed, **settings)
