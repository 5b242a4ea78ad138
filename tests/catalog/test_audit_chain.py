"""The audit log's chain: whatever is done to its entries behind its back, `verify` names the first that is wrong."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.catalog.catalog_support import Calendar
from trivet.catalog.audit import FIRST, AuditLog
from trivet.catalog.catalog import Catalog
from trivet.catalog.schema import audit, sa
from trivet.errors import UserError

FIELDS = ("date", "actor", "action", "subject", "details", "previous", "hash")


def tampered(log: AuditLog, *statements: Any) -> None:
    """Around the triggers, as somebody with the file in hand could."""
    with log._database.writing() as connection:
        for event in ("update", "delete"):
            connection.execute(sa.text(f"DROP TRIGGER IF EXISTS audit_refuses_{event}"))
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    log = Catalog.open(str(tmp_path), now=Calendar()).audit
    for number in range(1, 6):
        log.append("ann", "approve", f"release {number}", {"share": number / 10})
    return log


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> AuditLog:
    """One database for all examples: its log is emptied before each."""
    log = Catalog.open(str(tmp_path_factory.mktemp("audit")), now=Calendar()).audit

    def do_not_wait_for_the_disk(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    sa.event.listen(log._database._engine, "connect", do_not_wait_for_the_disk)
    tampered(log)
    return log


def test_the_hash_is_what_its_definition_says(log: AuditLog) -> None:
    """Written out once more, without a function of the package: others must be able to check a log."""
    previous = FIRST
    for entry in log.entries():
        fields = [1, entry.number, entry.date, entry.actor, entry.action, entry.subject, entry.details]
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
        assert entry.hash == hashlib.sha256((previous + text).encode()).hexdigest()
        assert entry.previous == previous
        previous = entry.hash


@given(
    actors=st.lists(st.text(max_size=5), min_size=1, max_size=6),
    where=st.integers(0, 5),
    field=st.sampled_from(FIELDS),
    after=st.text(max_size=8),
)
@settings(max_examples=50, deadline=None)
def test_a_changed_field_breaks_the_chain_at_its_entry(
    empty: AuditLog, actors: list[str], where: int, field: str, after: str
) -> None:
    tampered(empty, audit.delete())
    for index, actor in enumerate(actors):
        empty.append(actor, "approve", f"s{index}")
    assert empty.verify() is None
    number = where % len(actors) + 1
    assume(getattr(empty.entries()[number - 1], field) != after)
    tampered(empty, audit.update().where(audit.c.number == number).values({field: after}))
    broken = empty.verify()
    assert broken is not None
    assert broken.number == number


@given(number=st.integers(1, 5), num=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_removed_entries_are_missed_where_others_follow(empty: AuditLog, number: int, num: int) -> None:
    tampered(empty, audit.delete())
    for index in range(5):
        empty.append("ann", "approve", str(index))
    head = empty.entries()[-1].hash
    tampered(empty, audit.delete().where(audit.c.number.between(number, number + num - 1)))
    broken = empty.verify()
    is_cut_off = number + num > 5
    assert (broken is None) == is_cut_off
    assert broken is None or (broken.number == number and "it is missing" in broken.reason)
    noted = empty.verify(head)
    assert noted is not None
    assert noted.number == number


def test_an_entry_written_anew_with_a_right_hash_breaks_the_next_link(log: AuditLog) -> None:
    import msgspec

    forged = msgspec.structs.replace(log.entries()[2], actor="eve")
    forged = msgspec.structs.replace(forged, hash=forged.computed_hash())
    tampered(log, audit.update().where(audit.c.number == 3).values(msgspec.structs.asdict(forged)))
    broken = log.verify()
    assert broken is not None
    assert (broken.number, "does not follow the entry before it" in broken.reason) == (4, True)


def test_swapped_entries_break_the_chain_at_the_first(log: AuditLog) -> None:
    change = [
        audit.update().where(audit.c.number == a).values(number=b) for a, b in ((2, 99), (3, 2), (99, 3))
    ]
    tampered(log, *change)
    broken = log.verify()
    assert broken is not None
    assert broken.number == 2


def test_a_whole_log_that_was_cut_off_or_written_anew_lacks_the_noted_hash(log: AuditLog) -> None:
    head = log.entries()[-1].hash
    tampered(log, audit.delete().where(audit.c.number > 3))
    assert log.verify() is None
    broken = log.verify(head)
    assert broken is not None
    assert "cut off, or written anew" in broken.reason


@pytest.mark.parametrize("details", [{"share": float("nan")}, {"what": object()}])
def test_details_that_are_not_json_are_refused(log: AuditLog, details: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="must be JSON"):
        log.append("ann", "approve", "release", details)
    assert len(log.entries()) == 5


def test_equal_details_have_equal_text(log: AuditLog) -> None:
    a = log.append("ann", "approve", "r", {"b": 1.0, "a": [True, None], 3: "x"})
    b = log.append("ann", "approve", "r", {3: "x", "a": (True, None), "b": 1})
    assert a.details == b.details == '{"3":"x","a":[true,null],"b":1}'
