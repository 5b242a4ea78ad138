"""A batch job: the answers to a file of inputs, computed through `runtime/` and published as an answer table.

What is done is kept in parts beside the table, so that a job that was broken off goes on where it was. It asks nobody
who serves: it loads the configuration itself and keeps its engines full. Whoever starts it beside a server gives way to
that first (`give_way`).
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from trivet import host
from trivet.clock import MonotonicClock
from trivet.errors import UserError
from trivet.experiment.precomputing.answering_rows import RowAnswering
from trivet.experiment.precomputing.input_chunks import InputChunks
from trivet.experiment.precomputing.precompute_parts import Job, Part, Parts
from trivet.runtime.fronts.answer_table import import_parquet
from trivet.runtime.installing import install
from trivet.runtime.live import LiveService
from trivet.runtime.preparing.preparing import prepare
from trivet.runtime.runtime import Runtime
from trivet.schedule import Scheduler
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import DEFAULT_VERSION

CHUNK_ROWS = 1024  # what is lost at most when a job is broken off
# What answers in the pipeline's place, or remembers what it said: a job asks the pipeline itself.
_SHORTCUTS = ("precomputed", "cache", "semantic_cache")


@dataclass(frozen=True, slots=True)
class Progress:
    """Rows so far, those of an earlier start of the job included; `rows_per_s`: of this one."""

    done: int
    of: int
    rows_per_s: float

    def __str__(self) -> str:
        left = f", {(self.of - self.done) / self.rows_per_s:.0f} s left" if self.rows_per_s else ""
        return f"{self.done} of {self.of} rows, {self.rows_per_s:.0f} a second{left}"


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job.

    distinct: different inputs in the table. resumed: rows that an earlier start of the job had answered. failed: rows that
    are not in the table, as they were answered with an error; first_error: the first of these.
    """

    table: str
    configuration: str
    rows: int
    distinct: int
    resumed: int
    failed: int
    first_error: str
    seconds: float


def give_way() -> None:
    """From now on this process, and what it starts, gets only processor time that nobody else wants."""
    os.nice(19)
    host.give_way()


def precompute(
    configuration: Configuration,
    inputs: Path,
    output: Path,
    *,
    chunk_rows: int = CHUNK_ROWS,
    progress: Callable[[Progress], None] = lambda _progress: None,
    say: Callable[[str], None] = lambda _text: None,
    now_ns: Callable[[], int] = MonotonicClock.now_ns,
    date: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Published:
    """Answer every row of `inputs` and put the table at `output`, in one rename.

    Raises: UserError: the service or the inputs cannot be used, or no row was answered. What was done stays for the next
    start with the same configuration and inputs.
    """
    import_parquet("precomputed answers")  # missing: said before anything is computed
    prepared = prepare(_alone(configuration), DEFAULT_VERSION, now_ns, say)

    async def work() -> Published:
        loop = asyncio.get_running_loop()
        runtime = Runtime(loop, Scheduler(host.engine_cores(1)), now_ns)
        live = install(prepared, runtime.scheduler, loop, now_ns, say)
        runtime.add(live)
        executors = [executor for model in live.models for executor in model.idle]
        try:
            if live.streams:
                raise UserError(f"{live.name} answers in chunks; only whole answers can be precomputed")
            rows = InputChunks(inputs, live.signature, configuration.service)
            job = Job(
                configuration=configuration.hash,
                service=configuration.service.name,
                inputs=rows.digest(),
                tables=_feature_tables(configuration),
                chunk_rows=chunk_rows,
                created=date().isoformat(),
            )
            parts = Parts(output.with_name(f"{output.name}.parts"), job, live.signature)
            return await _carried_out(_Work(runtime, live, rows, parts, progress, say, now_ns), output)
        finally:
            for executor in executors:
                executor.close()

    return asyncio.run(work())


@dataclass(frozen=True, slots=True)
class _Work:
    runtime: Runtime
    live: LiveService
    rows: InputChunks
    parts: Parts
    progress: Callable[[Progress], None]
    say: Callable[[str], None]
    now_ns: Callable[[], int]


async def _carried_out(work: _Work, output: Path) -> Published:
    started_ns = work.now_ns()
    parts = work.parts
    resumed = sum(part.num_rows for part in parts.done.values())
    if resumed:
        work.say(f"{resumed} of {work.rows.num_rows} rows were answered before; going on behind them")
    answering = RowAnswering(work.runtime, work.live, work.now_ns)
    done = resumed
    for chunk in work.rows.chunks(parts.job.chunk_rows):
        if chunk.start in parts.done:
            continue
        inputs = chunk.inputs()
        parts.add(chunk.start, inputs, await answering.answer_all(inputs))
        done += len(inputs)
        seconds = (work.now_ns() - started_ns) / 1e9
        work.progress(Progress(done, work.rows.num_rows, (done - resumed) / seconds if seconds else 0.0))
    ended: list[Part] = [parts.done[start] for start in sorted(parts.done)]
    distinct = parts.publish(output)
    return Published(
        table=str(output),
        configuration=parts.job.configuration,
        rows=sum(part.num_rows - part.failed for part in ended),
        distinct=distinct,
        resumed=resumed,
        failed=sum(part.failed for part in ended),
        first_error=next((part.first_error for part in ended if part.failed), ""),
        seconds=(work.now_ns() - started_ns) / 1e9,
    )


def _feature_tables(configuration: Configuration) -> dict[str, str]:
    """Digests of the files that features come from: answers made of others are not gone on with."""
    found = {}
    for stage in configuration.service.pipeline:
        if stage.features is not None and not stage.features.prefix:
            path = Path(configuration.root, stage.features.table)
            if path.is_file():  # else defaults stand in, or the service does not start
                with path.open("rb") as file:
                    found[stage.features.table] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _alone(configuration: Configuration) -> Configuration:
    """The same configuration, its hash included, without what would answer in the pipeline's place."""
    service = configuration.service
    known = {field.name for field in msgspec.structs.fields(service)}
    cut = {name: None for name in _SHORTCUTS if name in known}
    return msgspec.structs.replace(configuration, service=msgspec.structs.replace(service, **cut))
