"""The clairvoyant bound and the offline search, against every schedule there is, on instances small enough for that."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.schedule import Scheduler, ServiceTime
from trivet.simulate.bound import WorkClock, clairvoyant
from trivet.simulate.driver import IN_TIME, simulate
from trivet.simulate.offline import Search, best_found
from trivet.simulate.workload import Machine, Shape, Workload, workload

SHAPE = Shape(40, 10)
MAX_ROWS = 4
WIDE = Search(beam=400, num_bins=40, waits=(0.0,), ahead=6)


def best_of_all(arrivals: tuple[int, ...], deadlines: tuple[int, ...]) -> int:
    """Every subset as the next batch, as early as it can start; waiting is covered by subsets with later arrivals."""

    @functools.cache
    def most(free: int, left: frozenset[int]) -> int:
        best = 0
        subsets: list[tuple[int, ...]] = [()]
        for job in sorted(left):
            subsets += [(*subset, job) for subset in subsets if len(subset) < MAX_ROWS]
        for subset in subsets[1:]:
            start = max(free, *[arrivals[job] for job in subset])
            end = start + SHAPE.ns(len(subset))
            if all(end <= deadlines[job] for job in subset):
                best = max(best, len(subset) + most(end, left - set(subset)))
        return best

    return most(0, frozenset(range(len(arrivals))))


def work_of(arrivals: list[int], budgets: list[int]) -> Workload:
    return workload(np.array(arrivals, np.int64), np.array(budgets, np.int64))


INSTANCES = st.lists(st.tuples(st.integers(0, 300), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(INSTANCES, st.integers(50, 150))
def test_a_wide_search_finds_the_best_schedule_of_all_and_the_bound_is_no_lower(
    parts: list[tuple[int, bool]], slo: int
) -> None:
    parts.sort()
    arrivals = [arrival for arrival, _ in parts]
    budgets = [slo * (2 if patient else 1) for _, patient in parts]
    work = work_of(arrivals, budgets)
    best = best_of_all(tuple(arrivals), tuple(work.deadline_ns.tolist()))
    rate = SHAPE.best_rows_per_ns(SHAPE.ns(MAX_ROWS))
    assert best <= int(clairvoyant(work, np.array([1 / rate])).sum())
    assert best_found(work, SHAPE, MAX_ROWS, WIDE) == best


@settings(max_examples=40, deadline=None)
@given(INSTANCES, st.integers(50, 150))
def test_no_schedule_of_ours_beats_the_best_of_all(parts: list[tuple[int, bool]], slo: int) -> None:
    parts.sort()
    work = work_of([arrival for arrival, _ in parts], [slo * (2 if patient else 1) for _, patient in parts])
    times = ServiceTime(MAX_ROWS)
    times.seed(None, {rows: [SHAPE.ns(rows)] * 5 for rows in range(1, MAX_ROWS + 1)})
    scheduler = Scheduler(1)
    queue = scheduler.queue(scheduler.add_model("m", max_batch_size=MAX_ROWS, service_time=times))
    trajectory = simulate(scheduler, [queue], [SHAPE], work, Machine(np.random.default_rng(0)))
    ours = int((trajectory.outcome == IN_TIME).sum())
    assert ours <= best_of_all(tuple(work.arrival_ns.tolist()), tuple(work.deadline_ns.tolist()))


def test_the_bound_drops_the_hopeless_and_serves_the_rest() -> None:
    # Units of 10: at most three of five end by 30.
    work = work_of([0] * 5, [30] * 5)
    assert clairvoyant(work, np.array([10.0])).tolist() == [True, True, True, False, False]
    assert clairvoyant(work, np.array([10.0]), num_cores=2).tolist() == [True] * 5


def test_the_bound_is_as_slow_as_the_machine_was() -> None:
    machine = Machine(np.random.default_rng(0), slow_from_ns=1_000, slow_factor=2.0)
    times = ServiceTime(1)
    times.seed(None, {1: [100]})
    scheduler = Scheduler(1)
    queue = scheduler.queue(scheduler.add_model("m", max_batch_size=1, service_time=times))
    work = work_of([0, 1_500], [500, 500])
    trajectory = simulate(scheduler, [queue], [Shape(90, 10)], work, machine)
    assert trajectory.batch_end_ns.tolist() == [100, 1_700]
    clock = WorkClock(trajectory, machine, 1, 10_000)
    assert clock.at(np.array([500.0, 1_000.0, 2_000.0])).tolist() == [500.0, 1_000.0, 1_500.0]


def test_a_hiccup_costs_the_bound_its_time() -> None:
    class Hiccup(Machine):
        def factor(self, start_ns: int) -> float:
            return 5.0 if start_ns == 0 else 1.0

    times = ServiceTime(1)
    times.seed(None, {1: [100]})
    scheduler = Scheduler(1)
    queue = scheduler.queue(scheduler.add_model("m", max_batch_size=1, service_time=times))
    machine = Hiccup(np.random.default_rng(0))
    trajectory = simulate(scheduler, [queue], [Shape(90, 10)], work_of([0], [1_000]), machine)
    assert trajectory.batch_end_ns.tolist() == [500]
    # While the batch took 500 instead of 100, 100 of work could have been done.
    assert WorkClock(trajectory, machine, 1, 1_000).at(np.array([500.0, 600.0])) == pytest.approx([100, 200])


def test_the_search_knows_two_slos_at_most() -> None:
    with pytest.raises(ValueError, match="3 distinct SLOs"):
        best_found(work_of([0, 0, 0], [1, 2, 3]), SHAPE, 1)
