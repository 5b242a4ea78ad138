"""A simulated server against what is known exactly: Lindley's recursion, the plain driver, and runs worked out by hand."""

from itertools import accumulate
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulate.simulated_support import NO_COSTS, constant, lone, run
from trivet.schedule import Scheduler
from trivet.simulate.driver import IN_TIME, simulate
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.record import DROPPED, FAILED, OK, REFUSED
from trivet.simulate.server import simulate_service
from trivet.simulate.setup import Setup, StageSetup
from trivet.simulate.stages import stages_of
from trivet.simulate.worker import Worker
from trivet.simulate.workload import Machine, Shape, workload

SHAPE = Shape(20_000, 5_000)
MS = 1_000_000
TIMES = {rows: SHAPE.ns(rows) for rows in (1, 2, 4, 8)}


@given(
    gaps=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    service=st.integers(1, 200),
    execution=st.sampled_from(["inline", "thread"]),
    cores=st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_batches_of_one_follow_lindleys_recursion(
    gaps: list[int], service: int, execution: str, cores: int
) -> None:
    """delay[n+1] = max(0, delay[n] + service - gap[n])."""
    delays = list(accumulate(gaps, lambda delay, gap: max(0, delay + service - gap), initial=0))
    found = run(constant({1: service}), lone(execution=execution, cores=cores), [0, *accumulate(gaps)])
    assert [delay + service for delay in delays] == found.latency_ns().tolist()


@given(places=st.lists(st.integers(0, 400), min_size=1, max_size=60), budget=st.integers(30, 400))
@settings(max_examples=40, deadline=None)
def test_without_costs_it_decides_as_the_plain_driver_does(places: list[int], budget: int) -> None:
    """Engine threads: an inline batch keeps the loop from reading, and a deadline counts from when a request is read."""
    # No arrival falls on the end of a batch: there, a socket is read before an answer is written, and the driver does
    # it the other way round.
    arrivals = np.array([1_000 * place + number for number, place in enumerate(sorted(places))], np.int64)
    profile = constant(TIMES)
    setup = lone(execution="thread", max_batch_size=8, deadline_ns=1_000 * budget)
    found = run(profile, setup, arrivals)
    stages = stages_of(profile, setup, np.random.default_rng(0))
    queue = stages.models[0].queue(0)
    assert isinstance(stages.scheduler, Scheduler)
    expected = simulate(
        stages.scheduler,
        [queue],
        [SHAPE],
        workload(arrivals, 1_000 * budget),
        Machine(np.random.default_rng(0)),
    )
    in_time = expected.outcome == IN_TIME
    assert in_time.tolist() == (found.outcome == OK).tolist()
    # Who is dropped is told at once here, as the server asks its scheduler until it has nothing more to say.
    assert expected.done_ns[in_time].tolist() == found.done_ns[in_time].tolist()


def test_the_loop_reads_starts_and_answers_one_after_the_other() -> None:
    host = HostCosts(per_request_ns=[100], answer_share=0.4, per_batch_ns=[30])
    found = run(constant({1: 1_000, 2: 1_500}, host), lone(max_batch_size=2), [0, 1, 2])
    # The first is read (60) alone, formed (30), computed until 1,090 and answered at 1,130. The others are read until
    # 1,250 and run together from 1,280 to 2,780; the second of them waits for the answer before it.
    assert found.done_ns.tolist() == [1_130, 2_820, 2_860]
    assert found.batch_rows.tolist() == [1, 2, 2]


def test_on_one_core_the_loop_interrupts_the_engine() -> None:
    host = HostCosts(per_request_ns=[100], answer_share=0.0, hand_over_ns=[0])
    found = run(constant({1: 1_000}, host), lone(execution="thread"), [0, 500])
    # Read until 100; the engine would end at 1,100, and stands still from 500 to 600.
    assert found.done_ns.tolist() == [1_200, 2_200]
    beside = run(constant({1: 1_000}, host), lone(execution="thread", cores=2), [0, 500])
    assert beside.done_ns.tolist() == [1_100, 2_100]


def test_two_engines_share_the_cores_that_the_loop_leaves() -> None:
    times = constant({1: 1_000})
    setup = lone(execution="thread", cores=3, instances=2)
    assert run(times, setup, [0, 0]).done_ns.tolist() == [1_000, 1_000]
    slower = constant({1: 1_000}, HostCosts(hand_over_ns=[0], interference={2: 1.2}))
    assert run(slower, setup, [0, 1]).done_ns.tolist() == [1_000, 1_201]


def test_waking_and_handing_over_take_their_time() -> None:
    host = HostCosts(per_wake_ns=[70], travel_ns=20, hand_over_ns=[7], hand_back_ns=[3])
    found = run(constant({1: 1_000}, host), lone(execution="thread", cores=2), [0, 100_000])
    # 10 there, 50 to wake up, 7 to the engine and 3 from it, 10 back.
    assert found.latency_ns().tolist() == [1_080, 1_080]


def test_a_hiccup_holds_up_whatever_runs() -> None:
    host = HostCosts(hiccups=[(400, 50)], observed_ns=1 << 40)
    latencies = {
        int(run(constant({1: 1_000}, host), lone(), [500], seed=seed).latency_ns()[0]) for seed in range(3)
    }
    assert latencies == {1_000}  # it is replayed from a random place on, and hardly ever met
    often = HostCosts(per_request_ns=[1_000], answer_share=0.0, hiccups=[(0, 500)], observed_ns=1_000)
    found = run(constant({1: 10}, often), lone(), [10_000], seed=1).latency_ns()[0]
    # Half of the time the core does nothing: each half of the loop's work waits for a hiccup, the first perhaps for a
    # part of one. What held up the engine is in its times.
    assert 1_510 <= found <= 2_010


def test_who_asks_sends_and_reads_late_what_is_due_while_its_core_is_held_up() -> None:
    host = msgspec.structs.replace(NO_COSTS, generator_hiccups=[(0, 40 * MS)], observed_ns=100 * MS)
    arrivals = np.arange(500) * 1_001 * MS
    found = run(constant({1: 10 * MS}, host), lone(), arrivals, seed=3)
    latency, period = found.latency_ns(), 100 * MS
    # Sent or answered within: done as the core goes on, or one service time after that; all others take just that.
    late = latency > 10 * MS
    assert (latency[~late] == 10 * MS).all()
    assert late.mean() == pytest.approx(0.5, abs=0.02)  # each place of a period is met as often as another
    ends = np.unique(found.done_ns[late] % period)
    assert len(ends) == 2
    assert ends[1] - ends[0] in (10 * MS, period - 10 * MS)
    assert run(constant({1: 10 * MS}), lone(), arrivals).latency_ns().tolist() == [10 * MS] * 500


def test_a_pipeline_passes_its_stages_and_exits_answer_early() -> None:
    profile = ServiceProfile(
        service="s",
        models={
            "a": ModelTimes(samples={0: {1: [100]}}),
            "b": ModelTimes(samples={0: {1: [1_000]}}),
            "step": ModelTimes(samples={0: {1: [10]}}),
        },
        host=NO_COSTS,
    )
    stages = (StageSetup("step", "step"), StageSetup("a"), StageSetup("step", "step"), StageSetup("b"))
    setup = Setup("s", stages, 1, 1, 1 << 40)
    assert run(profile, setup, [0]).latency_ns().tolist() == [10 + 100 + 10 + 1_000]
    leaving = Setup("s", stages, 1, 1, 1 << 40, exits=(1,))
    assert run(profile, leaving, [0]).latency_ns().tolist() == [110]


def test_requests_go_to_the_workers_in_turn() -> None:
    setup = Setup("s", (StageSetup("m"),), 2, 2, 1 << 40)
    assert run(constant({1: 1_000}), setup, [0, 1, 2, 3]).latency_ns().tolist() == [
        1_000,
        1_000,
        1_998,
        1_998,
    ]


def test_what_cannot_be_in_time_is_refused_and_says_so_in_its_row() -> None:
    rows = simulate_service(
        constant({1: 1_000}), lone(execution="thread", deadline_ns=1_500), np.array([0, 10], np.int64), seed=0
    )
    assert rows.words["outcome"].decode().tolist() == ["ok", "refused"]
    assert rows["status"].tolist() == [200, 429]
    assert rows["batch_size"].tolist() == [1, 0]
    assert rows["compute_ns"].tolist()[0] == 1_000


@given(st.lists(st.integers(0, 3_000), max_size=50), st.integers(100, 9_000), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_each_request_has_one_outcome_and_the_same_seed_the_same_run(
    places: list[int], deadline: int, seed: int
) -> None:
    times = np.random.default_rng(seed).integers(80, 120, 40).tolist()
    profile = ServiceProfile(
        service="s",
        models={"m": ModelTimes(samples={0: {1: times, 2: [2 * ns for ns in times]}})},
        host=HostCosts(per_request_ns=[9], per_batch_ns=[4], hand_over_ns=[5, 8], per_wake_ns=[3, 30]),
    )
    setup = lone(execution="thread", cores=2, max_batch_size=2, deadline_ns=deadline)
    first, again = (run(profile, setup, sorted(places), seed=seed) for _ in range(2))
    assert first.done_ns.tolist() == again.done_ns.tolist()
    assert set(first.outcome.tolist()) <= {OK, REFUSED, DROPPED, FAILED}
    assert bool((first.latency_ns() > 0).all())


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_core_time_is_what_was_worked(execution: str) -> None:
    host = HostCosts(per_request_ns=[100], per_batch_ns=[50], hand_over_ns=[0])
    found = run(constant({1: 1_000}, host), lone(execution=execution), [0, 5_000, 5_100])
    assert found.busy_ns == 3 * 1_150


@given(
    places=st.lists(st.integers(0, 4_000), min_size=1, max_size=80),
    deadline=st.sampled_from([150, 400, 1 << 40]),
    seed=st.integers(0, 3),
    execution=st.sampled_from(["inline", "thread"]),
)
@settings(max_examples=120, deadline=None)
def test_who_comes_alone_or_behind_a_running_batch_is_served_as_everybody_is(
    places: list[int], deadline: int, seed: int, execution: str
) -> None:
    times = np.random.default_rng(seed).integers(60, 140, 40).tolist()
    host = HostCosts(
        per_request_ns=[20],
        per_batch_ns=[7],
        per_wake_ns=[3, 30],
        hand_over_ns=[4, 9],
        hand_back_ns=[6],
        hiccups=[(5, 40), (500, 90)],
        observed_ns=900,
        busy_factors={1: 1.2},
        idle_factor=1.5,
        cooling_ns=200,
        paces=[[1.0, 1.4, 0.7], [2.0]],
        pace_ns=150,
    )
    profile = ServiceProfile(
        service="s", models={"m": ModelTimes(samples={0: {1: times, 4: [2 * ns for ns in times]}})}, host=host
    )
    setup = lone(execution=execution, max_batch_size=4, deadline_ns=deadline)
    quick = run(profile, setup, sorted(places), seed=seed)
    with (
        patch.object(Scheduler, "is_lone", return_value=False),
        patch.object(Worker, "_gather", return_value=False),
    ):
        long = run(profile, setup, sorted(places), seed=seed)
    assert quick.done_ns.tolist() == long.done_ns.tolist()
    assert quick.outcome.tolist() == long.outcome.tolist()
    assert quick.busy_ns == long.busy_ns


@given(
    places=st.lists(st.integers(0, 2_000), min_size=1, max_size=80),
    limit=st.integers(1, 10),
    seed=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_a_run_that_is_given_up_ends_where_it_would_have(places: list[int], limit: int, seed: int) -> None:
    profile = constant({1: 100, 4: 200}, HostCosts(per_request_ns=[20], hand_over_ns=[4], hand_back_ns=[6]))
    setup = lone(execution="thread", max_batch_size=4, deadline_ns=1 << 40)
    quick = run(profile, setup, sorted(places), seed=seed, most_waiting=limit)
    with patch.object(Worker, "_gather", return_value=False):
        long = run(profile, setup, sorted(places), seed=seed, most_waiting=limit)
    assert quick.done_ns.tolist() == long.done_ns.tolist()
    assert quick.offered_ns.tolist() == long.offered_ns.tolist()
