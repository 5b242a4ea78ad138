"""Runs in the database: begun, ended, found, listed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from trivet.catalog import named_rows
from trivet.catalog.database import Database
from trivet.catalog.environment import Environment
from trivet.catalog.errors import RunEndedError
from trivet.catalog.presence import Presence, is_gone
from trivet.catalog.records import Figure, Run, RunDraft, RunFilter, RunState, RunSummary
from trivet.catalog.schema import run_documents, run_tags, runs, sa
from trivet.catalog.writer import Fate, Writer

_SUMMARY = (
    runs.c.id,
    runs.c.kind,
    runs.c.service,
    runs.c.state,
    runs.c.configuration_hash,
    runs.c.group_name,
    runs.c.begun,
    runs.c.ended,
    runs.c.reason,
    runs.c.figures,
    runs.c.tags,
)
_TAGS = msgspec.json.Decoder(dict[str, str])


class RunTable:
    """Args: fate: whether a writer still runs; given by tests.  date: now, ISO 8601 in UTC."""

    def __init__(
        self, database: Database, date: Callable[[], str], presence: Presence, fate: Callable[[Writer], Fate]
    ) -> None:
        self._database = database
        self._date = date
        self._presence = presence
        self._fate = fate

    def insert(self, run_id: str, draft: RunDraft) -> None:
        self._presence.hold(run_id)
        values = {
            "id": run_id,
            "kind": draft.kind,
            "service": draft.service,
            "state": "running",
            "configuration_hash": draft.configuration_hash,
            "group_name": draft.group,
            "begun": self._date(),
            "reason": "",
            "figures": "{}",
            "tags": _json(draft.tags),
            "writer": _json(Writer.holding()),
        }
        with self._database.writing() as connection:
            inserted = connection.execute(runs.insert().values(values)).inserted_primary_key
            number = inserted[0] if inserted is not None else None
            document = {"number": number, "draft": _json(draft), "artifacts": "{}"}
            connection.execute(run_documents.insert().values(document))
            tags = [{"number": number, "name": name, "value": value} for name, value in draft.tags.items()]
            if tags:
                connection.execute(run_tags.insert(), tags)

    def end(
        self,
        run_id: str,
        state: RunState,
        figures: Mapping[str, Figure],
        reason: str,
        artifacts: Mapping[str, str],
        environment: Environment | None,
    ) -> None:
        """Raises: RunEndedError: it has ended already, or never began."""
        with self._database.writing() as connection:
            row = connection.execute(
                sa.select(runs.c.number, runs.c.state, runs.c.writer, run_documents.c.draft)
                .join(run_documents, run_documents.c.number == runs.c.number)
                .where(runs.c.id == run_id)
                .with_for_update(of=runs)
            ).first()
            if row is None:
                raise RunEndedError(f"run {run_id} was never begun")
            # Somebody who lost sight of this process (a network that was down) called it interrupted: it is not.
            is_ours = row.state == "interrupted" and _writer(row.writer) == Writer.holding()
            if row.state != "running" and not is_ours:
                raise RunEndedError(f"run {run_id} has ended already: it is {row.state}")
            ended = {"state": state, "ended": self._date(), "figures": _json(dict(figures)), "reason": reason}
            connection.execute(runs.update().where(runs.c.number == row.number).values(ended))
            document = {"artifacts": _json(dict(artifacts))}
            if environment is not None:
                draft = msgspec.json.decode(row.draft) | {"environment": msgspec.to_builtins(environment)}
                document["draft"] = _json(draft)
            connection.execute(
                run_documents.update().where(run_documents.c.number == row.number).values(document)
            )
        self._presence.release(run_id)

    def mark_interrupted(self) -> None:
        """Runs whose process is gone have ended. Nobody knows when: `ended` stays empty."""
        with self._database.reading() as connection:
            query = sa.select(runs.c.number, runs.c.id, runs.c.writer).where(runs.c.state == "running")
            running = [(row.number, row.id, _writer(row.writer)) for row in connection.execute(query)]
        gone = [
            (number, writer)
            for number, run_id, writer in running
            if is_gone(writer, run_id, self._fate, self._presence)
        ]
        if not gone:
            return
        with self._database.writing() as connection:
            for number, writer in gone:
                connection.execute(
                    runs.update()
                    .where(runs.c.number == number, runs.c.state == "running")
                    .values(state="interrupted", reason=f"{writer} ended without finishing it")
                )

    def load(self, run_id: str) -> Run | None:
        query = (
            sa.select(runs, run_documents.c.draft, run_documents.c.artifacts)
            .join(run_documents, run_documents.c.number == runs.c.number)
            .where(runs.c.id == run_id)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        draft = msgspec.json.decode(row.draft, type=RunDraft)
        return Run(
            **msgspec.structs.asdict(draft),
            id=row.id,
            state=row.state,
            begun=row.begun,
            ended=row.ended,
            figures=msgspec.json.decode(row.figures, type=dict[str, Figure]),
            reason=row.reason,
            artifacts=msgspec.json.decode(row.artifacts, type=dict[str, str]),
            writer=str(_writer(row.writer)),
        )

    def ids(self, prefix: str = "", service: str | None = None, limit: int | None = None) -> list[str]:
        """Newest first."""
        return named_rows.ids(self._database, runs, prefix, service, limit)

    def services(self) -> list[str]:
        return named_rows.services(self._database, runs)

    def list(self, where: RunFilter) -> list[RunSummary]:
        query = sa.select(*_SUMMARY).where(*_conditions(where))
        query = query.order_by(runs.c.number.desc()).limit(where.limit)
        with self._database.reading() as connection:
            return [_summary(values) for values in connection.execute(query)]


def _conditions(where: RunFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    exact = ((runs.c.service, where.service), (runs.c.kind, where.kind), (runs.c.group_name, where.group))
    found += [column == value for column, value in exact if value is not None]
    if where.states:
        found.append(runs.c.state.in_(where.states))
    if where.since is not None:
        found.append(runs.c.begun >= where.since)
    if where.configuration:
        found.append(runs.c.configuration_hash.startswith(where.configuration, autoescape=True))
    for name, value in where.tags:
        tagged = sa.select(run_tags.c.number).where(run_tags.c.name == name)
        found.append(runs.c.number.in_(tagged if value is None else tagged.where(run_tags.c.value == value)))
    return found


def _summary(values: Sequence[Any]) -> RunSummary:
    """Args: values: in the order of _SUMMARY."""
    (run_id, kind, service, state, configuration, group, begun, ended, reason, figures, tags) = values
    return RunSummary(
        id=run_id,
        kind=kind,
        service=service,
        state=state,
        configuration_hash=configuration,
        begun=begun,
        ended=ended,
        group=group,
        reason=reason,
        figures_json=msgspec.Raw(figures),
        tags=_TAGS.decode(tags),
    )


def _writer(text: str) -> Writer:
    return msgspec.json.decode(text, type=Writer)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
