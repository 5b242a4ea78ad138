"""What is expected of a job that is not offered yet: the same as admission makes of it, and nothing changes."""

from hypothesis import given
from hypothesis import strategies as st

from trivet.schedule import Job, Queue, Scheduler, ServiceTime
from trivet.schedule.expecting import expected_end_ns


def made(unit_ns: int, cores: int = 1) -> tuple[Scheduler, list[Queue]]:
    """Two models of one row a batch, the second twice as slow, on the same cores."""
    scheduler = Scheduler(cores)
    queues = []
    for factor in (1, 2):
        times = ServiceTime(1)
        times.seed(None, {1: [factor * unit_ns] * 8})
        queues.append(
            scheduler.queue(scheduler.add_model(f"m{factor}", max_batch_size=1, service_time=times))
        )
    return scheduler, queues


def test_an_idle_server_needs_the_upper_quantile() -> None:
    _, (quick, slow) = made(1000)
    assert expected_end_ns(quick, 1, 10**9, 5) == 5 + quick.curve.upper[1]
    assert expected_end_ns(slow, 1, 10**9, 5) == 5 + slow.curve.upper[1]


def test_what_runs_and_what_is_due_earlier_comes_first() -> None:
    scheduler, (quick, slow) = made(1000)
    scheduler.offer(Job(slow, 1, 0, 10**6), 0)
    [_] = scheduler.poll(0)
    assert expected_end_ns(quick, 1, 10**6, 500) == 2000 + quick.curve.upper[1]
    scheduler.offer(Job(slow, 1, 500, 10**6), 500)
    scheduler.offer(Job(quick, 1, 500, 10**7), 500)
    assert expected_end_ns(quick, 1, 10**6, 500) == 4000 + quick.curve.upper[1]
    assert expected_end_ns(quick, 1, 10**7, 500) == 5000 + quick.curve.upper[1]
    assert expected_end_ns(quick, 1, 10**5, 500) == 2000 + quick.curve.upper[1]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40_000), st.booleans()), max_size=30),
    st.integers(0, 1),
    st.integers(1, 60_000),
)
def test_admission_takes_exactly_those_that_are_expected_in_time(
    before: list[tuple[int, int, bool]], which: int, budget_ns: int
) -> None:
    """Batches of one are as good as any, so that the backlog counts in full."""
    scheduler, queues = made(1000)
    now = 0
    for place, left_ns, polls in before:
        now += 300
        scheduler.offer(Job(queues[place], 1, now, now + left_ns), now)
        if polls:
            scheduler.poll(now)
    queue = queues[which]
    before_ns = [one.rows for one in queues]
    expected_ns = expected_end_ns(queue, 1, now + budget_ns, now)
    assert [one.rows for one in queues] == before_ns
    refusal = scheduler.offer(Job(queue, 1, now, now + budget_ns), now)
    if expected_ns <= now + budget_ns:
        assert refusal is None or refusal.reason == "overload"
    else:
        assert refusal is not None or queue.owner.served_ns < 0.05 * queue.model.lane.served_ns
