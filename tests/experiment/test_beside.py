"""Runs that were measured in turn with the yardstick, on simulated machines of other moods then and now."""

from pathlib import Path

import numpy as np
import pytest

from tests.experiment.replay_support import environment, replaced, rows, run
from trivet.errors import UserError
from trivet.experiment.replay.beside import check_beside
from trivet.experiment.replay.check_timing import Timed, check_timing
from trivet.experiment.replay.evidence import Evidence
from trivet.experiment.replay.replay import checks_of
from trivet.experiment.replay.windows import ENGINE, P50, P99, QUANTITIES, THROUGHPUT
from trivet.experiment.target import Subject, subject_of
from trivet.experiment.workload import Asking, Workload
from trivet.experiment.yardstick import (
    MAX_ROUNDS,
    NAME,
    is_yardstick,
    with_yardstick,
    workload_of_side,
    write,
)
from trivet.spec.row import concatenate
from trivet.spec.service_file import load_configuration

NUM_STARTS, NUM_ROWS = 8, 800


def turned(
    seed: int,
    *,
    mood: float = 1.0,
    follows: float = 1.0,
    slower: float = 1.0,
    num_starts: int = NUM_STARTS,
    start_sd: float = 0.015,
    wander: float = 0.1,
    phases: bool = True,
) -> tuple[Timed, Timed]:
    """A run and its yardstick: each start has a speed of its own, each block a mood that both share.

    Args: follows: by which power of the mood the service is slowed, where the yardstick is by the first.
    wander: what the mood differs by from block to block, standard deviation of the log.
    """
    rng = np.random.default_rng(seed)
    sides = []
    moods = mood * np.exp(wander * rng.standard_normal(NUM_STARTS))
    for engine_ms, power in ((slower, follows), (0.7, 1.0)):
        starts = np.exp(start_sd * rng.standard_normal(num_starts))
        parts = [
            rows(
                NUM_ROWS,
                seed=int(rng.integers(1 << 30)),
                engine_ms=engine_ms,
                mood=moods[block] ** power * starts[block * num_starts // NUM_STARTS],
                schedule=block,
                phases=phases,
            )
            for block in range(NUM_STARTS)
        ]
        blocks = np.repeat(np.arange(NUM_STARTS), NUM_ROWS)
        sides.append(Timed(concatenate(parts), blocks=blocks, starts=blocks * num_starts // NUM_STARTS))
    return sides[0], sides[1]


@pytest.mark.parametrize("quantity", [ENGINE, P50, P99, THROUGHPUT])
def test_an_unchanged_service_is_the_same_whatever_mood_the_machine_is_in(quantity: object) -> None:
    moods = [(1.0, 1.15), (1.2, 1.0), (1.2, 1.25), (1.0, 1.2)]
    found = [
        check_beside(quantity, turned(2 * i, mood=then), [turned(2 * i + 1, mood=now)])  # type: ignore[arg-type]
        for i, (then, now) in enumerate(moods)
    ]
    assert [check.status for check in found] == ["same"] * len(moods)
    assert "by the yardstick, 8 and 8 starts" in found[0].detail


@pytest.mark.parametrize("follows", [0.7, 0.85, 1.2])
def test_a_service_may_follow_the_machine_in_its_own_measure(follows: float) -> None:
    then, now = turned(3, mood=1.0, follows=follows), turned(4, mood=1.15, follows=follows)
    assert check_beside(ENGINE, then, [now]).status == "same"
    slower = turned(5, mood=1.15, follows=follows, slower=1.15)
    assert check_beside(ENGINE, then, [slower]).status == "differs"


def test_chance_in_the_yardsticks_tails_is_no_service_that_hardly_follows() -> None:
    """Within the runs the machine is steady, and tails of 800 requests differ by chance alone; between them it is not."""
    shifts = []
    for seed in range(8):
        then = turned(2 * seed, start_sd=0.0, wander=0.0)
        now = turned(2 * seed + 1, mood=1.3, start_sd=0.0, wander=0.0)
        shifts.append(_estimate(check_beside(P99, then, [now]).detail))
    assert np.mean(np.log(shifts)) == pytest.approx(0.0, abs=0.02)


def test_a_machine_of_another_speed_altogether_is_a_doubt() -> None:
    """How a service follows it is known from what the machine did within the runs, and that was less."""
    assert check_beside(ENGINE, turned(3), [turned(4, mood=3.0)]).status == "cannot tell"


def test_by_itself_the_same_run_tells_nothing() -> None:
    then, now = turned(0, mood=1.0), turned(1, mood=1.4)
    assert check_timing(P50, then[0], [now[0]]).status != "same"


@pytest.mark.parametrize("seed", range(4))
def test_an_engine_that_is_ten_per_cent_slower_is_found(seed: int) -> None:
    then = turned(10 * seed)
    now = [turned(10 * seed + n, mood=1.5, slower=1.1) for n in (1, 2)]
    check = check_beside(ENGINE, then, now)
    assert check.status == "differs"
    assert str(check.changes[0]).startswith("engine time: x1 -> x1.")
    assert "8 and 16 starts" in check.detail


def test_starts_are_what_is_counted_not_their_blocks() -> None:
    """Four starts of two blocks each: blocks of one start have its speed in common, which says nothing of the next."""
    then, now = turned(0, num_starts=4, start_sd=0.05), turned(1, num_starts=4, start_sd=0.05)
    assert check_beside(ENGINE, then, [now]).status == "cannot tell"
    assert "4 and 4 starts" in check_beside(ENGINE, then, [now]).detail


def test_a_service_that_was_started_once_has_what_starts_differ_by_as_an_error() -> None:
    then, now = (turned(seed, num_starts=1, start_sd=0.0) for seed in (0, 1))
    check = check_beside(ENGINE, then, [now])
    assert "8 and 8 blocks" in check.detail
    narrow = check_beside(ENGINE, turned(0, start_sd=0.0), [turned(1, start_sd=0.0)])
    assert _width(check.detail) > 3 * _width(narrow.detail)


def _estimate(detail: str) -> float:
    return float(detail.partition("x")[2].partition(" ")[0])


def _width(detail: str) -> float:
    low, high = detail.partition("[")[2].partition("]")[0].split(",")
    return float(high) - float(low)


def test_too_few_parts_tell_nothing() -> None:
    (a, b), (c, d) = turned(0), turned(1)
    few = (Timed(a.rows.select(np.arange(a.rows.num_rows) < 2 * NUM_ROWS)), b)
    assert check_beside(P50, few, [(c, d)]).status == "cannot tell"


def test_servers_that_tell_no_engine_time_are_told_by_their_latencies() -> None:
    silent = [turned(seed, phases=False) for seed in (0, 1)]
    assert check_beside(ENGINE, silent[0], silent[1:]).status == "not compared"
    assert check_beside(P50, silent[0], silent[1:]).status == "same"


def sides(timed: tuple[Timed, Timed], **changed: object) -> list[Evidence]:
    service, stick = run("a"), run("y", service=NAME)
    return [
        Evidence(replaced(record, **changed), one, None, None)
        for record, one in zip((service, stick), timed, strict=True)
    ]


def test_a_replay_judges_the_service_by_the_yardstick_and_the_yardstick_by_nothing() -> None:
    checks = checks_of(sides(turned(0)), [sides(turned(1, mood=1.15, slower=1.15))])
    found = {check.name: check for check in checks}
    assert found["m a: engine time"].status == "differs"
    assert found[f"{NAME} y: times"].status == "not compared"
    assert {f"m a: {quantity.name}" for quantity in QUANTITIES} <= set(found)
    elsewhere = environment(processor=replaced(environment().processor, model="other"))
    moved = checks_of(sides(turned(0)), [sides(turned(1), environment=elsewhere)])
    assert {check.status for check in moved if check.kind == "timing"} == {"not compared"}


def test_a_yardstick_without_a_valid_block_tells_nothing() -> None:
    service, stick = sides(turned(1))
    checks = checks_of(sides(turned(0)), [[service, Evidence(stick.run, None, None, None)]])
    assert next(check for check in checks if check.name == "m a: times").status == "cannot tell"


def test_it_does_less_work_where_more_is_asked(tmp_path: object) -> None:
    codes = [
        write(tmp_path / str(rate), rate).with_name("work.py").read_text() for rate in (1, 200, 1000, 1e6)
    ]
    assert f"range({MAX_ROUNDS})" in codes[0]
    assert "range(10)" in codes[2]
    assert "range(1)" in codes[3]
    configuration = subject_of(str(tmp_path / "200" / "service.yaml")).configuration
    assert configuration is not None
    assert is_yardstick(run(service=configuration.service.name))


@pytest.fixture
def here(tmp_path: Path) -> Subject:
    return Subject("m.yaml", load_configuration(write(tmp_path, 1.0)))


ELSEWHERE = Subject("http://127.0.0.1:1", address="127.0.0.1:1")


@pytest.mark.parametrize(
    ("options", "num_here"),
    [
        ({"users": 4}, 1),
        ({"scenario": "soak", "rate_rps": 10.0}, 1),
        ({}, 1),
        ({"rate_rps": 10.0}, 2),
        ({"rate_rps": 10.0}, 0),
    ],
)
def test_it_is_for_a_steady_open_load_on_one_service_that_is_started(
    here: Subject, options: dict[str, object], num_here: int
) -> None:
    subjects = num_here * [here] or [ELSEWHERE]
    with pytest.raises(UserError, match="--yardstick is for one service or model that is started here"):
        with_yardstick(Workload(duration_ns=10**9, **options), subjects, has_blocks=False)  # type: ignore[arg-type]


def test_blocks_are_as_declared(here: Subject) -> None:
    workload = Workload(duration_ns=10**9, rate_rps=10, num_blocks=3)
    assert with_yardstick(workload, [here], has_blocks=True) == workload
    assert with_yardstick(workload, [here], has_blocks=False).num_blocks == 10


def test_it_is_asked_in_its_own_way(service: Path, here: Subject) -> None:
    workload = Workload(duration_ns=10**9, rate_rps=10, asking=Asking(inputs="rows.csv", binary=True))
    assert workload_of_side(workload, here.configuration).asking == Asking()
    assert workload_of_side(workload, load_configuration(service)) is workload
