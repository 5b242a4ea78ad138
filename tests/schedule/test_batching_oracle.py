"""Windows, feasibility and credits against slow loops straight from their definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.schedule import Job, Queue, Scheduler, ServiceTime
from trivet.schedule.batching import Cut, head_cut, is_feasible, is_passing, sustainable, window_cut
from trivet.schedule.credits import Credits

SHAPES = st.tuples(st.integers(0, 200), st.integers(1, 50))
DEADLINES = st.lists(st.integers(0, 800), min_size=1, max_size=20)


def queue_of(shape: tuple[int, int], deadlines: list[int], rows: list[int] | None = None) -> Queue:
    scheduler = Scheduler(1)
    times = ServiceTime(8)
    times.seed(None, {size: [shape[0] + shape[1] * size] for size in range(1, 9)})
    model = scheduler.add_model("m", max_batch_size=8, service_time=times)
    queue = scheduler.queue(model)
    for number, deadline in enumerate(deadlines):
        queue.insert(Job(queue, rows[number] if rows else 1, 0, deadline))
    return queue


@given(SHAPES, DEADLINES)
def test_the_window_has_the_most_rows_a_second_of_all_runs_in_time(
    shape: tuple[int, int], deadlines: list[int]
) -> None:
    queue = queue_of(shape, deadlines)
    upper, mean = queue.curve.upper, queue.curve.mean
    feasible = [
        size / mean[size]
        for size in range(1, min(8, len(deadlines)) + 1)
        for start in range(len(deadlines) - size + 1)
        if upper[size] <= queue.deadlines[start]
    ]
    cut = window_cut(queue, 0)
    if cut is None:
        assert feasible == []
        return
    assert upper[cut.rows] <= queue.deadlines[cut.start]
    assert cut.rows / mean[cut.rows] == pytest.approx(max(feasible))


@given(SHAPES, DEADLINES, st.data())
def test_windows_of_jobs_with_several_rows_are_in_time(
    shape: tuple[int, int], deadlines: list[int], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(1, 8), min_size=len(deadlines), max_size=len(deadlines)))
    queue = queue_of(shape, deadlines, rows)
    cut = window_cut(queue, 0)
    alone = [job for job in queue.jobs if queue.curve.upper[job.rows] <= job.deadline_ns]
    if cut is None:
        assert alone == []
        return
    taken = queue.jobs[cut.start : cut.stop]
    assert sum(job.rows for job in taken) == cut.rows <= 8
    assert queue.curve.upper[cut.rows] <= min(job.deadline_ns for job in taken)


@given(SHAPES, DEADLINES)
def test_the_head_batch_is_the_largest_that_its_deadline_allows(
    shape: tuple[int, int], deadlines: list[int]
) -> None:
    queue = queue_of(shape, deadlines)
    cut = head_cut(queue, 0)
    allowed = [
        size for size in range(1, min(8, len(deadlines)) + 1) if queue.curve.upper[size] <= queue.deadlines[0]
    ]
    assert (cut.start, cut.stop) == (0, cut.rows)
    assert cut.rows == max(allowed, default=1)


@given(SHAPES, DEADLINES)
def test_a_backlog_is_feasible_if_earliest_deadline_first_serves_all(
    shape: tuple[int, int], deadlines: list[int]
) -> None:
    queue = queue_of(shape, deadlines)
    left, now, in_time = sorted(deadlines), 0, True
    while left and in_time:
        sizes = [size for size in range(1, min(8, len(left)) + 1) if now + queue.curve.upper[size] <= left[0]]
        in_time = bool(sizes)
        if sizes:
            now += queue.curve.mean[max(sizes)]
            del left[: max(sizes)]
    assert is_feasible([queue], 0, 1) == in_time


@given(
    SHAPES,
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(-2, 40),
    st.lists(st.integers(0, 60), max_size=300),
)
def test_a_long_backlog_is_judged_as_by_a_walk_over_all_of_it(
    shape: tuple[int, int], instances: int, slower: int, spare: int, jitter: list[int]
) -> None:
    """Deadlines that ascend about as fast as batches are served: where many places have little slack."""
    scheduler = Scheduler(4)
    times = ServiceTime(8)
    times.seed(None, {size: [shape[0] + shape[1] * size] for size in range(1, 9)})
    model = scheduler.add_model("m", max_batch_size=8, service_time=times, instances=instances)
    queue = scheduler.queue(model)
    start = times.curve(None).upper[8] + spare
    for number, late in enumerate(jitter or [0]):
        deadline = start + late + number * times.curve(None).unit_ns // (instances * slower)
        queue.insert(Job(queue, 1, 0, deadline))
    assert is_feasible([queue], 0, 4) == _walked(queue)


def _walked(queue: Queue) -> bool:
    curve, now, place, num = queue.curve, 0, 0, len(queue.deadlines)
    while place < num:
        most = curve.best[min(num, curve.limit)]
        sizes = [
            size
            for size in range(1, min(most, num - place) + 1)
            if now + curve.upper[size] <= queue.deadlines[place]
        ]
        if not sizes:
            return False
        now += curve.mean[max(sizes)] // queue.model.parallel
        place += max(sizes)
    return True


@given(
    st.lists(
        st.tuples(SHAPES, st.integers(1, 2), st.lists(st.integers(0, 1500), min_size=1, max_size=30)),
        min_size=2,
        max_size=4,
    ),
    st.integers(2, 4),
)
def test_backlogs_of_several_models_are_judged_by_the_work_that_is_due_by_each_deadline(
    backlogs: list[tuple[tuple[int, int], int, list[int]]], num_cores: int
) -> None:
    scheduler = Scheduler(num_cores)
    queues, chunks = [], []
    for number, (shape, cores, deadlines) in enumerate(backlogs):
        times = ServiceTime(8)
        times.seed(None, {size: [shape[0] + shape[1] * size] for size in range(1, 9)})
        model = scheduler.add_model(f"m{number}", max_batch_size=8, service_time=times, cores=cores)
        queue = scheduler.queue(model)
        for deadline in deadlines:
            queue.insert(Job(queue, 1, 0, deadline))
        step = queue.curve.best[min(queue.rows, 8)]
        cost = queue.curve.mean[step] * cores // num_cores
        chunks += [
            (queue.deadlines[place], cost * min(step, len(deadlines) - place) // step)
            for place in range(0, len(deadlines), step)
        ]
        queues.append(queue)
    in_time = all(sum(cost for due, cost in chunks if due <= at) <= at for at, _ in chunks)
    assert is_feasible(queues, 0, num_cores) == in_time


def test_the_sustainable_batch_leaves_room_for_who_just_missed_one() -> None:
    queue = queue_of((40, 10), [0])
    queue.budget_ns = 200
    assert sustainable(queue) == 6  # 2 x (40 + 60)


def test_credits_cut_a_standing_queue_and_grow_back() -> None:
    credits_ = Credits(target_ns=100, interval_ns=1_000)
    credits_.observe(50, 10, 0)  # the first interval ends at once
    calm = credits_.limit
    for now in (100, 500, 1_000):
        credits_.observe(300, 40, now)  # never below 300: it stands
    assert credits_.limit == pytest.approx(40 * (1 - 0.08 * 2))
    assert credits_.limit < calm
    cut = credits_.limit
    credits_.observe(300, 40, 1_500)
    credits_.observe(20, 40, 2_000)  # one short wait in the interval: a burst that drains, no standing queue
    assert credits_.limit == cut + 1


def test_credits_never_close_the_door() -> None:
    credits_ = Credits(target_ns=1, interval_ns=1)
    for now in range(100):
        credits_.observe(1_000_000, 5, now)
    assert credits_.limit == 1.0


def test_an_overload_passes_where_budgets_differ_and_the_long_run_can_be_carried() -> None:
    queue = queue_of((40, 10), [0])  # 8 rows in 120: 15 a row
    queue.budget_ns, queue.long_budget_ns, queue.mean_rate = 100, 200, 1 / 15
    assert is_passing(queue)
    queue.mean_rate = 1.2 / 15
    assert not is_passing(queue)  # it will last
    queue.mean_rate, queue.long_budget_ns = 1 / 15, 120
    assert not is_passing(queue)  # nobody is more patient than the others


def test_while_an_overload_passes_a_smaller_batch_is_good_enough() -> None:
    queue = queue_of((0, 10), [100] * 8)  # rows cost the same in any batch
    assert window_cut(queue, 0) == Cut(0, 8, 8, 1.0)
    queue.budget_ns, queue.long_budget_ns = 100, 200
    assert window_cut(queue, 0) == Cut(0, 1, 1, 1.0)


def test_rates_and_budgets_are_read_at_dispatches() -> None:
    queue = queue_of((0, 10), [100, 300])
    queue.offered = 64
    queue.note(640)
    assert (queue.budget_ns, queue.long_budget_ns) == (100, 300)
    assert queue.rate == queue.mean_rate == pytest.approx(0.1)
    queue.offered += 16
    queue.note(680)  # too few to tell a rate from
    assert queue.rate == pytest.approx(0.1)
    queue.offered += 48
    queue.note(704)  # 64 in 64: a burst shows before the window of one budget is over
    assert queue.rate == pytest.approx(1.0)
    assert queue.mean_rate == pytest.approx(0.1)


def test_a_smaller_margin_is_taken_where_it_gains_more_answers_than_it_loses() -> None:
    queue = queue_of((400, 10), [])
    queue.curve.seed({rows: [90 * (40 + rows), 110 * (40 + rows)] * 5 for rows in range(1, 9)})
    upper, mean = queue.curve.upper, queue.curve.mean
    # Two first jobs that are in time by four fifths of the margin, and six behind them that have all the time there is.
    edge = mean[8] + (upper[8] - mean[8]) * 4 // 5
    for deadline in [edge] * 2 + [2 * upper[8]] * 6:
        queue.insert(Job(queue, 1, 0, deadline))
    cut = window_cut(queue, 0)
    assert cut is not None
    assert (cut.start, cut.rows, cut.margin) == (0, 8, 0.75)


def test_no_margin_is_given_up_where_all_jobs_are_at_the_edge() -> None:
    queue = queue_of((0, 60), [])  # rows cost the same in any batch
    queue.curve.seed({rows: [90 * rows, 110 * rows] * 5 for rows in range(1, 9)})
    upper, mean = queue.curve.upper, queue.curve.mean
    for _ in range(8):
        queue.insert(Job(queue, 1, 0, mean[8] + (upper[8] - mean[8]) * 4 // 5))
    cut = window_cut(queue, 0)
    assert cut is not None
    assert cut.margin == 1.0
    assert upper[cut.rows] <= queue.deadlines[0]
