"""How every comparison is made: interleaved blocks, a record of each on disk, ratios with their intervals.

A block measures each side once. Sides of one block share the machine's mood, so they are compared within it;
the order is turned around from block to block (ABBA), so that a drift helps no one. A block in which a
measurement was invalid (the load generator fell behind) counts for no side, and the table says how many did.
"""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._processes import Server, offer_from
from trivet.host import processor
from trivet.load.job import Job
from trivet.load.result import Result
from trivet.stats.interval import Ratio
from trivet.stats.paired import ratio_of_paired_blocks
from trivet.stats.percentile import percentile_ns

OUT = Path(__file__).parent.parent / "out" / "benchmarks"
PACKAGES = ("trivet", "numpy", "onnxruntime", "uvloop", "httptools", "msgspec")
NS_PER_S = 1_000_000_000

Values = Mapping[str, float]


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure depends on and nobody remembers."""

    date: str
    processor: str
    cores: list[int]  # that this process may use
    kernel: str
    python: str
    packages: dict[str, str]

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        cores = f"{len(self.cores)} cores"
        return f"{self.date[:10]}, {self.processor}, {cores}, Linux {self.kernel}, Python {self.python}; {packages}"


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one block. `invalid` is empty, or says why the block counts for no side."""

    values: dict[str, float]
    invalid: str = ""


class BlockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a record on disk: the measurement, and when and amid what it was made."""

    block: int
    position: int  # in the block's order
    side: str
    date: str
    load_average: float  # of the machine, the minute before
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Comparison:
    """All blocks of one comparison, and how they were made."""

    question: str
    environment: Environment
    seed: int
    settings: Mapping[str, Any]
    records: Sequence[BlockRecord]

    def values(self, side: str, metric: str) -> list[float]:
        """The metric of one side in each valid block, in the order of the blocks."""
        dropped = self.invalid_blocks()
        ordered = sorted(self.records, key=lambda record: record.block)
        return [r.measurement.values[metric] for r in ordered if r.side == side and r.block not in dropped]

    def ratio(self, side: str, base: str, metric: str) -> Ratio:
        """How many times the metric of `base` that of `side` is."""
        return ratio_of_paired_blocks(self.values(side, metric), self.values(base, metric))

    def invalid_blocks(self) -> dict[int, str]:
        return {r.block: f"{r.side}: {r.measurement.invalid}" for r in self.records if r.measurement.invalid}

    def preface(self) -> str:
        """What stands before any figure: machine, versions, seed, warm-up and other settings, repeats."""
        num_blocks = len({record.block for record in self.records})
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [
            f"- {self.environment}",
            f"- seed {self.seed}; {settings}",
            f"- {num_blocks} interleaved blocks, {len(self.invalid_blocks())} of them invalid and left out",
        ]
        return "\n".join(lines)


def environment() -> Environment:
    return Environment(
        date=_now(),
        processor=processor(),
        cores=sorted(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
    )


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
    sides: Mapping[str, Callable[[int], Measurement]],
    *,
    num_blocks: int,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    out: Path = OUT,
) -> Comparison:
    """Measure each side once a block, in turn, and put every measurement on disk as soon as it is made.

    Args: sides: for each name, a function of the block's seed: the same for all sides of a block, so that they
    are offered the same requests.
    """
    machine = environment()
    path = out / question / f"{machine.date.replace(':', '')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"question": question, "environment": machine, "seed": seed, "settings": dict(settings or {})}
    records: list[BlockRecord] = []
    with path.open("wb") as file:
        file.write(msgspec.json.encode(header) + b"\n")
        for block, order in enumerate(block_orders(list(sides), num_blocks, seed)):
            for position, side in enumerate(order):
                date, load_average = _now(), os.getloadavg()[0]
                measurement = sides[side](seed + block)
                records.append(
                    BlockRecord(
                        block=block,
                        position=position,
                        side=side,
                        date=date,
                        load_average=load_average,
                        measurement=measurement,
                    )
                )
                file.write(msgspec.json.encode(records[-1]) + b"\n")
                file.flush()
    return Comparison(question, machine, seed, dict(settings or {}), records)


def load_comparison(path: Path) -> Comparison:
    """A comparison from its record on disk: every table can be made again."""
    header, *lines = path.read_bytes().splitlines()
    first = msgspec.json.decode(header)
    machine = msgspec.convert(first["environment"], Environment)
    records = [msgspec.json.decode(line, type=BlockRecord) for line in lines]
    return Comparison(first["question"], machine, first["seed"], first["settings"], records)


def measurement_of(result: Result, *, cpu_ns: int | None = None, pss_bytes: int | None = None) -> Measurement:
    """The usual figures of one run of the load generator, after its warm-up; times in ns.

    `throughput_rps` counts results that came while load was offered; latencies are those of results, and
    `error_share` is the share of requests without one. `cpu_ns`: of the server, during the whole run.
    """
    rows = result.measured()
    values: dict[str, float] = {"num_requests": rows.num_rows}
    if not rows.num_rows:
        return Measurement(values=values, invalid="no request was intended after the warm-up")
    answered = rows.words["outcome"].equal("ok", "late")
    end_ns = int(rows["intended_ns"].max())
    in_window = answered & (rows["done_ns"] <= end_ns)
    window_s = max(1, end_ns - result.measured_from_ns) / NS_PER_S
    values["throughput_rps"] = float(in_window.sum()) / window_s
    values["goodput_rps"] = float((in_window & rows.words["outcome"].equal("ok")).sum()) / window_s
    values["error_share"] = 1 - float(answered.mean())
    for name, p in (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99)):
        if answered.any():
            values[name] = percentile_ns(rows.latency_ns()[answered], p)
    values["send_lag_p99_ns"] = result.generator.send_lag_p99_ns
    values["client_busy_share"] = result.generator.busy_share
    values["num_waited"] = result.generator.num_waited
    if cpu_ns is not None:
        values["cpu_ns_per_request"] = cpu_ns / max(1, result.generator.num_sent)
    if pss_bytes is not None:
        values["pss_mib"] = pss_bytes / 2**20
    return Measurement(values=values, invalid=result.generator.invalid)


def measure_server(server: Server, job: Job, core: int | None) -> Measurement:
    """Offer the load of `job` from `core`; the figures hold the server's processor time and memory, too."""
    before_ns = server.cpu_ns()
    result = offer_from(core, job)
    pss_bytes = sum(process.pss_bytes for process in server.memory())
    return measurement_of(result, cpu_ns=server.cpu_ns() - before_ns, pss_bytes=pss_bytes)


def comparison_table(
    comparison: Comparison, metric: str, base: str, *, unit: str = "", scale: float = 1
) -> str:
    """Each side's spread over the blocks, and its ratio to `base` with the 95 % interval; largest median first.

    `scale` divides the values: 1e6 for ns shown as ms.
    """
    invalid = comparison.invalid_blocks()
    if len(invalid) == len({record.block for record in comparison.records}):
        return "No block is valid, so there is no figure:\n" + "\n".join(
            f"- {why}" for why in invalid.values()
        )
    medians, rows = {}, {}
    for side in dict.fromkeys(record.side for record in comparison.records):
        values = np.array(comparison.values(side, metric)) / scale
        medians[side] = float(np.median(values))
        spread = [f"{figure:,.4g}" for figure in (values.min(), medians[side], values.max())]
        rows[side] = [side, *spread, "1" if side == base else comparison.ratio(side, base, metric)]
    header = [metric + (f", {unit}" if unit else ""), "least", "median", "most", f"ratio to {base} [95 %]"]
    return markdown_table(header, [rows[side] for side in sorted(rows, key=lambda side: -medians[side])])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column is text and whose others are figures, to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
