"""A job that finds everything idle: saying that it was served alone is the same as offering, starting and finishing it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.schedule import Batch, Job, Model, Queue, Scheduler, ServiceTime

TIMES = {1: [100, 110, 90], 2: [180, 190, 170], 4: [300, 310, 320]}


def scheduler_of(**levers: Any) -> tuple[Scheduler, Model, Queue]:
    times = ServiceTime(4)
    times.seed(None, TIMES)
    scheduler = Scheduler(1)
    model = scheduler.add_model("m", max_batch_size=4, service_time=times, cores=0, **levers)
    return scheduler, model, scheduler.queue(model)


def seen(scheduler: Scheduler, queue: Queue) -> list[object]:
    """All that decisions depend on."""
    owner, lane, curve = queue.owner, queue.model.lane, queue.curve
    return [
        *(
            getattr(queue, name)
            for name in Queue.__slots__
            if name not in ("model", "owner", "curve", "plan")
        ),
        *(
            getattr(owner, name)
            for name in ("admitted", "num_finished", "num_running", "num_waiting", "dropped", "refused")
        ),
        *(
            getattr(lane, name)
            for name in ("busy_until_ns", "free", "free_ns", "running", "waiting", "served_ns")
        ),
        curve.mean,
        curve.upper,
        curve.best,
        curve.limit,
        curve.unit_ns,
        curve.num_observed,
        curve.values(),
        scheduler.num_waiting,
    ]


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 400), st.integers(50, 2_000)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_serving_a_job_alone_leaves_the_scheduler_as_the_long_way_does(
    jobs: list[tuple[int, int, int]],
) -> None:
    (long, _, queue), (short, _, other) = scheduler_of(), scheduler_of()
    now = 0
    for gap, service, budget in jobs:
        now += gap
        is_lone = short.is_lone(other, 1, now + budget, now)
        refusal = long.offer(job := Job(queue, 1, now, now + budget), now)
        assert is_lone == (refusal is None)
        if refusal is None:
            (batch,) = long.poll(now)
            assert isinstance(batch, Batch)
            assert (batch.jobs, batch.started_ns) == ([job], now)
            now += service
            long.finished(batch, now, service)
            short.served_alone(other, 1, service)
        else:
            short.offer(Job(other, 1, now, now + budget), now)
        assert seen(long, queue) == seen(short, other)


def test_who_is_not_alone_or_could_be_deferred_goes_the_long_way() -> None:
    scheduler, _, queue = scheduler_of()
    assert scheduler.is_lone(queue, 1, 1_000, 0)
    scheduler.offer(Job(queue, 1, 0, 1_000), 0)
    assert not scheduler.is_lone(queue, 1, 1_000, 0)
    scheduler.poll(0)
    assert not scheduler.is_lone(queue, 1, 1_000, 0)
    for levers in ({"deferral_ns": 10}, {"max_queue_ns": 1_000}):
        scheduler, _, queue = scheduler_of(**levers)
        assert not scheduler.is_lone(queue, 1, 1_000, 0)
