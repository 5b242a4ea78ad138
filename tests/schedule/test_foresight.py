"""Those who will not be served are told at once. Times in ns; s(b) = 1,000 + 10 b unless it says so."""

import numpy as np
import pytest

from trivet.schedule import DROPPED, REFUSED, Batch, Drop, Job, Queue, Refusal, Scheduler, ServiceTime
from trivet.simulate.driver import IN_TIME, LATE, simulate
from trivet.simulate.driver import REFUSED as TOLD
from trivet.simulate.workload import Machine, Shape, workload

BUDGET = 2_000
SHAPE = Shape(1_000, 10)


def one_queue(shape: Shape = SHAPE, max_rows: int = 100) -> tuple[Scheduler, Queue]:
    scheduler = Scheduler(1)
    times = ServiceTime(max_rows)
    times.seed(None, {rows: [shape.ns(rows)] * 10 for rows in (1, 2, 4, 8, 16, 32, 64, max_rows)})
    model = scheduler.add_model("m", max_batch_size=max_rows, service_time=times)
    return scheduler, scheduler.queue(model)


def offer(scheduler: Scheduler, queue: Queue, now: int, budget: int = BUDGET) -> Refusal | Job:
    job = Job(queue, 1, now, now + budget)
    refusal = scheduler.offer(job, now)
    assert (refusal is None) == (job.state != REFUSED)
    return refusal or job


def overloaded() -> tuple[Scheduler, Queue, Batch, list[Drop]]:
    """One in 10 ns for 1,010 ns while a batch of one runs, then the window that cannot take the oldest."""
    scheduler, queue = one_queue()
    queue.budget_ns = (
        BUDGET  # as learned from earlier jobs: batches that can go on for ever are far from the best
    )
    offer(scheduler, queue, 0)
    (first,) = scheduler.poll(0)
    assert isinstance(first, Batch)
    for now in range(30, 1_010, 10):
        assert isinstance(offer(scheduler, queue, now), Job)
    scheduler.finished(first, 1_010, 1_010)
    commands = scheduler.poll(1_010)
    (batch,) = [command for command in commands if isinstance(command, Batch)]
    return scheduler, queue, batch, [command for command in commands if isinstance(command, Drop)]


def test_those_whom_a_window_skips_are_told_when_it_starts() -> None:
    _, queue, batch, drops = overloaded()
    # Of 98 the densest window: 49 end at 2,500, when the first of them is due. The next batch ends after 3,900: the
    # newest job, due at 3,000, comes too early for that one.
    assert [job.arrival_ns for job in batch.jobs] == list(range(510, 1_000, 10))
    assert [drop.job.arrival_ns for drop in drops] == [*range(30, 510, 10), 1_000]
    assert {drop.job.state for drop in drops} == {DROPPED}
    assert {drop.reason for drop in drops if drop.refusal is not None} == {"overload"}
    assert (queue.owner.dropped, len(queue)) == ({"overload": 49}, 0)


def test_newcomers_who_are_due_before_the_next_batch_can_end_are_refused_with_the_time_to_wait() -> None:
    scheduler, queue, batch, _ = overloaded()
    plan = queue.plan
    assert plan is not None
    # Kept for a batch of 85 % of the last, at its predicted end: 2,500 + 1,410.
    assert plan.least_ns == pytest.approx(1_010 + 1_490 + 1_410, abs=3)
    refusal = offer(scheduler, queue, 1_600)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.retry_after_ns) == ("overload", plan.least_ns - 1_600 - BUDGET)
    assert isinstance(offer(scheduler, queue, 1_600 + refusal.retry_after_ns), Job)
    assert isinstance(offer(scheduler, queue, 1_600, budget=3 * BUDGET), Job)  # patient enough
    scheduler.finished(batch, 2_500, 1_490)


def test_behind_a_full_batch_newcomers_are_measured_against_the_one_after_it() -> None:
    scheduler, queue, batch, _ = overloaded()
    plan = queue.plan
    assert plan is not None
    now = 2_499
    admitted = 0
    while isinstance(refusal := offer(scheduler, queue, now), Job):
        admitted += 1
    assert admitted == plan.most_rows == 1 + int(1.1 * 2 * batch.rows)
    assert refusal.retry_after_ns == plan.least_ns + plan.batch_ns - now - BUDGET


def test_while_the_engine_is_late_newcomers_take_the_place_of_the_oldest() -> None:
    scheduler, queue, batch, _ = overloaded()
    for now in range(1_920, 2_520, 10):
        assert isinstance(offer(scheduler, queue, now), Job)
    assert scheduler.poll(2_490) == []
    offered = len(queue)
    for now in range(2_520, 2_720, 10):  # it should have been over at 2,500
        offer(scheduler, queue, now)
    told = [command.job.arrival_ns for command in scheduler.poll(2_720) if isinstance(command, Drop)]
    assert told == list(range(1_920, 1_920 + 10 * len(told), 10))
    assert len(told) == 22  # 220 late: so much later the next batch will end
    assert len(queue) == offered + 20 - len(told) >= batch.rows


def test_when_the_overload_is_over_everybody_may_come_in() -> None:
    scheduler, queue, batch, _ = overloaded()
    offer(scheduler, queue, 2_000)
    scheduler.finished(batch, 2_500, 1_490)
    (small,) = scheduler.poll(2_500)
    assert isinstance(small, Batch)
    assert queue.plan is None
    assert isinstance(offer(scheduler, queue, 2_600), Job)


@pytest.mark.parametrize("shape", [Shape(1_000, 10), Shape(400, 25)])
@pytest.mark.parametrize("load", [1.5, 3.0, 10.0])
def test_most_of_those_who_are_not_served_are_told_at_once(shape: Shape, load: float) -> None:
    scheduler, queue = one_queue(shape)
    rng = np.random.default_rng(1)
    max_rows = min(100, shape.max_rows(BUDGET))
    rate = load * shape.best_rows_per_ns(BUDGET)
    work = workload(np.sort(rng.integers(0, 60 * BUDGET, int(rate * 60 * BUDGET))), BUDGET)
    happened = simulate(scheduler, [queue], [shape], work, Machine(rng))
    lost = happened.outcome > LATE
    waits = (happened.done_ns - work.arrival_ns)[lost]
    assert np.median(waits) <= BUDGET / 20
    assert np.count_nonzero(happened.outcome == TOLD) >= 0.6 * np.count_nonzero(lost)
    # And the machine is kept as busy as before: batches of what arrives in the time that a batch leaves of the budget.
    rows = max(n for n in range(1, max_rows + 1) if rate * (BUDGET - shape.ns(n)) >= n)
    served = np.count_nonzero(happened.outcome == IN_TIME)
    assert served >= 0.97 * rows / shape.ns(rows) * 60 * BUDGET
