"""Who did what, in order, for good: each entry's hash covers the one before it.

Changing, removing or inserting an entry breaks the chain from there on, and `verify` names the first broken link.
Entries cut off at the end leave a whole chain behind: who wants to notice that too keeps the newest hash elsewhere
and gives it to `verify`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from trivet.catalog.database import Database
from trivet.catalog.schema import audit, sa
from trivet.errors import UserError
from trivet.spec.canonical import canonical_json

FIRST = "0" * 64  # what stands before the first entry
_FORMAT = 1


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """details: canonical JSON.  previous: the hash of the entry before.  date: ISO 8601, UTC."""

    number: int
    date: str
    actor: str
    action: str
    subject: str
    details: str
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """What the hash must be. It covers the text of the details as it is stored, byte for byte."""
        fields = (self.number, self.date, self.actor, self.action, self.subject, self.details)
        return hashlib.sha256(self.previous.encode() + canonical_json([_FORMAT, *fields])).hexdigest()


class BrokenLink(msgspec.Struct, frozen=True, kw_only=True):
    """number: the first entry that is not as it was written, or not where it was."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"entry {self.number}: {self.reason}"


class AuditLog:
    """Append-only. In the database triggers refuse every change; the chain shows what went around them."""

    def __init__(self, database: Database, date: Callable[[], str]) -> None:
        self._database = database
        self._date = date

    def append(
        self, actor: str, action: str, subject: str, details: Mapping[str, Any] | None = None
    ) -> AuditEntry:
        """Raises: UserError: details that JSON cannot hold."""
        text = _canonical(details or {})
        with self._database.writing() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's writers are alone already
                connection.execute(sa.text("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE"))
            newest = connection.execute(
                sa.select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)
            ).first()
            number, previous = (newest.number + 1, newest.hash) if newest else (1, FIRST)
            entry = AuditEntry(
                number=number,
                date=self._date(),
                actor=actor,
                action=action,
                subject=subject,
                details=text,
                previous=previous,
                hash="",
            )
            entry = msgspec.structs.replace(entry, hash=entry.computed_hash())
            connection.execute(audit.insert().values(**msgspec.structs.asdict(entry)))
        return entry

    def entries(self, limit: int | None = None) -> list[AuditEntry]:
        """In their order; with a limit the newest."""
        query = sa.select(audit).order_by(audit.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            found = [AuditEntry(**row) for row in connection.execute(query).mappings()]
        return found[::-1]

    def verify(self, head: str | None = None) -> BrokenLink | None:
        """None: the chain is whole. Args: head: a hash that was noted earlier and must still be in it."""
        is_there = head is None
        last = 0
        previous = FIRST
        for entry in self._stream():
            broken = _broken(entry, last + 1, previous)
            if broken is not None:
                return BrokenLink(number=last + 1, reason=broken)
            last, previous = entry.number, entry.hash
            is_there = is_there or entry.hash == head
        if not is_there:
            reason = f"no entry has the hash {head}: the log was cut off, or written anew"
            return BrokenLink(number=last + 1, reason=reason)
        return None

    def _stream(self) -> Iterator[AuditEntry]:
        with self._database.reading() as connection:
            query = sa.select(audit).order_by(audit.c.number).execution_options(yield_per=1000)
            for row in connection.execute(query).mappings():
                yield AuditEntry(**row)


def _broken(entry: AuditEntry, number: int, previous: str) -> str | None:
    if entry.number != number:
        return f"it is missing; the next one is entry {entry.number}"
    if entry.previous != previous:
        return "it does not follow the entry before it: that one, or a whole stretch, was replaced"
    if entry.hash != entry.computed_hash():
        return f"its content was changed: its hash is {entry.computed_hash()}, recorded is {entry.hash}"
    return None


def _canonical(details: Mapping[str, Any]) -> str:
    try:
        return canonical_json(msgspec.to_builtins(details, str_keys=True)).decode()
    except (TypeError, ValueError) as error:
        raise UserError(f"details of an audit entry must be JSON: {error}") from None
