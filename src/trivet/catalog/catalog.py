"""The catalog: what was measured, of what, where, and what came of it.

A run is written when it begins, before any load is offered, and once more when it ends. Whatever happens in between,
the runs before it are whole, and a run whose process is gone is found to be interrupted.
"""

import io
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trivet.catalog.artifacts import Artifacts
from trivet.catalog.audit import AuditLog
from trivet.catalog.database import Database
from trivet.catalog.environment import Environment
from trivet.catalog.errors import CatalogError, NoSuchArtifactError, NoSuchRunError, NoSuchStudyError
from trivet.catalog.location import ARTIFACTS_VARIABLE, locate
from trivet.catalog.presence import presence_of
from trivet.catalog.records import EVERYTHING, Figure, Run, RunDraft, RunFilter, RunState, RunSummary
from trivet.catalog.references import STUDY, resolve
from trivet.catalog.run_table import RunTable
from trivet.catalog.schema import sa, settings
from trivet.catalog.study import EVERY_STUDY, Study, StudyFilter, StudySummary
from trivet.catalog.study_table import StudyTable
from trivet.catalog.writer import Fate, Writer
from trivet.errors import ExtraMissingError
from trivet.spec.row import RowColumns

# Ids start with a letter, so that no shell or YAML file takes one for a number, and have no i, l, o and u: nothing
# is misread, and none starts like "last". Ten characters: 22 * 32^9, so two never meet.
_LETTERS = "abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 10


class Catalog:
    """Made by `open`. Any number of processes may use one catalog at a time; a thread needs one of its own.

    Every method raises CatalogError where the place cannot be read or written, and FullError where it is full.
    """

    def __init__(
        self, database: Database, artifacts: Artifacts, table: RunTable, studies: StudyTable, audit: AuditLog
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._table = table
        self._studies = studies
        self.audit = audit

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        artifacts: str | None = None,
        create: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        fate: Callable[[Writer], Fate] = Writer.fate,
    ) -> Self:
        """The catalog at a folder or URL; made, or brought up to date, where that is needed.

        Args: url: a folder, sqlite:///FILE or postgresql://...; None: TRIVET_CATALOG, else ./.trivet.
            artifacts: a folder or an fsspec URL, remembered from the first time; None: TRIVET_ARTIFACTS, else what is
            remembered, else beside the database file.  create: False: only one that is there already.
            fate: whether the writer of a run still runs.

        Raises: NoCatalogError, NewerCatalogError, CatalogError: see errors.py.  ExtraMissingError.
        """
        location = locate(url, artifacts)
        database = Database.open(location, create=create)

        def date() -> str:
            return now().astimezone(UTC).isoformat(timespec="milliseconds")

        store, presence = Artifacts(_artifacts_url(database)), presence_of(database)
        return cls(
            database,
            store,
            RunTable(database, date, presence, fate),
            StudyTable(database, date, presence, fate),
            AuditLog(database, date),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing but the locks of runs under way is held between calls; a `with` only says where it is used."""

    def __str__(self) -> str:
        return str(self._database.location)

    def begin(self, draft: RunDraft) -> str:
        """Record a run as running and return its id. Call it before any load is offered."""
        run_id = _new_id()
        self._table.insert(run_id, draft)
        return run_id

    def finish(
        self,
        run_id: str,
        state: RunState,
        *,
        figures: Mapping[str, Figure],
        reason: str = "",
        artifacts: Mapping[str, str] | None = None,
        environment: Environment | None = None,
    ) -> None:
        """Record how a run ended, in one piece.

        Args: run_id: from `begin`.  reason: why it is not complete.  artifacts: digests by name.
            environment: in place of the one it began with: the same, with what was seen during and after the run.

        Raises: RunEndedError: it has ended already.  NoSuchArtifactError: a digest that nothing was put under.
        """
        for name, digest in (artifacts or {}).items():
            if not self.has(digest):
                raise NoSuchArtifactError(
                    f"run {run_id} names {digest} as {name!r}, and nothing is stored there"
                )
        self._table.end(run_id, state, figures, reason, artifacts or {}, environment)

    def run(self, ref: str) -> Run:
        """Args: ref: an id, the unique beginning of one, "last", or "last:SERVICE".

        Raises: NoSuchRunError: none or several; the message names the nearest.
        """
        self._table.mark_interrupted()
        run = self._table.load(resolve(ref, self._table))
        if run is None:
            raise CatalogError(
                f"run {ref} was removed while it was being read; `trivet runs` lists those that are left"
            )
        return run

    def runs(self, where: RunFilter = EVERYTHING) -> list[RunSummary]:
        """Newest first."""
        self._table.mark_interrupted()
        return self._table.list(where)

    def run_ids(self, prefix: str = "", limit: int | None = None) -> list[str]:
        """Newest first; for completion."""
        return self._table.ids(prefix, limit=limit)

    def begin_study(self, draft: Study) -> Study:
        """Record a study as running; the same study with its id and its beginning."""
        return self._studies.insert(_new_id(), draft)

    def save_study(self, study: Study) -> Study:
        """Replace what is known of a study, in one piece; with the date of its end where it has ended.

        Raises: NoSuchStudyError: it was never begun.
        """
        return self._studies.save(study)

    def study(self, ref: str) -> Study:
        """Args: ref: an id, the unique beginning of one, "last", or "last:SERVICE".

        Raises: NoSuchStudyError: none or several; the message names the nearest.
        """
        self._studies.mark_interrupted()
        study = self._studies.load(resolve(ref, self._studies, STUDY))
        if study is None:
            raise CatalogError(f"study {ref} was removed while it was being read")
        return study

    def study_or_run(self, ref: str) -> Study | Run:
        """Args: ref: an id, or the beginning of one that neither another study nor another run has.

        Raises: CatalogError: none, or several; the message names the nearest of both kinds.
        """
        found: list[Study | Run] = []
        errors = []
        for look in (self.study, self.run):
            try:
                found.append(look(ref))
            except (NoSuchStudyError, NoSuchRunError) as error:
                errors.append(str(error))
        if len(found) == 1:
            return found[0]
        for one in found:
            if one.id == ref:
                return one
        if found:
            study, run = (one.id for one in found)
            raise CatalogError(f"{ref!r} is the beginning of study {study} and of run {run}; type more of it")
        raise CatalogError("; ".join(errors))

    def studies(self, where: StudyFilter = EVERY_STUDY) -> list[StudySummary]:
        """Newest first."""
        self._studies.mark_interrupted()
        return self._studies.list(where)

    def put(self, data: bytes | Path) -> str:
        """Store bytes, or a file's, and return their digest ("sha256:...")."""
        return self._artifacts.put(data)

    def get(self, digest: str) -> bytes:
        """Raises: NoSuchArtifactError.  DamagedArtifactError: not the bytes that were stored."""
        return self._artifacts.get(digest)

    def fetch(self, digest: str, target: Path) -> None:
        """Write an artifact to a file. Raises: as `get`."""
        self._artifacts.fetch(digest, target)

    def has(self, digest: str) -> bool:
        return self._artifacts.has(digest)

    def put_rows(self, rows: RowColumns) -> str:
        """Store rows as Parquet and return the digest."""
        parquet = _parquet()
        buffer = io.BytesIO()
        parquet.write_table(rows.to_arrow(), buffer, compression="zstd")
        return self.put(buffer.getvalue())

    def rows(self, digest: str) -> RowColumns:
        """Raises: as `get`.  SpecError: an artifact that does not hold rows."""
        return RowColumns.from_arrow(_parquet().read_table(io.BytesIO(self.get(digest))))


def _new_id() -> str:
    return secrets.choice(_LETTERS) + "".join(
        secrets.choice(_LETTERS + "0123456789") for _ in range(_ID_LENGTH - 1)
    )


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ExtraMissingError("rows as Parquet", "bench") from None
    return pyarrow.parquet


def _artifacts_url(database: Database) -> str:
    """Where artifacts are: where somebody has said, once and for all users of the database; else beside its file.

    Raises: CatalogError: a server's database does not know yet, or it knows another place than is named now.
    """
    location = database.location
    is_place = settings.c.name == "artifacts"
    with database.reading() as connection:
        known = connection.scalar(sa.select(settings.c.value).where(is_place))
    if known is None and location.artifacts is not None:
        known = _remember(database, location.artifacts)
    if known is None and location.file is not None:
        return str(location.file.parent / "artifacts")
    if known is None:
        raise CatalogError(
            f"the catalog {location} has no place for artifacts yet: name one that everybody who uses it can reach, "
            f"a folder or an fsspec URL such as s3://bucket/folder, with {ARTIFACTS_VARIABLE}; it is remembered"
        )
    if location.artifacts not in (None, known):
        raise CatalogError(
            f"the catalog {location} keeps its artifacts at {known}, not at {location.artifacts}: "
            f"leave {ARTIFACTS_VARIABLE} out"
        )
    return str(known)


def _remember(database: Database, artifacts: str) -> str | None:
    """The place that is remembered now: two may name one at the same time, and the first one's word holds."""
    from sqlalchemy.dialects import postgresql, sqlite

    Artifacts(artifacts).check()
    with database.writing() as connection:
        insert = sqlite.insert if database.location.file is not None else postgresql.insert
        values = {"name": "artifacts", "value": artifacts}
        connection.execute(insert(settings).values(values).on_conflict_do_nothing())
        known: str | None = connection.scalar(
            sa.select(settings.c.value).where(settings.c.name == "artifacts")
        )
    return known
