"""What one side of one block gave, measured from outside: rows of the load generator, processor and memory of the server.

A run is kept as the rows of all its blocks in one table, and a record of each block that says where its rows are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.experiment.foreign import CoreSharing
from trivet.experiment.processes import ProcessTree
from trivet.load.job import Job
from trivet.load.process import offer_from
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
    """All of a block but its rows; `first_row` and `num_rows` say where those are in the run's table."""

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

    Args: labels: words that all rows get: service, configuration.  is_pinned: the processes cannot run on `core`.
    Raises: TargetError: nothing answers at the target.  Others as `offer_from`.
    """
    return measure_result(
        job,
        block=block,
        processes=processes,
        core=core,
        on_progress=on_progress,
        labels=labels,
        is_pinned=is_pinned,
    )[0]


def measure_result(
    job: Job,
    *,
    block: int,
    processes: ProcessTree | None,
    core: int | None,
    on_progress: OnProgress | None,
    labels: Mapping[str, str] | None,
    is_pinned: bool,
) -> tuple[Measured, Result]:
    """The same with the result of the load generator beside it, for scenarios that read that."""
    samples: list[CpuSample] = []
    # Found once: this process may share the generator's core, where a look at all processes would delay sends.
    members = [] if processes is None else processes.members()
    before_ns = 0 if processes is None else processes.cpu_ns(members)
    sharing = None if processes is None or core is None or is_pinned else CoreSharing(processes, core)

    def watch(progress: Progress) -> None:
        if processes is not None:
            samples.append(CpuSample(progress.done, processes.cpu_ns(members) - before_ns))
        if sharing is not None:
            sharing.look()
        if on_progress is not None:
            on_progress(progress)

    result = offer_from(core, job, on_progress=watch)
    rows = _labelled(RowColumns.decode(result.rows), labels or {})
    shared = "" if sharing is None else sharing.invalid()
    record = BlockRecord(
        block=block,
        seed=job.seed,
        measured_from_ns=result.measured_from_ns,
        end_ns=result.end_ns,
        generator=msgspec.structs.replace(
            result.generator, invalid="; ".join(filter(None, (result.generator.invalid, shared)))
        ),
        num_rows=rows.num_rows,
        cpu_ns=None if processes is None else processes.cpu_ns() - before_ns,
        cpu_samples=samples,
        pss_bytes=None if processes is None else sum(one.pss_bytes for one in processes.memory()),
        partial=result.partial,
    )
    return Measured(record, rows, result.chunks), result


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
