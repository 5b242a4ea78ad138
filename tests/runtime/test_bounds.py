"""What one client may make the runtime keep or do: parts of a large batch, queues of ever new shapes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import models as build
from trivet.clock import FakeClock
from trivet.errors import RefusedError, RequestError
from trivet.runtime.installing import install
from trivet.runtime.live import LiveService
from trivet.runtime.preparing.preparing import prepare
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.runtime import Runtime
from trivet.schedule import Scheduler
from trivet.schedule.foresight import Plan
from trivet.spec.service_file import load_configuration
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage

SERVICE = "models: {m: {file: m.onnx, levers: {max_batch_size: 8, execution: inline}}}\nslo: {deadline: 1s}\n"


class Answers:
    """A reply that remembers what it was told."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.errors: list[RequestError] = []

    def answer(self, request: Request, results: Results, start: int) -> None:
        self.rows.append(len(results.part(start, request.rows)["y"]))

    def fail(self, request: Request, error: RequestError) -> None:
        self.errors.append(error)


Run = Callable[[Callable[[Runtime, LiveService], None]], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Calls its argument with a runtime and a service of one identity model, in a loop that then runs dry."""
    build.write(build.identity(), tmp_path / "m.onnx")
    (tmp_path / "service.yaml").write_text(SERVICE)
    prepared = prepare(load_configuration(tmp_path / "service.yaml"), "1", FakeClock().now_ns, lambda _: None)

    def run(work: Callable[[Runtime, LiveService], None]) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            clock = FakeClock()
            runtime = Runtime(loop, Scheduler(1), clock.now_ns)
            live = install(prepared, runtime.scheduler, loop, clock.now_ns, lambda _: None)
            runtime.add(live)
            work(runtime, live)
            while runtime.scheduler.num_waiting:
                await asyncio.sleep(0)

        asyncio.run(main())

    return run


def request(live: LiveService, rows: int, width: int, reply: Answers, priority: int = 0) -> Request:
    message = InferMessage([InferInput((rows, width), bytes(4 * rows * width))], "", None, None, False)
    return live.request(message, 0, 0, 0, priority, reply)


def test_a_large_batch_is_answered_whole_with_few_parts_on_their_way(run: Run) -> None:
    reply = Answers()
    most = []

    def work(runtime: Runtime, live: LiveService) -> None:
        runtime.submit(request(live, 20_001, 1, reply))
        most.append(runtime.scheduler.num_waiting)

    run(work)
    assert (reply.rows, reply.errors) == ([20_001], [])
    assert most[0] <= 2


def test_a_batch_that_no_idle_machine_can_do_in_time_is_refused_at_once(run: Run) -> None:
    reply = Answers()

    def work(runtime: Runtime, live: LiveService) -> None:
        first = request(live, 8, 1, reply)
        first.queue.curve.seed({1: [100_000_000], 8: [100_000_000]})
        runtime.submit(request(live, 8 * 11, 1, reply))

    run(work)
    assert not reply.rows
    assert isinstance(reply.errors[0], RefusedError)


def test_ever_new_shapes_and_priorities_do_not_fill_the_memory(run: Run) -> None:
    reply = Answers()
    counts = []

    def work(runtime: Runtime, live: LiveService) -> None:
        for width in range(1, 3_000):
            request(live, 1, width, reply, priority=width % 100)
        model = live.models[0]
        counts.extend([len(model.scheduled.queues), len(model.service_time.curves)])

    run(work)
    assert max(counts) <= 1_100


def test_a_request_that_is_given_up_early_is_refused_and_told_when_to_try_again(run: Run) -> None:
    reply = Answers()

    def work(runtime: Runtime, live: LiveService) -> None:
        for rows in (5, 6):  # more than one batch takes
            runtime.submit(request(live, rows, 1, reply))
        queue = request(live, 1, 1, reply).queue
        queue.plan = Plan(
            rows=8, free_ns=0, batch_ns=1, least_ns=queue.deadlines[0] + 7, full_ns=0, most_rows=8
        )

    run(work)
    assert [type(error) for error in reply.errors] == [RefusedError, RefusedError]
    assert {error.retry_after_ns for error in reply.errors} == {7}
