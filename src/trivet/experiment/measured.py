"""What one side of one block gave, measured from outside: rows of the load generator, processor and memory of the server.

A run is kept as the rows of all its blocks in one table, and a record of each block that says where its rows are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.experiment.foreign import CoreSharing
from trivet.experiment.processes import ProcessTree
from trivet.load.job import Job
from trivet.load.process import offer_together_from
from trivet.load.progress import Progress
from trivet.load.record import Chunks
from trivet.load.result import Generator, Result
from trivet.spec.row import RowColumns, Words, concatenate

OnProgress = Callable[[Progress], None]


class CpuSample(msgspec.Struct, frozen=True):
    """How many requests had been answered, and the server's processor time, at one moment of a block."""

    num_done: int
    cpu_ns: int


class BlockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All of a block but its rows; `first_row` and `num_rows` say where those are in the run's table.

    start: which start of the server it was measured on, from 0.
    """

    block: int
    seed: int
    measured_from_ns: int
    end_ns: int
    generator: Generator
    first_row: int = 0
    num_rows: int = 0
    cpu_ns: int | None = None  # of the server, for the whole block
    cpu_samples: list[CpuSample] = []
    pss_bytes: int | None = None  # of the server's processes together, at the block's end
    partial: bool = False
    start: int = 0


@dataclass(frozen=True)  # without slots, so that the window is cut out once: every figure looks at it
class Measured:
    """One side of one block. `rows` holds the warm-up, too; answers and `chunks` are empty unless they were kept."""

    record: BlockRecord
    rows: RowColumns
    chunks: Sequence[Chunks] = ()

    @property
    def invalid(self) -> str:
        """Empty, or why the block says more about the load generator than about the server."""
        return self.record.generator.invalid

    @cached_property
    def window(self) -> RowColumns:
        """The rows of requests intended after the warm-up, in the order of their intended times."""
        return self.rows.select(self.rows["intended_ns"] >= self.record.measured_from_ns)

    def answered_ns(self) -> NDArray[np.int64]:
        """Latencies of what was answered with a result, in the order of intended times."""
        return self.window.latency_ns()[self.window.words["outcome"].equal("ok", "late")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One job, and the processes of the server that it asks, where they are known.

    labels: words that all rows get: service, configuration.  is_pinned: the processes cannot run on the generator's core.
    block, start: as in BlockRecord.
    """

    job: Job
    processes: ProcessTree | None = None
    on_progress: OnProgress | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    is_pinned: bool = False
    block: int = 0
    start: int = 0


def measure(
    job: Job,
    *,
    block: int = 0,
    processes: ProcessTree | None = None,
    core: int | None = None,
    on_progress: OnProgress | None = None,
    labels: Mapping[str, str] | None = None,
    is_pinned: bool = False,
) -> Measured:
    """Offer one job from a process of its own on `core`, and weigh the server's processes meanwhile where they are known.

    Raises: TargetError: nothing answers at the target.  Others as `offer_from`.
    """
    weighed = Weighed(
        job=job,
        processes=processes,
        on_progress=on_progress,
        labels=labels or {},
        is_pinned=is_pinned,
        block=block,
    )
    return measure_together([weighed], core)[0][0]


def measure_together(sides: Sequence[Weighed], core: int | None) -> list[tuple[Measured, Result]]:
    """One job, or several in turns, each with the result of the load generator beside it, for who reads that."""
    scales = [_Scale(side, core) for side in sides]
    results = offer_together_from(core, [scale.job for scale in scales], [scale.look for scale in scales])
    return [(scale.measured(result), result) for scale, result in zip(scales, results, strict=True)]


class _Scale:
    """Processor time of one side's processes, from before its job to its end."""

    def __init__(self, side: Weighed, core: int | None) -> None:
        self._side, self._processes = side, side.processes
        self._samples: list[CpuSample] = []
        # Found once: this process may share the generator's core, where a look at all processes would delay sends.
        self._members = [] if self._processes is None else self._processes.members()
        self.job = msgspec.structs.replace(side.job, server_processes=tuple(self._members))
        self._before_ns = 0 if self._processes is None else self._processes.cpu_ns(self._members)
        self._sharing = (
            None
            if self._processes is None or core is None or side.is_pinned
            else CoreSharing(self._processes, core)
        )

    def look(self, progress: Progress) -> None:
        if progress.server_cpu_ns is not None:
            self._samples.append(CpuSample(progress.done, progress.server_cpu_ns - self._before_ns))
        if self._sharing is not None:
            self._sharing.look()
        if self._side.on_progress is not None:
            self._side.on_progress(progress)

    def measured(self, result: Result) -> Measured:
        side, processes = self._side, self._processes
        rows = _labelled(RowColumns.decode(result.rows), side.labels)
        shared = "" if self._sharing is None else self._sharing.invalid()
        record = BlockRecord(
            block=side.block,
            seed=side.job.seed,
            measured_from_ns=result.measured_from_ns,
            end_ns=result.end_ns,
            generator=msgspec.structs.replace(
                result.generator, invalid="; ".join(filter(None, (result.generator.invalid, shared)))
            ),
            num_rows=rows.num_rows,
            cpu_ns=None if processes is None else processes.cpu_ns() - self._before_ns,
            cpu_samples=self._samples,
            pss_bytes=None if processes is None else sum(one.pss_bytes for one in processes.memory()),
            partial=result.partial,
            start=side.start,
        )
        return Measured(record, rows, result.chunks)


def pack(blocks: Sequence[Measured]) -> tuple[RowColumns, bytes]:
    """The rows of all blocks as one table without answers, and the records of the blocks as JSON."""
    records, first = [], 0
    for measured in blocks:
        records.append(msgspec.structs.replace(measured.record, first_row=first))
        first += measured.rows.num_rows
    rows = [_without_answers(measured.rows) for measured in blocks]
    table = rows[0] if len(rows) == 1 else concatenate(rows)
    return table, msgspec.json.encode(records)


def unpack(rows: RowColumns, records: bytes) -> list[Measured]:
    """The inverse of `pack`, without the answers. Raises: msgspec.DecodeError: not such records."""
    places = np.arange(rows.num_rows)
    return [
        Measured(
            record,
            rows.select((places >= record.first_row) & (places < record.first_row + record.num_rows)),
        )
        for record in msgspec.json.decode(records, type=list[BlockRecord])
    ]


def _labelled(rows: RowColumns, labels: Mapping[str, str]) -> RowColumns:
    """The rows under the names of what was measured; a server that names a configuration itself is believed."""
    words = dict(rows.words)
    for name, label in labels.items():
        if words[name].words in ((), ("",)):
            words[name] = Words.of(label, rows.num_rows)
    return RowColumns(rows.header, rows.num_rows, rows.numbers, words, rows.blobs)


def _without_answers(rows: RowColumns) -> RowColumns:
    return RowColumns(
        rows.header,
        rows.num_rows,
        rows.numbers,
        rows.words,
        {name: [b""] * rows.num_rows for name in rows.blobs},
    )
