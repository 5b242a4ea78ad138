"""What a batch job has done so far, in a folder beside its table: answered rows in parts, and whose they are."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from trivet.errors import RequestError, UserError
from trivet.experiment.precomputing.answering_rows import Inputs, Outputs
from trivet.runtime.fronts.answer_table import AnswersHeader, answers_table, import_parquet, publish
from trivet.spec.signature import Signature
from trivet.wire.row_key import RowKeys

_FORMAT = 1
_JOB = "job.json"
_HEADER = b"trivet.part"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts belong to: those of another job are of no use.

    created: when it first began, ISO 8601: no answer is older.  inputs, tables: digests of what the answers are made of.
    """

    configuration: str
    service: str
    inputs: str
    tables: dict[str, str]
    chunk_rows: int
    created: str
    format: int = _FORMAT


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What became of consecutive rows."""

    num_rows: int
    failed: int
    first_error: str


class Parts:
    """Args: folder: made where it is not there.

    Raises: UserError: it cannot be written.
    """

    def __init__(self, folder: Path, job: Job, signature: Signature) -> None:
        self._folder = folder
        self._signature = signature
        self._keys = RowKeys(signature)
        self.job = job
        self.done: dict[int, Part] = {}  # by first row
        try:
            before = _job_in(folder)
            if before is not None and msgspec.structs.replace(before, created=job.created) == job:
                self.job = before
                self.done = self._whole_parts()
            else:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                _write(folder / _JOB, msgspec.json.encode(job))
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:012}.parquet"

    def _whole_parts(self) -> dict[int, Part]:
        """A part that was cut off in the middle is answered again."""
        arrow, parquet = import_parquet("precomputed answers")
        found = {}
        for path in sorted(self._folder.glob("*.parquet")):
            try:
                table = parquet.read_table(path, page_checksum_verification=True)
                part = msgspec.json.decode(table.schema.metadata[_HEADER], type=Part)
            except (OSError, KeyError, TypeError, msgspec.MsgspecError, arrow.ArrowException):
                path.unlink()
                continue
            found[int(path.stem)] = part
        return found

    def add(self, start: int, rows: Sequence[Inputs], answers: Sequence[Outputs | RequestError]) -> None:
        """Keep what the rows from `start` on were answered."""
        _, parquet = import_parquet("precomputed answers")
        keys, outputs, errors = [], [], []
        for inputs, answer in zip(rows, answers, strict=True):
            if isinstance(answer, RequestError):
                errors.append(answer)
                continue
            keys.append(self._keys.of(inputs)[0])
            outputs.append(answer)
        part = Part(num_rows=len(rows), failed=len(errors), first_error=str(errors[0]) if errors else "")
        table = answers_table(keys, outputs, self._signature)
        table = table.replace_schema_metadata({_HEADER: msgspec.json.encode(part)})
        path = self._path(start)
        beside = path.with_suffix(".part")
        parquet.write_table(table, beside, write_page_checksum=True)
        beside.replace(path)
        self.done[start] = part

    def publish(self, path: Path) -> int:
        """All parts as the table at `path`; the folder goes. Returns: distinct inputs in it.

        Raises: UserError: no row was answered, or the table cannot be written; the parts stay.
        """
        arrow, parquet = import_parquet("precomputed answers")
        parts = [parquet.read_table(self._path(start)) for start in sorted(self.done)]
        table = arrow.concat_tables([part.replace_schema_metadata(None) for part in parts])
        if not table.num_rows:
            reason = next(part.first_error for part in self.done.values())
            raise UserError(f"no row was answered, so there is no table; the first error: {reason}")
        # Equal inputs stand once; the last answer is the one that counts.
        places = {key: place for place, key in enumerate(table.column("key").to_pylist())}
        table = table.take(arrow.array(sorted(places.values())))
        job = self.job
        header = AnswersHeader(
            configuration=job.configuration,
            service=job.service,
            created=job.created,
            num_rows=table.num_rows,
            tables=job.tables,
        )
        try:
            publish(table, header, path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
        shutil.rmtree(self._folder)
        return int(table.num_rows)


def _job_in(folder: Path) -> Job | None:
    try:
        return msgspec.json.decode((folder / _JOB).read_bytes(), type=Job)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
