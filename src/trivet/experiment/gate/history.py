"""Suspects: runs of the past after which a figure was worse than before, for good. Nothing is proven by the past.

Runs of one service under one workload on one kind of machine are a series. Their times are multiplied by the speed that
the noise probes found, so that a slow day of the machine is not taken for a slow server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.catalog.records import Run
from trivet.experiment.replay.check_content import is_same_hardware
from trivet.experiment.replay.evidence import speed_of
from trivet.stats.change_points import change_points

FIGURES: Mapping[str, bool] = {  # smaller is better
    "latency_p50_ms": True,
    "latency_p99_ms": True,
    "throughput_rps": False,
    "goodput_rps": False,
    "cpu_ms_per_request": True,
    "accuracy": False,
}
_TIMES = frozenset({"latency_p50_ms", "latency_p99_ms", "cpu_ms_per_request"})
MIN_EFFECT = 0.01  # what a confirmation can find: see decision.py
# What makes two workloads the same; the seed does not: a history is measured with many.
WORKLOAD = ("arrivals", "rate_rps", "users", "think_ns", "scenario", "workers", "asking", "split")


@dataclass(frozen=True, slots=True)
class Suspect:
    """From run `since` on, `figure` is `ratio` times what it was up to run `before`.

    steady: the run in the middle of the stretch before, which is surely from before the change.
    """

    figure: str
    before: str
    since: str
    ratio: float
    votes: int
    steady: str

    def __str__(self) -> str:
        return (
            f"{self.figure} is x{self.ratio:.3f} since run {self.since} (the last before it: {self.before})"
        )


def comparable(runs: Sequence[Run], like: Run) -> list[Run]:
    """The complete runs of the same service, workload and kind of machine as `like`, oldest first."""
    found = [
        run
        for run in runs
        if run.state == "complete"
        and run.service == like.service
        and all(run.workload.get(key) == like.workload.get(key) for key in WORKLOAD)
        and is_same_hardware(run.environment, like.environment)
    ]
    return sorted(found, key=lambda run: run.begun)


def suspects(runs: Sequence[Run], min_effect: float = MIN_EFFECT) -> list[Suspect]:
    """Changes for the worse that lasted, oldest first: who equals a run from before the oldest has none of them.

    Args: runs: comparable ones, oldest first.
    """
    found = []
    for figure, smaller_is_better in FIGURES.items():
        series = [(run.id, value) for run in runs if (value := _value(run, figure)) is not None]
        for change in change_points([value for _, value in series], min_effect=min_effect) if series else ():
            worse = change.ratio > 1 if _is_cost(runs, figure, smaller_is_better) else change.ratio < 1
            if worse:
                before, since, steady = (
                    series[i][0] for i in (change.index - 1, change.index, change.steady)
                )
                found.append(Suspect(figure, before, since, change.ratio, change.votes, steady))
    order = {run.id: place for place, run in enumerate(runs)}
    return sorted(found, key=lambda suspect: order[suspect.since])


def _value(run: Run, figure: str) -> float | None:
    """A positive figure, times as they would be on a machine of speed 1."""
    known = run.figures.get(figure)
    if known is None or not known.estimate > 0:
        return None
    speed = speed_of(run.environment) if figure in _TIMES else None
    return known.estimate * (1.0 if speed is None else (speed.before * speed.after) ** 0.5)


def _is_cost(runs: Sequence[Run], figure: str, smaller_is_better: bool) -> bool:
    """Of an error (mae, rmse) as accuracy, smaller is better."""
    from trivet.spec.service import SMALLER_IS_BETTER

    units = {run.figures[figure].unit for run in runs if figure in run.figures}
    return smaller_is_better or (figure == "accuracy" and bool(units & SMALLER_IS_BETTER))


def workload_words(workload: Mapping[str, Any]) -> str:
    """What makes a workload the same, for messages."""
    return ", ".join(f"{key} {workload[key]}" for key in WORKLOAD[:5] if workload.get(key) is not None)
