"""The driver of virtual time: every request gets one outcome, at the right instant."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.schedule import Queue, Scheduler, ServiceTime
from trivet.simulate.baselines import Aimd, Fifo, NexusWindow
from trivet.simulate.driver import DROPPED, IN_TIME, LATE, REFUSED, Policy, Trajectory, simulate
from trivet.simulate.workload import Machine, Shape, Workload, merged, workload

SHAPE = Shape(100, 10)


def scheduler_of(max_rows: int = 8) -> tuple[Scheduler, Queue]:
    times = ServiceTime(max_rows)
    times.seed(None, {rows: [SHAPE.ns(rows)] * 5 for rows in range(1, max_rows + 1)})
    scheduler = Scheduler(1)
    model = scheduler.add_model("m", max_batch_size=max_rows, service_time=times)
    return scheduler, scheduler.queue(model)


def exact() -> Machine:
    return Machine(np.random.default_rng(0))


def run(arrivals: list[int], budget: int) -> Trajectory:
    scheduler, queue = scheduler_of()
    return simulate(scheduler, [queue], [SHAPE], workload(np.array(arrivals, np.int64), budget), exact())


def test_instants_of_a_run_worked_out_by_hand() -> None:
    trajectory = run([0, 10, 20, 500], 400)
    assert trajectory.outcome.tolist() == [IN_TIME] * 4
    # The first runs alone until 110; the next two gather meanwhile and run until 230.
    assert trajectory.start_ns.tolist() == [0, 110, 110, 500]
    assert trajectory.done_ns.tolist() == [110, 230, 230, 610]
    assert trajectory.batch_rows.tolist() == [1, 2, 1]


def test_a_request_that_cannot_be_met_is_refused_at_its_arrival() -> None:
    trajectory = run([0, 50], 130)
    assert trajectory.outcome.tolist() == [IN_TIME, REFUSED]
    assert trajectory.done_ns.tolist() == [110, 50]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3_000), max_size=60), st.integers(1, 900))
def test_each_request_has_one_outcome_and_nobody_is_answered_late(arrivals: list[int], budget: int) -> None:
    trajectory = run(sorted(arrivals), budget)
    assert set(trajectory.outcome.tolist()) <= {IN_TIME, DROPPED, REFUSED}
    in_time = trajectory.outcome == IN_TIME
    assert int(in_time.sum()) == int(trajectory.batch_rows.sum())
    latency = trajectory.done_ns - np.sort(np.array(arrivals, np.int64))
    assert bool((latency[in_time] <= budget).all())
    assert bool((trajectory.batch_start_ns[1:] >= trajectory.batch_end_ns[:-1]).all())


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3_000), max_size=40), st.sampled_from([Fifo, Aimd, NexusWindow]))
def test_baselines_give_each_request_one_outcome(arrivals: list[int], kind: type) -> None:
    _, queue = scheduler_of()
    policy: Policy = NexusWindow(queue, 8, 300) if kind is NexusWindow else kind(queue, 8)
    trajectory = simulate(
        policy, [queue], [SHAPE], workload(np.array(sorted(arrivals), np.int64), 300), exact()
    )
    assert set(trajectory.outcome.tolist()) <= {IN_TIME, LATE, DROPPED}
    assert int((trajectory.outcome <= LATE).sum()) == int(trajectory.batch_rows.sum())


def test_the_same_seed_gives_the_same_run() -> None:
    def once() -> list[int]:
        scheduler, queue = scheduler_of()
        machine = Machine(np.random.default_rng(5), noise_cv=0.3, hiccup_share=0.1)
        work = workload(np.arange(0, 20_000, 37, dtype=np.int64), 700)
        return simulate(scheduler, [queue], [SHAPE], work, machine).done_ns.tolist()

    assert once() == once()


def test_merged_workloads_are_in_order_of_arrival() -> None:
    one, two = workload(np.array([0, 20], np.int64), 5), workload(np.array([10, 20], np.int64), 7, stream=1)
    both: Workload = merged(one, two)
    assert both.arrival_ns.tolist() == [0, 10, 20, 20]
    assert both.stream.tolist() == [0, 1, 0, 1]
    assert both.deadline_ns.tolist() == [5, 17, 25, 27]


def test_a_slow_machine_is_slow_from_its_instant_on() -> None:
    machine = Machine(np.random.default_rng(0), slow_from_ns=100, slow_factor=1.5)
    assert (machine.factor(99), machine.factor(100)) == (1.0, 1.5)


def test_noise_has_mean_one_and_hiccups_their_share() -> None:
    noisy = Machine(np.random.default_rng(1), noise_cv=0.1)
    draws = np.array([noisy.factor(0) for _ in range(20_000)])
    assert abs(draws.mean() - 1) < 0.005
    assert abs(draws.std() - 0.1) < 0.005
    hiccups = Machine(np.random.default_rng(1), hiccup_share=0.02)
    draws = np.array([hiccups.factor(0) for _ in range(20_000)])
    assert set(draws.tolist()) == {1.0, 5.0}
    assert abs((draws == 5).mean() - 0.02) < 0.004
