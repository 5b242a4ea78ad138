"""How often sides are started, and how long a turn is: from what is known of them before the load."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from trivet.errors import UserError
from trivet.experiment import alternation
from trivet.experiment.alternation import (
    alternation_text,
    may_take_turns,
    settled_starts,
    settled_turn_ns,
)
from trivet.experiment.workload import Workload
from trivet.spec.service import Service
from trivet.stats.sequential import FIRST_VERDICT

MS, S = 1_000_000, 1_000_000_000
TWO = Workload(rate_rps=200, duration_ns=10 * S, num_blocks=16)


def recording(ready_after_ns: int = 700 * MS, *, ours: bool = True, streams: bool = False) -> Any:
    """A side of a service without caches, as far as these rules look at it."""
    server = SimpleNamespace(ready_after_ns=ready_after_ns) if ours else None
    started = SimpleNamespace(server=server, serve=(lambda: None) if ours else None)
    configuration = SimpleNamespace(service=Service(name="m", models={})) if ours else None
    side = SimpleNamespace(started=started, configuration=configuration, streams=streams, label="a.yaml")
    return SimpleNamespace(side=side)


def starts(workload: Workload, *recordings: Any) -> int:
    return settled_starts(workload, recordings)


def turn_ns(workload: Workload, highest_rps: float, **side: Any) -> int:
    sides = [recording(**side).side for _ in range(2)]
    return settled_turn_ns(workload, sides, highest_rps)


def test_starts_take_no_longer_than_the_load() -> None:
    assert starts(TWO, recording(), recording()) == 14  # 20 s of load, 1.4 s for a start of both
    assert starts(TWO, recording(100 * MS), recording(100 * MS)) == 16  # a block each is as many as can be
    assert starts(TWO, recording(2 * S), recording(2 * S)) == 1  # five would show less than blocks of one do


def test_one_side_a_server_elsewhere_and_few_blocks_have_one_start() -> None:
    assert starts(TWO, recording()) == 1
    assert starts(TWO, recording(), recording(ours=False)) == 1
    few = msgspec.structs.replace(TWO, num_blocks=FIRST_VERDICT - 1)
    assert starts(few, recording(100 * MS), recording(100 * MS)) == 1


def test_a_cache_is_not_emptied_by_starts_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alternation, "has_fronts", lambda service: True)
    assert starts(TWO, recording(100 * MS), recording(100 * MS)) == 1
    declared = msgspec.structs.replace(TWO, num_starts=3)
    assert starts(declared, recording(), recording()) == 3


def test_a_long_first_start_may_have_profiled_so_a_second_one_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    long = recording(60 * S)
    monkeypatch.setattr(
        alternation, "restart", lambda one: setattr(one.side.started.server, "ready_after_ns", 700 * MS)
    )
    assert starts(TWO, long, recording()) == 14


@pytest.mark.parametrize(
    ("changed", "side", "message"),
    [
        ({"num_starts": 17}, {}, "--starts 17: there are 16 blocks"),
        ({"num_starts": 2}, {"ours": False}, "--starts 2: a.yaml was not started here"),
        ({"num_starts": 2, "scenario": "ramp"}, {}, "--starts 2: scenario ramp is offered to one start"),
    ],
)
def test_starts_that_cannot_be_are_refused(
    changed: dict[str, Any], side: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        starts(msgspec.structs.replace(TWO, **changed), recording(**side), recording(**side))


@pytest.mark.parametrize(
    ("rate_rps", "highest_rps", "expected_ms"),
    [
        (200, 5_000, 20),  # far from its capacity: the shortest
        (300, 500, 125),  # 10 times 1 / (500 * 0.4^2)
        (350, 500, 0),  # at 70 % it would be 222 ms: the block of 625 ms does not hold four
        (450, 500, 0),  # nor does a queue at 90 % settle in a turn
        (10, 250, 128),  # 32 answers of the probe
    ],
)
def test_a_turn_is_long_beside_the_queue(rate_rps: float, highest_rps: float, expected_ms: int) -> None:
    workload = msgspec.structs.replace(TWO, rate_rps=rate_rps)
    assert round(turn_ns(workload, highest_rps) / MS) == expected_ms


def test_what_bursts_streams_or_waits_for_answers_takes_turns_block_by_block() -> None:
    for changed in ({"arrivals": "mmpp"}, {"arrivals": "trace:day.csv"}, {"users": 4}, {"scenario": "soak"}):
        assert turn_ns(msgspec.structs.replace(TWO, **changed), 5_000) == 0
    assert turn_ns(TWO, 5_000, streams=True) == 0
    assert not may_take_turns(TWO, [recording().side])


def test_declared_turns_are_taken() -> None:
    assert turn_ns(msgspec.structs.replace(TWO, turn_ns=0), 5_000) == 0
    declared = msgspec.structs.replace(TWO, turn_ns=7 * MS)
    assert turn_ns(declared, 5_000) == 7 * MS
    assert settled_turn_ns(declared, [recording().side], 5_000) == 0  # one side of it, replayed alone


def test_the_user_is_told() -> None:
    assert alternation_text(14, 50 * MS) == "each side is started 14 times; they take turns of 50 ms"
    assert alternation_text(1, 0) == "each side is started once; they take turns block by block"
