"""Times of the engines of one configuration, alone on the cores of this process: the inner part of a service's profile.

A process of its own, so that it runs where the server will run: it is given one `EngineJob` as JSON on stdin, writes a line
for each point on stderr, and the `EngineTimes` as JSON on stdout.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from trivet.engine.contract import Engine
from trivet.errors import EngineError, UserError
from trivet.experiment.profiled_inputs import Measurable, measurables
from trivet.runtime.preparing import prepare
from trivet.simulate.times import sizes_up_to
from trivet.spec.configuration import Configuration

Rounds = list[list[int]]  # times in ns, one list for each visit
MIN_RUNS = 3  # of one size: a median needs as many
NUM_ROUNDS = 4  # visits of each size, so that a slow second of the machine is not one size's alone


class EngineJob(msgspec.Struct, frozen=True, kw_only=True):
    """point_ns: for all sizes of one length.  longest_ns: larger batches than the first that takes as long are of no use.
    lengths: at most so many of each model.  parallel: engines at once, at most."""

    configuration: Configuration
    num_cores: int
    point_ns: int
    longest_ns: int
    lengths: int = 4
    parallel: int = 1
    seed: int = 0


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Of one stage. times: length -> rows -> visits.  at_once: engines at work -> mean time over that of one alone."""

    times: dict[int, dict[int, Rounds]]
    same: bool = True
    batches: bool = True
    at_once: dict[int, float] = {}
    buckets: list[int] = []


class EngineTimes(msgspec.Struct, frozen=True, kw_only=True):
    """By index of the stage in the pipeline."""

    stages: dict[int, StageTimes]
    told: str = ""


def measure_engines(job: EngineJob, say: Callable[[str], None], now_ns: Callable[[], int]) -> EngineTimes:
    """Raises: UserError: the configuration cannot be served; says why."""
    prepared = prepare(job.configuration, "1", now_ns, say, max(1, job.num_cores - 1))
    stages: dict[int, StageTimes] = {}
    told = ""
    try:
        for index, stage in enumerate(measurables(prepared, job.configuration, now_ns)):
            told = told or stage.told
            stages[index] = _stage(stage, job, say, now_ns)
            say(f"point {stage.name}: {len(stages[index].times)} lengths")
    finally:
        for one in prepared.stages:
            for engine in getattr(one, "engines", ()):
                engine.close()
    return EngineTimes(stages=stages, told=told)


def _stage(
    stage: Measurable, job: EngineJob, say: Callable[[str], None], now_ns: Callable[[], int]
) -> StageTimes:
    chosen = _spread_out(sorted(stage.batches), job.lengths)
    times = {length: _sizes(stage, length, job, now_ns) for length in chosen}
    at_once = {}
    if stage.another is not None:
        for num in range(2, job.parallel + 1):
            at_once[num] = _at_once(stage, stage.another, num, job.point_ns // 2, now_ns)
            say(f"point {stage.name}: {num} engines at once")
    return StageTimes(
        times=times, same=stage.same, batches=stage.batch_axis, at_once=at_once, buckets=list(stage.buckets)
    )


def _spread_out(values: Sequence[int], num: int) -> list[int]:
    """At most `num` of them, the first and the last among them."""
    if len(values) <= num:
        return list(values)
    if num == 1:
        return [values[-1]]
    return sorted({values[round(place * (len(values) - 1) / (num - 1))] for place in range(num)})


def _sizes(stage: Measurable, length: int, job: EngineJob, now_ns: Callable[[], int]) -> dict[int, Rounds]:
    """1, 2, 4, ... rows in turn, in another order each round, until the point's time is over."""
    runs: dict[int, Callable[[], Any]] = {}
    for rows in sizes_up_to(stage.max_rows):
        run = partial(stage.run, stage.batches[length](rows))
        begun = now_ns()
        try:
            run()  # the first run of a shape plans memory and is not like the others
        except EngineError:
            if rows == 1:
                raise
            break
        runs[rows] = run
        if now_ns() - begun > job.longest_ns:
            break
    found: dict[int, Rounds] = {rows: [] for rows in runs}
    order = list(runs)
    shuffle = random.Random(job.seed)
    visit_ns = job.point_ns // (NUM_ROUNDS * len(runs))
    for _ in range(NUM_ROUNDS):
        shuffle.shuffle(order)
        for rows in order:
            found[rows].append(_visit(runs[rows], visit_ns, now_ns))
    for rows, rounds in found.items():
        while sum(map(len, rounds)) < MIN_RUNS:
            rounds.append(_visit(runs[rows], 0, now_ns))
    return found


def _visit(run: Callable[[], Any], visit_ns: int, now_ns: Callable[[], int]) -> list[int]:
    """Times of one run after the other for so long; at least one."""
    run()  # what ran before has taken the caches
    times: list[int] = []
    end = (last := now_ns()) + visit_ns
    while last < end or not times:
        run()
        now = now_ns()
        times.append(now - last)
        last = now
    return times


def _at_once(
    stage: Measurable, another: Callable[[], Engine], num: int, duration_ns: int, now_ns: Callable[[], int]
) -> float:
    """Mean time of a batch of one while `num` engines work, over that of one alone."""
    inputs = stage.batches[max(stage.batches)](1)
    alone = _visit(partial(stage.run, inputs), duration_ns // 2, now_ns)
    others = [another() for _ in range(num - 1)]
    found: list[list[int]] = [[] for _ in range(num)]

    def work(place: int) -> None:
        run = others[place - 1].run if place else stage.run
        found[place] = _visit(partial(run, inputs), duration_ns, now_ns)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in others:
        engine.close()
    together = [ns for times in found for ns in times]
    return max(1.0, sum(together) / len(together) / (sum(alone) / len(alone)))


def main() -> int:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=EngineJob)

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    try:
        found = measure_engines(job, say, time.monotonic_ns)
    except UserError as error:
        say(str(error))
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
