"""Times of the engines of one configuration, alone on the cores of this process: the inner part of a service's profile.

A process of its own, so that it runs where the server will run (`engine_process.py`): each line on stdin is an `EngineJob`
as JSON, each on stdout the `EngineTimes` of one; what it does stands on stderr. Engines stay loaded between visits.
"""

import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from trivet.engine.contract import Engine
from trivet.errors import EngineError, UserError
from trivet.experiment.simulating.exit_profile import exit_table
from trivet.experiment.simulating.profiled_inputs import Measurable, measurables
from trivet.experiment.simulating.route_profile import route_table
from trivet.runtime.preparing.preparing import prepare
from trivet.simulate.exit_table import ExitTable
from trivet.simulate.profile import reaches
from trivet.simulate.route_table import RouteTable
from trivet.simulate.times import sizes_up_to
from trivet.spec.configuration import Configuration

Rounds = list[list[int]]  # times in ns, one list for each visit
MIN_RUNS = 3  # of one size: a median needs as many
NUM_ROUNDS = 4  # visits of each size, so that a slow second of the machine is not one size's alone
_LONG_NS = 20_000_000  # a run warms the caches for itself within a part of it


class EngineJob(msgspec.Struct, frozen=True, kw_only=True):
    """point_ns: for all sizes of one length.  longest_ns: larger batches than the first that takes longer are of no use.
    lengths: at most so many of each model.  parallel: engines at once, at most.  exits_ns: for what early exits, or a
    route, do with the data; 0: it is not asked for.  asks_far: models elsewhere are asked, too, to be judged."""

    configuration: Configuration
    num_cores: int
    point_ns: int
    longest_ns: int
    lengths: int = 4
    parallel: int = 1
    exits_ns: int = 0
    asks_far: bool = False
    seed: int = 0


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Of one stage. times: length -> rows -> visits.  order: length -> rows of each visit, in turn.
    at_once: engines at work -> mean time over that of one alone."""

    times: dict[int, dict[int, Rounds]]
    order: dict[int, list[int]] = {}
    same: bool = True
    batches: bool = True
    at_once: dict[int, float] = {}
    buckets: list[int] = []


class EngineTimes(msgspec.Struct, frozen=True, kw_only=True):
    """By index of the stage in the pipeline."""

    stages: dict[int, StageTimes]
    told: str = ""
    exits: ExitTable | None = None
    route: RouteTable | None = None


class Loaded:
    """The stages of one configuration, ready to be run. `close` them.

    Raises: UserError: the configuration cannot be served; says why.
    """

    def __init__(self, job: EngineJob, say: Callable[[str], None], now_ns: Callable[[], int]) -> None:
        prepared = prepare(job.configuration, "1", now_ns, say, max(1, job.num_cores - 1))
        self._prepared = prepared
        self._engines = [engine for one in prepared.stages for engine in getattr(one, "engines", ())]
        try:
            self._stages = list(measurables(prepared, job.configuration, now_ns))
        except BaseException:
            self.close()
            raise

    def measure(self, job: EngineJob, say: Callable[[str], None], now_ns: Callable[[], int]) -> EngineTimes:
        stages: dict[int, StageTimes] = {}
        for index, stage in enumerate(self._stages):
            stages[index] = _stage(stage, job, say, now_ns)
            say(f"point {stage.name}: {len(stages[index].times)} lengths")
        told = next((one.told for one in self._stages if one.told), "")
        exits = route = None
        if job.exits_ns and job.configuration.service.route is not None:
            route = route_table(
                self._prepared, job.configuration, job.exits_ns, now_ns, asks_far=job.asks_far
            )
            say(f"point route of {job.configuration.short_hash}")
        elif job.exits_ns:
            exits = exit_table(self._prepared, job.configuration, job.exits_ns, now_ns, asks_far=job.asks_far)
            say(f"point exits of {job.configuration.short_hash}")
        return EngineTimes(stages=stages, told=told, exits=exits, route=route)

    def close(self) -> None:
        for engine in self._engines:
            engine.close()


def _stage(
    stage: Measurable, job: EngineJob, say: Callable[[str], None], now_ns: Callable[[], int]
) -> StageTimes:
    chosen = _spread_out(sorted(stage.batches), job.lengths)
    visited = {length: sizes_in_turn(stage, length, job, now_ns) for length in chosen}
    at_once = {}
    if stage.another is not None:
        for num in range(2, job.parallel + 1):
            at_once[num] = _at_once(stage, stage.another, num, job.point_ns // 2, now_ns)
            say(f"point {stage.name}: {num} engines at once")
    return StageTimes(
        times={length: found for length, (found, _) in visited.items()},
        order={length: order for length, (_, order) in visited.items()},
        same=stage.same,
        batches=stage.batch_axis,
        at_once=at_once,
        buckets=list(stage.buckets),
    )


def _spread_out(values: Sequence[int], num: int) -> list[int]:
    """At most `num` of them, the first and the last among them."""
    if len(values) <= num:
        return list(values)
    if num == 1:
        return [values[-1]]
    return sorted({values[round(place * (len(values) - 1) / (num - 1))] for place in range(num)})


def sizes_in_turn(
    stage: Measurable, length: int, job: EngineJob, now_ns: Callable[[], int]
) -> tuple[dict[int, Rounds], list[int]]:
    """1, 2, 4, ... rows in turn, in another order each round, until the point's time is over; and whose turn it was."""
    runs: dict[int, _Run] = {}
    further = iter(sizes_up_to(stage.max_rows))
    for rows in further:
        run = _begun(stage, length, rows, now_ns)
        if run is None:
            break
        runs[rows] = run
        if run.first_ns > job.longest_ns and _once(run.run, now_ns) > job.longest_ns:
            break
    found: dict[int, Rounds] = {rows: [] for rows in runs}
    order, visited = list(runs), list[int]()
    shuffle = random.Random(job.seed)
    visit_ns = job.point_ns // (NUM_ROUNDS * len(runs))
    for _ in range(NUM_ROUNDS):
        shuffle.shuffle(order)
        for rows in order:
            found[rows].append(runs[rows].visit(visit_ns, now_ns))
        visited += order
    # Others had the machine when the largest was begun: it takes less than it seemed to, so that larger ones matter.
    while not reaches([ns for times in found[max(found)] for ns in times], job.longest_ns):
        following = next(further, None)
        run = None if following is None else _begun(stage, length, following, now_ns)
        if run is None or following is None:
            break
        found[following] = [run.visit(visit_ns, now_ns) for _ in range(NUM_ROUNDS)]
        visited += [following] * NUM_ROUNDS
        runs[following] = run
    for rows, rounds in found.items():
        while sum(map(len, rounds)) < MIN_RUNS:
            rounds.append(runs[rows].visit(0, now_ns))
            visited.append(rows)
    return found, visited


@dataclass(frozen=True, slots=True)
class _Run:
    """A batch of one size, after its first two runs: onnxruntime records what memory they take in the one, and gets it in
    the other, which takes about twice as long as those after it (one there took seven times as long). A batch of 32 rows
    that does would pass for half a second of a slow machine.
    """

    run: Callable[[], Any]
    first_ns: int

    def visit(self, visit_ns: int, now_ns: Callable[[], int]) -> list[int]:
        return _visit(self.run, visit_ns, now_ns, is_warm=self.first_ns > _LONG_NS)


def _begun(stage: Measurable, length: int, rows: int, now_ns: Callable[[], int]) -> _Run | None:
    """None: the engine does not take so many. Raises: EngineError: not even one row."""
    run = partial(stage.run, stage.batches[length](rows))
    try:
        found = _Run(run, _once(run, now_ns))
        run()
        return found
    except EngineError:
        if rows == 1:
            raise
        return None


def _once(run: Callable[[], Any], now_ns: Callable[[], int]) -> int:
    begun = now_ns()
    run()
    return now_ns() - begun


def _visit(
    run: Callable[[], Any], visit_ns: int, now_ns: Callable[[], int], *, is_warm: bool = False
) -> list[int]:
    """Times of one run after the other for so long; at least one."""
    if not is_warm:
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
    # A user's Python step may print: what is ours to say keeps the pipe, and everything else goes where errors go.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    loaded: dict[str, Loaded] = {}
    with contextlib.ExitStack() as stack:
        for line in sys.stdin.buffer:
            job = msgspec.json.decode(line, type=EngineJob)
            key = job.configuration.hash
            try:
                if key not in loaded:
                    loaded[key] = Loaded(job, say, time.monotonic_ns)
                    stack.callback(loaded[key].close)
                found = loaded[key].measure(job, say, time.monotonic_ns)
            except UserError as error:
                say(str(error))
                return 1
            answers.write(msgspec.json.encode(found) + b"\n")
            answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
