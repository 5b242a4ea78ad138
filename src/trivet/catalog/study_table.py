"""Studies in the database: begun, saved again and again, found, listed."""

from collections.abc import Callable

import msgspec

from trivet.catalog import named_rows
from trivet.catalog.database import Database
from trivet.catalog.errors import NoSuchStudyError
from trivet.catalog.presence import Presence, is_gone
from trivet.catalog.schema import sa, studies
from trivet.catalog.study import Study, StudyFilter, StudySummary
from trivet.catalog.writer import Fate, Writer

_RUNNING = "running"


class StudyTable:
    """Args: fate: whether a writer still runs; given by tests.  date: now, ISO 8601 in UTC."""

    def __init__(
        self, database: Database, date: Callable[[], str], presence: Presence, fate: Callable[[Writer], Fate]
    ) -> None:
        self._database = database
        self._date = date
        self._presence = presence
        self._fate = fate

    def insert(self, study_id: str, draft: Study) -> Study:
        """The study as it begins, with its id and date."""
        self._presence.hold(study_id)
        writer = Writer.holding()
        study = msgspec.structs.replace(
            draft, id=study_id, state=_RUNNING, begun=self._date(), ended=None, writer=str(writer)
        )
        values = _values(study) | {"writer": _json(writer)}
        with self._database.writing() as connection:
            connection.execute(studies.insert().values(values))
        return study

    def save(self, study: Study) -> Study:
        """Replace the study as a whole; it has a date of its end once it is not running any more.

        Raises: NoSuchStudyError: it was never begun.
        """
        is_running = study.state == _RUNNING
        study = msgspec.structs.replace(study, ended=None if is_running else study.ended or self._date())
        values = _values(study)
        if is_running:  # one that goes on is written by another process than the one that began it
            self._presence.hold(study.id)
            values |= {"writer": _json(Writer.holding())}
        with self._database.writing() as connection:
            done = connection.execute(studies.update().where(studies.c.id == study.id).values(values))
            if not done.rowcount:
                self._presence.release(study.id)
                raise NoSuchStudyError(f"study {study.id!r} was never begun")
        if not is_running:
            self._presence.release(study.id)
        return study

    def load(self, study_id: str) -> Study | None:
        query = sa.select(studies.c.document).where(studies.c.id == study_id)
        with self._database.reading() as connection:
            document = connection.scalar(query)
        return None if document is None else msgspec.json.decode(document, type=Study)

    def mark_interrupted(self) -> None:
        """Studies whose process is gone are interrupted; what was saved of them is whole."""
        query = sa.select(studies.c.id, studies.c.writer).where(studies.c.state == _RUNNING)
        with self._database.reading() as connection:
            running = [
                (row.id, msgspec.json.decode(row.writer, type=Writer)) for row in connection.execute(query)
            ]
        for study_id, writer in running:
            is_over = is_gone(writer, study_id, self._fate, self._presence)
            if is_over and (study := self.load(study_id)) is not None:
                reason = f"{writer} ended without finishing it"
                ended = msgspec.structs.replace(study, state="interrupted", reason=reason)
                with self._database.writing() as connection:
                    still = (studies.c.id == study_id) & (studies.c.state == _RUNNING)
                    connection.execute(studies.update().where(still).values(_values(ended)))

    def ids(self, prefix: str = "", service: str | None = None, limit: int | None = None) -> list[str]:
        """Newest first."""
        return named_rows.ids(self._database, studies, prefix, service, limit)

    def services(self) -> list[str]:
        return named_rows.services(self._database, studies)

    def list(self, where: StudyFilter) -> list[StudySummary]:
        """Newest first."""
        query = sa.select(studies.c.summary).order_by(studies.c.number.desc()).limit(where.limit)
        if where.service is not None:
            query = query.where(studies.c.service == where.service)
        if where.states:
            query = query.where(studies.c.state.in_(where.states))
        with self._database.reading() as connection:
            return [msgspec.json.decode(text, type=StudySummary) for text in connection.scalars(query)]


def _values(study: Study) -> dict[str, str | None]:
    """The columns of a study, but for its writer."""
    summary = StudySummary(
        id=study.id,
        service=study.service,
        state=study.state,
        begun=study.begun,
        ended=study.ended,
        reason=study.reason,
        objective=study.goal.objective,
        num_trials=sum(trial.stage != "screened" for trial in study.trials),
    )
    return {
        "id": study.id,
        "service": study.service,
        "state": study.state,
        "begun": study.begun,
        "ended": study.ended,
        "summary": _json(summary),
        "document": _json(study),
    }


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
