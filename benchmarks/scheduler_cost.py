"""What does one decision of the scheduler cost? It is on every request's way."""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from trivet.schedule import Batch, Job, Model, Queue, Scheduler, ServiceTime

QUESTION = "What does one decision of the scheduler cost?"
SHORT = True

MS = 1_000_000
GOALS_US = {
    "offer": 1.0,
    "poll + finished, batch of 1": 4.2,
    "poll + finished, batch of 16": 6.4,
    "refusal, 5,000 waiting": 3.0,
    "offer + poll + finished, batch of 1, 500 waiting": 10.0,
}


def scheduler_of(fixed_ns: int, per_row_ns: int, max_batch_size: int = 64) -> tuple[Scheduler, Model, Queue]:
    scheduler = Scheduler(1)
    service_time = ServiceTime(max_batch_size)
    sizes = sorted({1, 2, 4, 8, 16, 32, max_batch_size})
    service_time.seed(None, {size: [fixed_ns + size * per_row_ns] * 10 for size in sizes})
    model = scheduler.add_model("m", max_batch_size=max_batch_size, service_time=service_time, cores=0)
    return scheduler, model, scheduler.queue(model)


def per_call_us(run: Callable[[], float], repeats: int) -> tuple[float, float]:
    """(median, fastest) over repeats; `run` returns the ns of one call, averaged over many."""
    times = []
    for _ in range(repeats):
        gc.collect()
        gc.disable()
        times.append(run() / 1000)
        gc.enable()
    return statistics.median(times), min(times)


def uncongested(num: int, part: str) -> Callable[[], float]:
    """One queue, an idle machine: `num` arrivals in one turn of the loop, then a batch of all of them."""
    scheduler, _, queue = scheduler_of(10_000, 2_000)
    rounds = 20_000 // num + 500
    jobs = [[Job(queue, 1, 0, 0) for _ in range(num)] for _ in range(rounds)]

    def run() -> float:
        offering = deciding = 0
        now = 0
        for batch_of in jobs:
            now += MS
            for job in batch_of:
                job.arrival_ns, job.deadline_ns = now, now + 100 * MS
            begin = time.perf_counter_ns()
            for job in batch_of:
                scheduler.offer(job, now)
            middle = time.perf_counter_ns()
            batch = scheduler.poll(now)[0]
            assert isinstance(batch, Batch)
            scheduler.finished(batch, now + 50_000, 10_000 + 2_000 * num)
            deciding += time.perf_counter_ns() - middle
            offering += middle - begin
        return offering / (rounds * num) if part == "offer" else deciding / rounds

    return run


def refusing(num_waiting: int) -> Callable[[], float]:
    """A full queue of `num_waiting` jobs while a batch runs; each further offer is refused."""
    scheduler, _, queue = scheduler_of(10_000, 20_000)
    scheduler.offer(Job(queue, 1, 0, 100 * MS), 0)
    scheduler.poll(0)
    deadline = num_waiting * 22_000
    while scheduler.offer(Job(queue, 1, 0, deadline), 0) is None:
        pass
    # Half of the offers are due before the end of the queue: their place in the line has to be found.
    jobs = [Job(queue, 1, 0, deadline - (number % 2) * 50_000) for number in range(20_000)]

    def run() -> float:
        begin = time.perf_counter_ns()
        for job in jobs:
            scheduler.offer(job, 0)
        return (time.perf_counter_ns() - begin) / len(jobs)

    return run


def standing(num_waiting: int, num_models: int = 1) -> Callable[[], float]:
    """Batches of one while `num_waiting` wait, all in time, at a load just under what can be served."""
    service_ns, gap_ns, num = 100_000, 102_000, 2_000
    budget_ns = num_waiting * gap_ns + 5 * MS

    def run() -> float:
        scheduler = Scheduler(1)
        queues = []
        for number in range(num_models):
            service_time = ServiceTime(1)
            service_time.seed(None, {1: [service_ns] * 10})
            model = scheduler.add_model(f"m{number}", max_batch_size=1, service_time=service_time, cores=0)
            queues.append(scheduler.queue(model))
        now = 0
        for number in range(num_waiting):
            now += gap_ns
            scheduler.offer(Job(queues[number % num_models], 1, now, now + budget_ns), now)
        for queue in queues:
            queue.rate = 1 / (num_models * gap_ns)  # as it is known after a while
        jobs = [
            Job(queues[number % num_models], 1, at, at + budget_ns)
            for number, at in enumerate(range(now + gap_ns, now + (num + 1) * gap_ns, gap_ns))
        ]
        begin = time.perf_counter_ns()
        for job in jobs:
            now = job.arrival_ns
            scheduler.offer(job, now)
            batch = scheduler.poll(now)[0]
            assert isinstance(batch, Batch)
            scheduler.finished(batch, now + service_ns, service_ns)
        return (time.perf_counter_ns() - begin) / num

    return run


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args(args).repeats
    print("# What one decision of the scheduler costs\n")
    print(
        f"CPython {platform.python_version()}, {repeats} repeats, no garbage collection meanwhile; µs a call.\n"
    )
    print("| | median | fastest | goal |\n|---|---|---|---|")
    cases: list[tuple[str, Callable[[], float]]] = [("offer", uncongested(16, "offer"))]
    cases += [(f"poll + finished, batch of {num}", uncongested(num, "decide")) for num in (1, 4, 16, 64)]
    cases += [("refusal, 5,000 waiting", refusing(5_000))]
    cases += [(f"offer + poll + finished, batch of 1, {num} waiting", standing(num)) for num in (5, 500)]
    cases += [("the same, of two models", standing(500, 2))]
    for name, run in cases:
        median, fastest = per_call_us(run, repeats)
        print(f"| {name} | {median:.2f} | {fastest:.2f} | {GOALS_US.get(name, '')} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
