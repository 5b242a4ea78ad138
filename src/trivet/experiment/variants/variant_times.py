"""Service times of several engines in turn, in this process, on one core: what the machine does hits all alike."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.contract import Engine
from trivet.errors import EngineError

Arrays = Mapping[str, NDArray[Any]]
Batches = Mapping[int, Callable[[int], Arrays]]  # length -> rows -> a batch of them
Times = dict[int, dict[int, list[int]]]  # length -> rows -> service times in ns, by round

MIN_ROUNDS, MAX_ROUNDS = 16, 48


def interleaved_times(
    engines: Mapping[str, Engine],
    batches: Batches,
    max_rows: int,
    *,
    now_ns: Callable[[], int],
    budget_ns: int,
    seed: int,
    timer_ns: Callable[[], int] | None = None,
) -> dict[str, Times]:
    """Round by round each engine runs the same batch once, in an order drawn anew: sample i of one pairs with i of another.

    Batches of 1, 2, 4, ... rows up to `max_rows`; one that an engine fails on, and larger ones, are left out for all.
    Each batch gets its share of the budget, at least 16 rounds: those of one row always.
    Args: timer_ns: what a run is timed by; None: `now_ns`. Where engines compute in this thread alone, its own processor
    time leaves out what others do on the core meanwhile.
    Raises: EngineError: a batch of one fails.
    """
    rng = random.Random(seed)
    found: dict[str, Times] = {name: {length: {} for length in batches} for name in engines}
    end_ns = now_ns() + budget_ns
    for done, (length, batch_of) in enumerate(batches.items()):
        share_end_ns = now_ns() + (end_ns - now_ns()) // (len(batches) - done)
        rows = 1
        while rows <= max_rows and (rows == 1 or now_ns() < share_end_ns):
            limit_ns = now_ns() + max(0, share_end_ns - now_ns()) // (1 + _sizes_left(rows, max_rows))
            times = _rounds(engines, batch_of(rows), rows, (now_ns, timer_ns or now_ns), limit_ns, rng)
            if times is None:
                break
            for name, samples in times.items():
                found[name][length][rows] = samples
            rows *= 2
    return found


def _sizes_left(rows: int, max_rows: int) -> int:
    return (max_rows // rows).bit_length() - 1


def _rounds(
    engines: Mapping[str, Engine],
    inputs: Arrays,
    rows: int,
    clocks: tuple[Callable[[], int], Callable[[], int]],
    limit_ns: int,
    rng: random.Random,
) -> dict[str, list[int]] | None:
    """None: an engine fails on a batch of several rows. Args: clocks: of the budget, and of a run."""
    now_ns, timer_ns = clocks
    try:
        for engine in engines.values():
            engine.run(inputs)  # the first run of a shape plans memory and is not like the others
    except EngineError:
        if rows == 1:
            raise
        return None
    times: dict[str, list[int]] = {name: [] for name in engines}
    order = list(engines)
    for done in range(MAX_ROUNDS):
        if done >= MIN_ROUNDS and now_ns() > limit_ns:
            break
        rng.shuffle(order)
        for name in order:
            started_ns = timer_ns()
            engines[name].run(inputs)
            times[name].append(timer_ns() - started_ns)
    return times


def best_rows(times: Mapping[int, list[int]]) -> int:
    """The batch of which most rows a second are served."""
    return min(times, key=lambda rows: (float(np.median(times[rows])) / rows, rows))


def usual_length(times: Times) -> int:
    """The middle one of the lengths that were measured."""
    return sorted(times)[len(times) // 2]
