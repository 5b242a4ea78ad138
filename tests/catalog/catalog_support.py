"""What tests of the catalog record."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from trivet.catalog.environment import Environment
from trivet.catalog.records import Figure, RunDraft

REPOSITORY = Path(__file__).parents[2]
FIGURES = {
    "latency_p99_ms": Figure(estimate=4.2, low=4.0, high=4.6, unit="ms", verdict="met"),
    "throughput_rps": Figure(estimate=995.5, unit="requests/s"),
    "accuracy": Figure(estimate=0.91, low=0.88, high=0.94, unit="accuracy"),
}
DRAFT = RunDraft(
    kind="bench",
    service="tiny",
    configuration_hash="ab" * 32,
    configuration={"models": {"tiny": {"levers": {"max_batch_size": 8}}}},
    workload={"rate_rps": 1000, "duration_s": 10.5, "arrivals": "poisson"},
    seeds={"arrivals": 1, "inputs": 2},
    dataset={"digest": "sha256:" + "0" * 64, "split": "test"},
    environment=Environment(python="CPython 3.12.1", packages={"numpy": "2.0"}),
    command=["trivet", "bench", "service.yaml"],
)


def draft(**fields: Any) -> RunDraft:
    return msgspec.structs.replace(DRAFT, **fields)


class Calendar:
    """A wall clock that goes on by one minute at each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def environ(**more: str) -> dict[str, str]:
    """For a child process: this checkout's sources, whichever are installed."""
    path = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
    return {**os.environ, "PYTHONPATH": path, **more}
