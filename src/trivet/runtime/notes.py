"""What is told of a request that took another way than its pipeline as declared: in its answer, metrics and row."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivet.runtime.request import Request


@dataclass(slots=True)
class Notes:
    """Made by the first shortcut or repair that a request meets; most requests have none.

    cache: one of spec.row.CACHE_OUTCOMES.
    instead: as in spec.row.Row: `degraded:MODEL` or `fallback:NAME`; empty: the pipeline as declared answered.
    upstream: the remote server that answered.
    attempts: tries of what was tried more than once, or elsewhere; 0: nothing was.
    cost_nano: what it has cost so far, engine time and calls, in 1e-9 of the service's currency; 0 where no price is
        declared. paid_nano: the part of it that has been counted.
    """

    cache: str = ""
    instead: str = ""
    upstream: str = ""
    attempts: int = 0
    cost_nano: int = 0
    paid_nano: int = 0


def note_call(request: "Request", call: Notes) -> None:
    """Tell of a request what became of a call to another server. `attempts` are those of all its calls."""
    notes = request.notes = request.notes or Notes()
    notes.upstream = call.upstream or notes.upstream
    notes.instead = call.instead or notes.instead
    notes.attempts += call.attempts
