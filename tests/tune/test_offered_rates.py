"""Where the next block near the limit is offered."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tune.tiny_study import bench_of, goal_for
from trivet.catalog.study import TrialBlock
from trivet.tune.beliefs import Beliefs, Records
from trivet.tune.budget import NS_PER_S, Budget
from trivet.tune.screen import Screened
from trivet.tune.trial import FAR_DOWN, FAR_UP, Measuring

ROOM, OVER = (
    {"slo_latency_ms": 0.001},
    dict[str, float](),
)  # far under the limit; so far over that most are late


def next_rate(
    folder: Path,
    seen: list[tuple[float, dict[str, float]]],
    references: Sequence[tuple[float, dict[str, float]]] = (),
) -> float:
    """After blocks at these rates that saw this."""
    bench, records = bench_of(folder), Records()
    goal, choice = goal_for(bench), bench.space.default
    for number, (rate, values) in enumerate(seen):
        records.add(choice, TrialBlock(block=number, rate_rps=rate, values=values))
    for number, (rate, values) in enumerate(references, start=len(seen)):
        records.add(choice, TrialBlock(block=number, kind="reference", rate_rps=rate, values=values))
    screened = Screened(choice, bench.truth_of(choice)[1], {"max_rate_rps": 100.0}, 0.2)
    beliefs = Beliefs([screened], records, goal)
    budget = Budget(lambda: 0, 60 * NS_PER_S)
    measuring = Measuring(
        bench, goal, 50.0, records, budget, lambda: beliefs, sight_of=lambda choice, seconds: None
    )
    return measuring.rate_rps(choice, "limit", beliefs)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(100.0, ROOM)], 100 * FAR_UP),
        ([(100.0, OVER)], 100 * FAR_DOWN),
        ([(150.0, OVER), (100.0, ROOM)], math.sqrt(150 * 100)),
        ([(100.0, ROOM), (150.0, OVER)], math.sqrt(150 * 100)),
        ([(150.0, OVER), (300.0, OVER), (100.0, ROOM)], math.sqrt(150 * 100)),
        ([(10.0, ROOM), (100.0, OVER)], 100 * FAR_DOWN),
    ],
)
def test_a_whole_step_but_not_past_what_was_on_the_other_side(
    tmp_path: Path, seen: list[tuple[float, dict[str, float]]], expected: float
) -> None:
    assert next_rate(tmp_path, seen) == pytest.approx(expected)


def test_the_first_is_offered_where_the_simulator_says(tmp_path: Path) -> None:
    assert next_rate(tmp_path, []) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("seen", "references", "expected"),
    [
        ([], [(300.0, ROOM)], 300.0),
        ([], [(50.0, ROOM)], 100.0),
        ([], [(300.0, OVER)], 100.0),
        ([(100.0, ROOM)], [(300.0, ROOM)], 300 * FAR_UP),
        ([(100.0, ROOM)], [(150.0, OVER)], math.sqrt(150 * 100)),
        ([(100.0, OVER)], [(50.0, ROOM)], math.sqrt(100 * 50)),
        ([(150.0, OVER), (100.0, ROOM)], [(300.0, ROOM)], math.sqrt(150 * 100)),
    ],
)
def test_what_was_seen_at_the_reference_rate_counts(
    tmp_path: Path,
    seen: list[tuple[float, dict[str, float]]],
    references: list[tuple[float, dict[str, float]]],
    expected: float,
) -> None:
    """A forecast that is far too low costs no doublings up to a rate at which the server had room."""
    assert next_rate(tmp_path, seen, references) == pytest.approx(expected)
