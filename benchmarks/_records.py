"""Records on disk: a header, then one line for each measurement. Every table can be made again from them."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks._measurement import Measurement
from trivet.host import is_awake, processor
from trivet.stats.errors import TooFewError
from trivet.stats.interval import Interval, Ratio
from trivet.stats.mean import mean_of_blocks
from trivet.stats.paired import ratio_of_paired_blocks

OUT = Path(__file__).parent.parent / "out" / "benchmarks"
VERSION = 2  # of the records' form: pages are made of records of this form only
PACKAGES = ("trivet", "numpy", "onnxruntime", "uvloop", "httptools", "msgspec")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure depends on and nobody remembers."""

    date: str
    processor: str
    cores: list[int]  # that this process may use
    kernel: str
    python: str
    packages: dict[str, str]
    awake: bool = False  # idle cores were held awake

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        cores = f"{len(self.cores)} cores"
        cores += " held awake" if self.awake else ""
        return f"{self.date[:10]}, {self.processor}, {cores}, Linux {self.kernel}, Python {self.python}; {packages}"

    def is_like(self, other: "Environment") -> bool:
        """The same in all but the date."""
        return msgspec.structs.replace(self, date=other.date) == other


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a record. `calibrated`: what was measured before the first block and decided the load."""

    question: str
    environment: Environment
    seed: int
    settings: dict[str, Any]
    calibrated: dict[str, Any] = {}
    sides: list[str] = []  # that make a whole block
    version: int = 1


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
    calibrated: Mapping[str, Any] = field(default_factory=dict)
    expected: Sequence[str] = ()  # the sides that make a whole block, where the record says

    def sides(self) -> list[str]:
        """In the order of the first block."""
        return list(dict.fromkeys(record.side for record in self.records))

    def measured(self, side: str) -> list[Measurement]:
        """Of one side in each valid block, in the order of the blocks."""
        dropped = self.invalid_blocks()
        ordered = sorted(self.records, key=lambda record: record.block)
        return [r.measurement for r in ordered if r.side == side and r.block not in dropped]

    def values(self, side: str, metric: str) -> list[float]:
        """The metric of one side in each valid block."""
        return [measurement.values[metric] for measurement in self.measured(side)]

    def has(self, side: str, metric: str) -> bool:
        """Whether there is a valid block, and the metric in all of them: a refusal's latency needs a refusal."""
        measured = self.measured(side)
        return bool(measured) and all(metric in measurement.values for measurement in measured)

    def samples(self, side: str, name: str) -> list[list[float]]:
        """A whole sample of one side in each valid block."""
        return [measurement.samples[name] for measurement in self.measured(side)]

    def ratio(self, side: str, base: str, metric: str) -> Ratio:
        """How many times the metric of `base` that of `side` is. From one block anything may be true."""
        a, b = self.values(side, metric), self.values(base, metric)
        try:
            return ratio_of_paired_blocks(a, b)
        except TooFewError:
            return Ratio(a[0] / b[0], 0, float("inf"), 1)

    def mean(self, side: str, metric: str, scale: float = 1) -> Interval:
        """The metric's mean over the blocks, divided by `scale`. From one block anything may be true."""
        return mean_interval([value / scale for value in self.values(side, metric)])

    def invalid_blocks(self) -> dict[int, str]:
        return {r.block: f"{r.side}: {r.measurement.invalid}" for r in self.records if r.measurement.invalid}

    def is_empty(self) -> bool:
        """No valid block, so no figure."""
        return {record.block for record in self.records} == set(self.invalid_blocks())

    def complete(self) -> "Comparison":
        """Without the blocks that lack a side: the run was cut off in them, or goes on."""
        sides = set(self.expected or self.sides())
        measured: dict[int, set[str]] = {}
        for record in self.records:
            measured.setdefault(record.block, set()).add(record.side)
        kept = [record for record in self.records if measured[record.block] == sides]
        return replace(self, records=kept)

    def num_blocks(self) -> int:
        return len({record.block for record in self.records})

    def preface(self) -> str:
        """What stands before any figure: machine, versions, seed, warm-up and other settings, repeats."""
        known = {**self.settings, **self.calibrated}
        settings = ", ".join(f"{name} {value}" for name, value in known.items())
        lines = [
            f"- {self.environment}",
            f"- seed {self.seed}; {settings}",
            f"- {self.num_blocks()} interleaved blocks, {len(self.invalid_blocks())} of them invalid and left out",
        ]
        lines += [f"  - block {block}: {why}" for block, why in sorted(self.invalid_blocks().items())]
        return "\n".join(lines)


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean over the blocks with its interval. From one block anything may be true."""
    try:
        return mean_of_blocks(values)
    except TooFewError:
        return Interval(values[0], float("-inf"), float("inf"))


def environment() -> Environment:
    return Environment(
        date=now(),
        processor=processor(),
        cores=sorted(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
        awake=is_awake(),
    )


def record_paths(question: str, out: Path) -> list[Path]:
    """The records of a question, oldest first."""
    return sorted((out / question).glob("*.jsonl"))


def read_header(path: Path) -> Header:
    with path.open("rb") as file:
        return msgspec.json.decode(file.readline(), type=Header)


def newest_comparison(question: str, out: Path, min_blocks: int) -> Comparison | None:
    """The newest record of a question that has so many whole blocks, at least half of them valid."""
    for path in reversed(record_paths(question, out)):
        if read_header(path).version == VERSION:
            found = load_comparison(path).complete()
            num_valid = found.num_blocks() - len(found.invalid_blocks())
            if found.num_blocks() >= min_blocks and 2 * num_valid >= found.num_blocks() and num_valid:
                return found
    return None


def load_comparison(path: Path) -> Comparison:
    """A comparison from its record on disk. A last line that was cut off is not read: it was being written."""
    lines = path.read_bytes().splitlines(keepends=True)
    first = msgspec.json.decode(lines[0], type=Header)
    records = [msgspec.json.decode(line, type=BlockRecord) for line in lines[1:] if line.endswith(b"\n")]
    return Comparison(
        first.question,
        first.environment,
        first.seed,
        first.settings,
        records,
        first.calibrated,
        first.sides,
    )


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
