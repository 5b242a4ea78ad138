"""Each rule of the scheduler in the smallest scene that shows it. Times in ns; s(b) = 100 + 10 b unless it says so."""

import pytest

from trivet.schedule import (
    CANCELLED,
    DONE,
    DROPPED,
    REFUSED,
    RUNNING,
    Batch,
    Drop,
    Job,
    Model,
    Queue,
    Scheduler,
    ServiceTime,
)


def add(
    scheduler: Scheduler,
    *,
    max_rows: int = 8,
    fixed: int = 100,
    per_row: int = 10,
    name: str = "m",
    **levers: int,
) -> Model:
    times = ServiceTime(max_rows)
    times.seed(None, {rows: [fixed + rows * per_row] * 10 for rows in range(1, max_rows + 1)})
    return scheduler.add_model(name, max_batch_size=max_rows, service_time=times, **levers)


def one_queue(num_cores: int = 1, **levers: int) -> tuple[Scheduler, Queue]:
    scheduler = Scheduler(num_cores)
    return scheduler, scheduler.queue(add(scheduler, **levers))


def offered(scheduler: Scheduler, queue: Queue, *deadlines: int, now: int = 0, rows: int = 1) -> list[Job]:
    jobs = [Job(queue, rows, now, deadline) for deadline in deadlines]
    for job in jobs:
        assert scheduler.offer(job, now) is None
    return jobs


def placed(scheduler: Scheduler, queue: Queue, *deadlines: int) -> list[Job]:
    """Waiting jobs past admission: more than can be done, as after a hiccup."""
    generous = offered(scheduler, queue, *[10**9] * len(deadlines))
    for job, deadline in zip(generous, deadlines, strict=True):
        queue.remove(job)
        job.deadline_ns = deadline
        queue.insert(job)
    return generous


def batches(scheduler: Scheduler, now: int) -> list[Batch]:
    commands = scheduler.poll(now)
    assert not [command for command in commands if isinstance(command, Drop)]
    return [command for command in commands if isinstance(command, Batch)]


def test_what_waits_goes_together_at_once() -> None:
    scheduler, queue = one_queue()
    jobs = offered(scheduler, queue, 1_000, 900, 1_100)
    (batch,) = batches(scheduler, 0)
    assert [jobs[1], jobs[0], jobs[2]] == batch.jobs  # earliest deadline first
    assert (batch.rows, batch.started_ns, batch.predicted_ns) == (3, 0, 130)
    assert {job.state for job in jobs} == {RUNNING}
    assert scheduler.poll(0) == []
    scheduler.finished(batch, 130, 130)
    assert {job.state for job in jobs} == {DONE}


def test_jobs_gather_while_the_core_is_busy() -> None:
    scheduler, queue = one_queue()
    offered(scheduler, queue, 1_000)
    (first,) = batches(scheduler, 0)
    offered(scheduler, queue, 1_000, 1_000, now=50)
    assert batches(scheduler, 50) == []
    scheduler.finished(first, 110, 110)
    assert [batch.rows for batch in batches(scheduler, 110)] == [2]


def test_a_batch_is_no_larger_than_the_earliest_deadline_allows() -> None:
    scheduler, queue = one_queue()
    offered(scheduler, queue, 125, 1_000, 1_000, 1_000)
    (batch,) = batches(scheduler, 0)
    assert batch.rows == 2  # 120 in time, 130 would be late for the first


def test_a_deadline_that_cannot_be_met_is_refused() -> None:
    scheduler, queue = one_queue()
    job = Job(queue, 1, 0, 109)
    refusal = scheduler.offer(job, 0)
    assert refusal is not None
    assert (refusal.reason, job.state) == ("deadline", REFUSED)
    assert queue.owner.refused == {"deadline": 1}
    assert scheduler.poll(0) == []


def test_a_refusal_says_when_to_try_again() -> None:
    scheduler, queue = one_queue()
    offered(scheduler, queue, 1_000)
    scheduler.poll(0)
    # The core is free at 110, a batch of one takes 110: 150 cannot be met, and could be if it came at 110.
    refusal = scheduler.offer(Job(queue, 1, 10, 150), 10)
    assert refusal is not None
    assert refusal.retry_after_ns == 100


def test_the_backlog_that_is_due_earlier_counts_at_arrival() -> None:
    # 10 + 100 b: batching gains next to nothing, so the test of the backlog holds.
    scheduler, queue = one_queue(fixed=10, per_row=100)
    offered(scheduler, queue, 10_000)
    scheduler.poll(0)
    offered(scheduler, queue, *[700] * 5)
    assert scheduler.offer(Job(queue, 1, 0, 700), 0) is not None  # behind five others
    assert scheduler.offer(Job(queue, 1, 0, 690), 0) is None  # before them all


def test_what_cannot_be_met_any_more_is_dropped_before_it_runs() -> None:
    scheduler, queue = one_queue()
    first = offered(scheduler, queue, 10_000)
    (batch,) = batches(scheduler, 0)
    late = offered(scheduler, queue, 260)  # predicted: free at 110, done at 220
    scheduler.finished(batch, 200, None)  # a hiccup
    commands = scheduler.poll(200)
    assert [(type(command), command.job) for command in commands if isinstance(command, Drop)] == [
        (Drop, late[0])
    ]
    assert (first[0].state, late[0].state) == (DONE, DROPPED)
    assert queue.owner.dropped == {"deadline": 1}


def test_wake_up_comes_when_the_earliest_deadline_is_lost() -> None:
    scheduler, queue = one_queue()
    offered(scheduler, queue, 10_000)
    assert len(batches(scheduler, 0)) == 1
    assert scheduler.wake_at_ns() is None
    offered(scheduler, queue, 260)
    wake = scheduler.wake_at_ns()
    assert wake is not None
    assert scheduler.poll(wake - 1) == []
    assert [type(command) for command in scheduler.poll(wake)] == [Drop]


def test_under_overload_a_denser_window_skips_the_head() -> None:
    scheduler, queue = one_queue(fixed=1_000, per_row=10, max_rows=16)
    offered(scheduler, queue, 20_000)
    (running,) = batches(scheduler, 0)
    head = placed(scheduler, queue, 2_042)  # allows a batch of 3 when the core is free at 1,010
    placed(scheduler, queue, *[2_152] * 16)
    scheduler.finished(running, 1_010, None)
    commands = scheduler.poll(1_010)
    batch = commands[0]
    assert isinstance(batch, Batch)
    assert batch.rows == 14  # 1,140 and a little: the most that 2,152 allows
    assert head[0] not in batch.jobs
    # The head cannot wait for the core to be free again: it is told at once.
    assert head[0] in [command.job for command in commands if isinstance(command, Drop)]


def test_the_head_is_served_when_that_costs_less_than_three_percent() -> None:
    scheduler, queue = one_queue(fixed=10, per_row=1_000, max_rows=16)
    offered(scheduler, queue, 50_000)
    (running,) = batches(scheduler, 0)
    head = placed(scheduler, queue, 3_030)  # allows two rows, half a percent less dense than any number
    placed(scheduler, queue, *[9_000] * 12)
    scheduler.finished(running, 1_010, None)
    batch = next(command for command in scheduler.poll(1_010) if isinstance(command, Batch))
    assert batch.jobs[0] is head[0]


def test_rows_count_not_jobs() -> None:
    scheduler, queue = one_queue()
    offered(scheduler, queue, 10_000, 10_000, 10_000, rows=3)
    (batch,) = batches(scheduler, 0)
    assert (len(batch.jobs), batch.rows, batch.predicted_ns) == (2, 6, 160)


def test_a_job_larger_than_a_batch_is_an_error_of_the_caller() -> None:
    scheduler, queue = one_queue()
    with pytest.raises(ValueError, match=r"9 rows.*at most 8; split it"):
        scheduler.offer(Job(queue, 9, 0, 10_000), 0)


def test_buckets_do_not_share_a_batch() -> None:
    scheduler, short = one_queue()
    long = scheduler.queue(short.model, bucket=64)
    offered(scheduler, short, 1_000)
    offered(scheduler, long, 900)
    (batch,) = batches(scheduler, 0)
    assert batch.queue is long  # the earlier deadline; the other waits for the core


def test_instances_and_cores_bound_what_runs_at_once() -> None:
    scheduler = Scheduler(3)
    single = add(scheduler, name="single", max_rows=1)
    wide = add(scheduler, name="wide", max_rows=1, cores=2, instances=2)
    offered(scheduler, scheduler.queue(single), 10_000, 10_000)
    offered(scheduler, scheduler.queue(wide), 20_000, 20_000)
    started = batches(scheduler, 0)
    assert [batch.model.name for batch in started] == ["single", "wide"]
    scheduler.finished(started[0], 110, None)
    assert [batch.model.name for batch in batches(scheduler, 110)] == ["single"]


def test_cores_are_held_for_a_batch_that_needs_several() -> None:
    scheduler = Scheduler(2)
    single = scheduler.queue(add(scheduler, name="single", max_rows=1, instances=2))
    wide = scheduler.queue(add(scheduler, name="wide", max_rows=1, cores=2))
    offered(scheduler, single, 10_000, 10_000)
    first, second = batches(scheduler, 0)
    offered(scheduler, single, 10_000, 10_000)
    offered(scheduler, wide, 5_000)
    scheduler.finished(first, 110, None)
    assert batches(scheduler, 110) == []  # the wide one is due first and waits for both cores
    scheduler.finished(second, 120, None)
    assert [batch.queue for batch in batches(scheduler, 120)] == [wide]


def test_inline_models_need_no_core_and_run_one_at_a_time() -> None:
    scheduler = Scheduler(1)
    threaded = scheduler.queue(add(scheduler, name="threaded"))
    inline = scheduler.queue(add(scheduler, name="inline", cores=0))
    offered(scheduler, threaded, 10_000)
    assert len(batches(scheduler, 0)) == 1
    offered(scheduler, inline, 10_000)
    (first,) = batches(scheduler, 1)
    assert first.model.name == "inline"
    offered(scheduler, inline, 10_000)
    assert batches(scheduler, 2) == []
    scheduler.finished(first, 111, 110)
    assert len(batches(scheduler, 111)) == 1


def test_a_cancelled_job_is_gone_and_a_running_one_is_not() -> None:
    scheduler, queue = one_queue()
    running = offered(scheduler, queue, 10_000)
    scheduler.poll(0)
    waiting = offered(scheduler, queue, 10_000)
    assert not scheduler.cancel(running[0], 1)
    assert scheduler.cancel(waiting[0], 1)
    assert not scheduler.cancel(waiting[0], 1)
    assert waiting[0].state == CANCELLED
    assert (scheduler.num_waiting, queue.owner.num_cancelled) == (0, 1)


def test_a_model_that_holds_jobs_is_not_removed() -> None:
    scheduler, queue = one_queue()
    (job,) = offered(scheduler, queue, 10_000)
    with pytest.raises(ValueError, match="1 waiting jobs and 0 running batches; drain it first"):
        scheduler.remove_model(queue.model)
    scheduler.cancel(job, 1)
    scheduler.remove_model(queue.model)
    assert scheduler.models == []


def overloaded(*owners: tuple[int, int]) -> tuple[Scheduler, list[Queue]]:
    """A model for each (priority, jobs); all due at 1,500 behind a running batch: time for about one of them."""
    scheduler = Scheduler(1)
    blocker = scheduler.queue(add(scheduler, name="blocker", max_rows=1))
    offered(scheduler, blocker, 10_000)
    (running,) = batches(scheduler, 0)
    queues = []
    for number, (priority, num) in enumerate(owners):
        model = add(scheduler, name=f"model {number}", fixed=900, per_row=10)
        queues.append(scheduler.queue(model, priority=priority))
        placed(scheduler, queues[-1], *[1_500] * num)
    scheduler.finished(running, 110, None)
    return scheduler, queues


def test_priority_decides_when_not_all_can_be_served() -> None:
    scheduler, queues = overloaded((1, 1), (0, 1))
    for queue in queues:  # nobody is owed anything
        queue.owner.served_ns = queue.model.lane.served_ns = 10_000
    queues[0].model.lane.served_ns = 30_000
    batch = next(command for command in scheduler.poll(110) if isinstance(command, Batch))
    assert batch.queue.priority == 0


def test_a_class_below_its_minimum_share_goes_before_priority() -> None:
    scheduler, queues = overloaded((1, 1), (0, 1))
    queues[1].owner.served_ns = queues[1].model.lane.served_ns = 10_000
    batch = next(command for command in scheduler.poll(110) if isinstance(command, Batch))
    assert batch.queue.priority == 1


def test_deferral_waits_for_company_only_where_it_pays() -> None:
    scheduler, queue = one_queue(fixed=1_000, per_row=10, deferral_ns=500)
    queue.rate = 0.01  # one in 100
    offered(scheduler, queue, 100_000)
    assert batches(scheduler, 0) == []
    assert scheduler.wake_at_ns() == 400  # after that nobody more is expected before 500
    offered(scheduler, queue, 100_000, now=100)
    assert batches(scheduler, 399) == []
    assert [batch.rows for batch in batches(scheduler, 400)] == [2]


def test_deferral_never_waits_for_nobody_nor_past_a_deadline_nor_without_a_gain() -> None:
    scheduler, queue = one_queue(fixed=1_000, per_row=10, deferral_ns=500)
    offered(scheduler, queue, 100_000)
    assert len(batches(scheduler, 0)) == 1  # nobody is expected
    tight_scheduler, tight = one_queue(fixed=1_000, per_row=10, deferral_ns=500)
    tight.rate = 0.01
    offered(tight_scheduler, tight, 1_100)
    assert len(batches(tight_scheduler, 85)) == 1  # two rows take 1,020: time is up at 79
    flat_scheduler, flat = one_queue(fixed=10, per_row=1_000, deferral_ns=500)
    flat.rate = 0.01
    offered(flat_scheduler, flat, 100_000)
    assert len(batches(flat_scheduler, 0)) == 1  # batching gains nothing


def test_nobody_is_admitted_to_wait_longer_than_the_queue_bound() -> None:
    scheduler, queue = one_queue(fixed=10, per_row=100, max_queue_ns=350)
    offered(scheduler, queue, 10**9)
    scheduler.poll(0)
    offered(scheduler, queue, 10**9, 10**9)  # waits of 110 and 211
    assert scheduler.offer(Job(queue, 1, 0, 10**9), 0) is None
    refusal = scheduler.offer(Job(queue, 1, 0, 10**9), 0)
    assert refusal is not None
    assert refusal.reason == "queue"


@pytest.mark.parametrize("levers", [{"max_batch_size": 4}, {"max_batch_size": 8, "cores": 3}])
def test_impossible_models_are_refused(levers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="model 'm'"):
        Scheduler(2).add_model("m", service_time=ServiceTime(8), **levers)


def test_admission_counts_the_backlog_of_all_models_on_the_cores() -> None:
    scheduler = Scheduler(1)
    first = scheduler.queue(add(scheduler, name="first", fixed=10, per_row=100))
    second = scheduler.queue(add(scheduler, name="second", fixed=10, per_row=100))
    offered(scheduler, first, 10_000)
    scheduler.poll(0)
    for queue in (first, second):  # both have had their share
        queue.owner.served_ns = queue.model.lane.served_ns = 1_000
    offered(scheduler, first, *[700] * 5)
    refusal = scheduler.offer(Job(second, 1, 0, 700), 0)
    assert refusal is not None
    assert refusal.reason == "deadline"
    assert scheduler.offer(Job(second, 1, 0, 900), 0) is None


def test_a_less_important_backlog_does_not_count() -> None:
    scheduler, important = one_queue(fixed=10, per_row=100)
    bulk = scheduler.queue(important.model, priority=1)
    offered(scheduler, important, 10_000)
    scheduler.poll(0)
    offered(scheduler, bulk, *[700] * 5)
    assert scheduler.offer(Job(important, 1, 0, 700), 0) is None


def test_inline_models_are_not_counted_against_the_cores() -> None:
    scheduler = Scheduler(1)
    threaded = scheduler.queue(add(scheduler, name="threaded", fixed=10, per_row=100))
    inline = scheduler.queue(add(scheduler, name="inline", cores=0))
    offered(scheduler, threaded, 10_000)
    scheduler.poll(0)
    offered(scheduler, threaded, *[700] * 5)
    assert scheduler.offer(Job(inline, 1, 0, 115), 0) is None


def test_a_model_elsewhere_takes_no_core_and_waits_for_none() -> None:
    scheduler = Scheduler(1)
    here = scheduler.add_model("here", max_batch_size=1, service_time=ServiceTime(1))
    far = scheduler.add_model(
        "far", max_batch_size=1, service_time=ServiceTime(1), instances=3, elsewhere=True
    )
    queues = [scheduler.queue(here)] + [scheduler.queue(far)] * 4
    for queue in queues:
        assert scheduler.offer(Job(queue, 1, 0, 10**12), 0) is None
    started = [command for command in scheduler.poll(0) if isinstance(command, Batch)]
    assert sorted(batch.model.name for batch in started) == ["far", "far", "far", "here"]
    assert scheduler.poll(1) == []  # the fourth waits for one of the three, and for nobody else
    scheduler.finished(next(batch for batch in started if batch.model is far), 2)
    assert [command.model.name for command in scheduler.poll(2) if isinstance(command, Batch)] == ["far"]


def test_a_model_elsewhere_leaves_with_its_lane() -> None:
    scheduler = Scheduler(1)
    far = scheduler.add_model(
        "far", max_batch_size=1, service_time=ServiceTime(1), instances=3, elsewhere=True
    )
    assert scheduler.offer(Job(scheduler.queue(far), 1, 0, 10**12), 0) is None
    (batch,) = scheduler.poll(0)
    assert isinstance(batch, Batch)
    scheduler.finished(batch, 1)
    scheduler.remove_model(far)
    assert (scheduler.models, scheduler.poll(2)) == ([], [])
