"""The queue against a list that is sorted anew for each question."""

from hypothesis import given
from hypothesis import strategies as st

from trivet.schedule import Job, Queue, Scheduler, ServiceTime


def new_queue() -> Queue:
    scheduler = Scheduler(1)
    model = scheduler.add_model("m", max_batch_size=8, service_time=ServiceTime(8))
    return scheduler.queue(model)


JOBS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=30)


def filled(parts: list[tuple[int, int]]) -> tuple[Queue, list[Job]]:
    queue = new_queue()
    jobs = [Job(queue, rows, 0, deadline) for deadline, rows in parts]
    for job in jobs:
        queue.insert(job)
    return queue, sorted(jobs, key=lambda job: job.deadline_ns)


def check(queue: Queue, expected: list[Job]) -> None:
    assert queue.jobs == expected
    assert queue.deadlines == [job.deadline_ns for job in expected]
    assert queue.rows == sum(job.rows for job in expected)


@given(JOBS)
def test_jobs_stand_in_order_of_deadline_then_arrival(parts: list[tuple[int, int]]) -> None:
    queue, expected = filled(parts)
    assert [job.deadline_ns for job in queue.jobs] == sorted(deadline for deadline, _ in parts)
    check(queue, expected)


@given(JOBS, st.integers(0, 30), st.integers(0, 30))
def test_taking_cuts_a_slice(parts: list[tuple[int, int]], start: int, length: int) -> None:
    queue, expected = filled(parts)
    assert queue.take(start, start + length) == expected[start : start + length]
    check(queue, expected[:start] + expected[start + length :])


@given(JOBS, st.integers(0, 29))
def test_removing_finds_the_very_job_among_equal_deadlines(parts: list[tuple[int, int]], place: int) -> None:
    queue, expected = filled(parts)
    if place < len(expected):
        job = expected.pop(place)
        assert queue.remove(job)
        assert not queue.remove(job)
    check(queue, expected)


@given(JOBS, st.integers(0, 30), st.integers(1, 12))
def test_fit_is_the_longest_run_within_the_rows(parts: list[tuple[int, int]], start: int, most: int) -> None:
    queue, expected = filled(parts)
    stop, rows = queue.fit(min(start, len(expected)), most)
    start = min(start, len(expected))
    assert rows == sum(job.rows for job in expected[start:stop]) <= most
    assert stop == len(expected) or rows + expected[stop].rows > most


@given(JOBS, st.integers(-1, 21))
def test_rows_until_a_deadline(parts: list[tuple[int, int]], deadline: int) -> None:
    queue, expected = filled(parts)
    assert queue.rows_until(deadline) == sum(job.rows for job in expected if job.deadline_ns <= deadline)
