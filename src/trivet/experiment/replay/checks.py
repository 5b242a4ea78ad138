"""What a replay looked at, and what follows from it. Nothing here measures: checks go in, one verdict comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["same", "differs", "cannot tell", "not compared"]
Verdict = Literal["reproduced", "differs", "cannot tell"]
Kind = Literal["content", "environment", "answers", "decisions", "timing", "accuracy"]

# What a run gives, as opposed to what it was made of: one of these must have been compared for `reproduced`.
MEASURED = frozenset({"answers", "decisions", "timing", "accuracy"})


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not what it was, in words: what, then and now."""

    what: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.then} -> {self.now}"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of then and now. `detail` says what was compared and how far apart it is.

    once_more: measuring again may settle it.
    """

    kind: Kind
    name: str
    status: Status
    detail: str
    changes: tuple[Change, ...] = ()
    once_more: bool = False


def verdict(checks: Sequence[Check]) -> Verdict:
    """One check that differs is enough; one that cannot tell forbids `reproduced`; so does having measured nothing."""
    statuses = {check.status for check in checks}
    if "differs" in statuses:
        return "differs"
    measured = any(check.kind in MEASURED and check.status == "same" for check in checks)
    return "cannot tell" if "cannot tell" in statuses or not measured else "reproduced"


def changes(checks: Sequence[Check]) -> tuple[Change, ...]:
    """What changed, each once: what the service and its environment are made of first, then what was measured."""
    ordered = sorted(
        (check for check in checks if check.status == "differs"), key=lambda check: check.kind in MEASURED
    )
    return tuple(dict.fromkeys(change for check in ordered for change in check.changes))
