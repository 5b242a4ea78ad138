"""How every comparison is made: interleaved blocks, a record of each on disk, ratios with their intervals.

A block measures each side once. Sides of one block share the machine's mood, so they are compared within it;
the order is turned around from block to block (ABBA), so that a drift helps no one. A block in which a
measurement was invalid (the load generator fell behind) counts for no side, and the table says how many did.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._measurement import NS_PER_S, Measurement, measure_server, measurement_of
from benchmarks._records import (
    OUT,
    VERSION,
    BlockRecord,
    Comparison,
    Environment,
    Header,
    environment,
    load_comparison,
    now,
    read_header,
    record_paths,
)
from benchmarks._tables import comparison_table, markdown_table

__all__ = [
    "NS_PER_S",
    "OUT",
    "BlockRecord",
    "Comparison",
    "Environment",
    "Measurement",
    "Sides",
    "block_orders",
    "compare",
    "comparison_table",
    "environment",
    "load_comparison",
    "markdown_table",
    "measure_server",
    "measurement_of",
    "server_and_client_core",
]

Sides = Mapping[str, Callable[[int], Measurement]]


def server_and_client_core() -> tuple[int, int]:
    """One core each, as every claim wants it; on a machine of one core they share it, and the figures show it."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1], cores[0]


def block_orders(sides: Sequence[str], num_blocks: int, seed: int) -> list[list[str]]:
    """The order of the sides in each block: a drawn order, then the same backwards, then another drawn one."""
    rng = np.random.default_rng(seed)
    orders: list[list[str]] = []
    for block in range(num_blocks):
        orders.append(orders[-1][::-1] if block % 2 else [sides[i] for i in rng.permutation(len(sides))])
    return orders


def compare(
    question: str,
    sides: Sides | Callable[[Mapping[str, Any]], Sides],
    *,
    num_blocks: int,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    calibrate: Callable[[], Mapping[str, Any]] = dict,
    resume: bool = False,
    out: Path = OUT,
) -> Comparison:
    """Measure each side once a block, in turn, and put every measurement on disk as soon as it is made.

    Args: sides: for each name, a function of the block's seed: the same for all sides of a block, so that they
    are offered the same requests; or a function from what was calibrated to such sides.  calibrate: called
    once, before the first block.  resume: go on with the newest record of the same question, seed, settings and
    machine, as it was calibrated then, and measure only what is not in it.
    """
    asked = Header(
        question=question,
        environment=environment(),
        seed=seed,
        settings=dict(settings or {}),
        sides=[] if callable(sides) else list(sides),
        version=VERSION,
    )
    path = _unfinished(asked, out) if resume else None
    calibrated = dict(calibrate()) if path is None else read_header(path).calibrated
    chosen = sides(calibrated) if callable(sides) else sides
    if path is None:
        header = msgspec.structs.replace(asked, calibrated=calibrated, sides=list(chosen))
        path = out / question / f"{header.environment.date.replace(':', '')}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(header) + b"\n")
    _measure(path, load_comparison(path), chosen, block_orders(list(chosen), num_blocks, seed))
    return load_comparison(path)


def _measure(path: Path, before: Comparison, sides: Sides, orders: Sequence[Sequence[str]]) -> None:
    done = {(record.block, record.side) for record in before.records}
    lines = [msgspec.json.encode(record) + b"\n" for record in before.records]
    head = path.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(b"".join([head, *lines]))  # without a last line that was cut off
    with path.open("ab") as file:
        for block, order in enumerate(orders):
            for position, side in enumerate(order):
                if (block, side) in done:
                    continue
                date, load_average = now(), os.getloadavg()[0]
                record = BlockRecord(
                    block=block,
                    position=position,
                    side=side,
                    date=date,
                    load_average=load_average,
                    measurement=sides[side](before.seed + block),
                )
                file.write(msgspec.json.encode(record) + b"\n")
                file.flush()


def _unfinished(asked: Header, out: Path) -> Path | None:
    """The newest record that asks the same on the same machine."""
    for path in reversed(record_paths(asked.question, out)):
        found = read_header(path)
        if found.environment.is_like(asked.environment) and found == msgspec.structs.replace(
            asked,
            environment=found.environment,
            calibrated=found.calibrated,
            sides=asked.sides or found.sides,  # those that depend on what was calibrated are not known yet
        ):
            return path
    return None
