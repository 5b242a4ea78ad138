"""Which run somebody means."""

import difflib
from typing import Protocol

from trivet.catalog.errors import NoSuchRunError

LAST = "last"
_MAX_NAMED = 5
_MAX_COMPARED = 1000  # ids that a mistyped one is compared with, newest first


class Ids(Protocol):
    """What is asked: ids, newest first, and the services that have runs."""

    def ids(self, prefix: str = "", service: str | None = None, limit: int | None = None) -> list[str]: ...
    def services(self) -> list[str]: ...


def resolve(ref: str, known: Ids) -> str:
    """The id meant by an id, the unique beginning of one, "last", or "last:SERVICE".

    Raises: NoSuchRunError: none, or several.
    """
    if ref == LAST or ref.startswith(f"{LAST}:"):
        return _last(ref.partition(":")[2], known)
    found = known.ids(prefix=ref, limit=_MAX_NAMED + 1) if ref else []
    if ref in found or len(found) == 1:
        return ref if ref in found else found[0]
    if found:
        more = ", ..." if len(found) > _MAX_NAMED else ""
        raise NoSuchRunError(
            f"{ref!r} is the beginning of {', '.join(found[:_MAX_NAMED])}{more}; type more of it"
        )
    raise NoSuchRunError(f"there is no run {ref!r}{_advice(ref, known)}")


def _last(service: str, known: Ids) -> str:
    found = known.ids(service=service or None, limit=1)
    if found:
        return found[0]
    if not service:
        raise NoSuchRunError("there are no runs yet; trivet bench SERVICE makes one")
    near = difflib.get_close_matches(service, known.services(), n=1, cutoff=0.5)
    hint = f"; did you mean {LAST}:{near[0]}?" if near else f"; there are runs of {_listed(known.services())}"
    raise NoSuchRunError(f"there is no run of {service!r}{hint}")


def _advice(ref: str, known: Ids) -> str:
    if ref in known.services():
        return f"; did you mean {LAST}:{ref}?"
    near = difflib.get_close_matches(ref, known.ids(limit=_MAX_COMPARED), n=3, cutoff=0.5)
    return f"; near it: {', '.join(near)}" if near else "; `trivet runs` lists them"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) or "no service yet"
