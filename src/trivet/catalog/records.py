"""What the catalog keeps of a run. Records accept unknown fields, and each new field has a default: old readers, new
writers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from trivet.catalog.environment import Environment

RunKind = Literal["bench", "replay", "gate", "tune"]
RunState = Literal["running", "complete", "partial", "invalid", "failed", "interrupted"]

STATES: dict[RunState, str] = {
    "running": "its process is at work",
    "complete": "measured to the end",
    "partial": "stopped before the end (Ctrl-C); what was measured is kept",
    "invalid": "measured, but its figures mean nothing: the reason says why",
    "failed": "could not be measured: the reason says why",
    "interrupted": "its process ended without saying how (killed, or the machine went down)",
}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a run, in `unit`, with the interval that encloses the truth; None: no bound on that side.

    verdict: where a goal is set for it: "met", "missed", or what the judge says.
    """

    estimate: float
    low: float | None = None
    high: float | None = None
    unit: str
    verdict: str = ""

    def __post_init__(self) -> None:
        """Raises: ValueError: the estimate is no number. JSON has no infinity: an infinite bound is None."""
        if not math.isfinite(self.estimate):
            raise ValueError(f"a figure of {self.estimate} {self.unit}: leave out what was not measured")
        for name in ("low", "high"):
            bound = getattr(self, name)
            if bound is not None and not math.isfinite(bound):
                msgspec.structs.force_setattr(self, name, None)

    def __str__(self) -> str:
        text = f"{self.estimate:.4g}"
        if self.low is not None or self.high is not None:
            low = "-∞" if self.low is None else f"{self.low:.4g}"
            high = "∞" if self.high is None else f"{self.high:.4g}"
            text += f" [{low}, {high}]"
        return f"{text} {self.unit}".rstrip()


class RunDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run before any load is offered.

    group: runs that were interleaved share one.  seeds: by purpose.  dataset: digests, split, rows.
    """

    kind: RunKind
    service: str
    configuration_hash: str
    configuration: dict[str, Any]
    workload: dict[str, Any]
    seeds: dict[str, int]
    dataset: dict[str, Any]
    environment: Environment
    command: list[str]
    group: str = ""
    tags: dict[str, str] = {}


class Run(RunDraft, frozen=True, kw_only=True):
    """All that is known of a run. Dates: ISO 8601, UTC; `ended` is None while it runs, and of one interrupted.

    artifacts: digests by name; "rows", "answers", "configuration", "model:<name>", "data".
    writer: the process that measured it.
    """

    id: str
    state: RunState
    begun: str
    ended: str | None = None
    figures: dict[str, Figure] = {}
    reason: str = ""
    artifacts: dict[str, str] = {}
    writer: str = ""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a list shows it. Its figures are decoded when they are looked at: a list has thousands of them."""

    id: str
    kind: RunKind
    service: str
    state: RunState
    configuration_hash: str
    begun: str
    ended: str | None
    group: str
    reason: str
    figures_json: msgspec.Raw = msgspec.field(name="figures")
    tags: dict[str, str]

    @property
    def figures(self) -> dict[str, Figure]:
        return msgspec.json.decode(self.figures_json, type=dict[str, Figure])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs; every condition that is given must hold. Newest first.

    since: ISO 8601, UTC, as in `begun`.  tags: a value of None asks only for the tag's name.
    configuration: a prefix of the hash.  limit: at most so many; None: all.
    """

    service: str | None = None
    states: Sequence[RunState] = ()
    kind: RunKind | None = None
    since: str | None = None
    tags: tuple[tuple[str, str | None], ...] = ()
    configuration: str = ""
    group: str | None = None
    limit: int | None = None


EVERYTHING = RunFilter()
