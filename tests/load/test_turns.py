"""Loads in turns: each offered whole, a piece at a time, and put together as if it had been alone."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.load.scripted_target import ScriptedTarget, always, ok
from trivet.errors import SpecError
from trivet.load.arrivals import Constant
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop
from trivet.load.offer import offer, offer_together
from trivet.load.process import offer_together_from
from trivet.load.record import Record
from trivet.load.turns import Turns, deal

MS = 1_000_000
DURATION_NS, TURN_NS = 60 * MS, 10 * MS


def job(target: str, turns: Turns | None, **settings: object) -> Job:
    load = OpenLoop(arrivals=Constant(rate_rps=500, duration_ns=DURATION_NS))
    return Job(target=target, requests=[HttpRequest(path="/")], load=load, seed=1, turns=turns, **settings)  # type: ignore[arg-type]


@given(
    num_loads=st.integers(1, 4),
    duration_ns=st.integers(1, 1000),
    length_ns=st.integers(1, 300),
    seed=st.integers(0, 99),
)
def test_turns_fill_the_time_and_never_overlap(
    num_loads: int, duration_ns: int, length_ns: int, seed: int
) -> None:
    turns = deal(num_loads, duration_ns, length_ns, seed)
    begins_ns = sorted(begin for one in turns for begin in one.begins_ns)
    assert begins_ns == [i * length_ns for i in range(len(begins_ns))]
    assert turns == deal(num_loads, duration_ns, length_ns, seed)
    for one in turns:
        assert list(one.begins_ns) == sorted(one.begins_ns)
        assert (len(one.begins_ns) - 1) * length_ns < duration_ns <= len(one.begins_ns) * length_ns


@given(instants=st.lists(st.integers(0, 99), max_size=20).map(sorted), seed=st.integers(0, 9))
def test_each_instant_comes_in_its_own_turn_and_keeps_its_place_in_it(instants: list[int], seed: int) -> None:
    one, other = deal(2, 100, 7, seed)
    at_ns = np.array(instants, np.int64)
    moved = at_ns + one.gaps_ns(at_ns)
    for before, after in zip(instants, moved.tolist(), strict=True):
        assert after % 7 == before % 7
        assert after // 7 * 7 in one.begins_ns
        assert after // 7 * 7 not in other.begins_ns
    assert sorted(moved.tolist()) == moved.tolist()


def test_who_goes_first_is_drawn_for_each_round() -> None:
    first, second = deal(2, 10_000, 10, 5)
    goes_first = np.array(first.begins_ns) < np.array(second.begins_ns)
    assert 0.4 < goes_first.mean() < 0.6


def test_two_targets_are_asked_in_turns_and_each_load_is_put_together_again() -> None:
    turns = deal(2, DURATION_NS, TURN_NS, 3)
    with ScriptedTarget(always(ok())) as one, ScriptedTarget(always(ok())) as two:
        jobs = [job(target.name, its) for target, its in zip((one, two), turns, strict=True)]
        began_ns = time.monotonic_ns()
        results = offer_together(jobs, [None, None])
        lasted_ns = time.monotonic_ns() - began_ns
        assert (len(one.requests), len(two.requests)) == (30, 30)
    assert lasted_ns >= 2 * DURATION_NS - TURN_NS
    for result in results:
        rows = result.measured()
        assert rows.words["outcome"].words == ("ok",)
        assert (rows["intended_ns"] - result.start_ns).tolist() == [2 * MS * i for i in range(30)]
        assert (rows["done_ns"] >= rows["sent_ns"]).all()
        assert (rows["sent_ns"] >= rows["intended_ns"]).all()
        assert rows.latency_ns().max() < 5_000 * MS
        assert not result.partial
    assert results[0].start_ns == results[1].start_ns
    assert 0 < results[0].generator.busy_share == results[1].generator.busy_share <= 1


def test_a_process_of_its_own_tells_of_each_job_and_gives_each_result() -> None:
    told: dict[int, list[int]] = {0: [], 1: []}
    turns = deal(2, DURATION_NS, TURN_NS, 3)
    with ScriptedTarget(always(ok())) as one, ScriptedTarget(always(ok())) as two:
        jobs = [job(target.name, its) for target, its in zip((one, two), turns, strict=True)]
        results = offer_together_from(
            None,
            jobs,
            [lambda progress, place=place: told[place].append(progress.done) for place in told],  # type: ignore[misc]
        )
    assert [result.measured().num_rows for result in results] == [30, 30]
    assert told[0][-1] == told[1][-1] == 30


def test_instants_of_a_record_are_brought_forward_and_what_never_was_stays_absent() -> None:
    record = Record([100, 200], keep_chunks=True)
    record.sent_ns[0], record.done_ns[0], record.end_ns = 110, 130, 260
    record.chunks[0] = [(120, 5)]
    record.bring_forward([10, 60])
    assert (record.intended_ns, record.sent_ns, record.done_ns) == ([90, 140], [100, -1], [120, -1])
    assert (record.chunks[0], record.end_ns) == ([(110, 5)], 200)


def test_what_cannot_be_offered_in_turns_is_refused() -> None:
    with pytest.raises(SpecError, match="offered together need turns"):
        offer_together([job("h:1", None), job("h:1", None)], [None, None])
    with pytest.raises(SpecError, match="1 turns of 10000000 ns end before the load, at 58000000 ns"):
        offer(job("h:1", Turns(length_ns=TURN_NS, begins_ns=(0,))))
    users, turns = ClosedLoop(num_users=1, duration_ns=1), Turns(length_ns=1, begins_ns=(0,))
    with pytest.raises(SpecError, match="cannot be offered in turns"):
        Job(target="h:1", requests=[HttpRequest(path="/")], load=users, seed=1, turns=turns)
