"""Which run somebody means, or which study."""

import difflib
from dataclasses import dataclass
from typing import Protocol

from trivet.catalog.errors import CatalogError, NoSuchRunError, NoSuchStudyError

LAST = "last"
_MAX_NAMED = 5
_MAX_COMPARED = 1000  # ids that a mistyped one is compared with, newest first


@dataclass(frozen=True, slots=True)
class Kind:
    """What is meant, in the words of messages. making: a command that makes one."""

    one: str
    many: str
    making: str
    listing: str
    error: type[CatalogError]


RUN = Kind("run", "runs", "trivet bench SERVICE", "`trivet runs` lists them", NoSuchRunError)
STUDY = Kind("study", "studies", "trivet tune SERVICE", "`trivet tune --list` lists them", NoSuchStudyError)


class Ids(Protocol):
    """What is asked: ids, newest first, and the services that have runs."""

    def ids(self, prefix: str = "", service: str | None = None, limit: int | None = None) -> list[str]: ...
    def services(self) -> list[str]: ...


def is_last(ref: str) -> bool:
    """Whether it means the newest, of all or of a service."""
    return ref == LAST or ref.startswith(f"{LAST}:")


def resolve(ref: str, known: Ids, kind: Kind = RUN) -> str:
    """The id meant by an id, the unique beginning of one, "last", or "last:SERVICE".

    Raises: NoSuchRunError, NoSuchStudyError: none, or several.
    """
    if is_last(ref):
        return _last(ref.partition(":")[2], known, kind)
    found = known.ids(prefix=ref, limit=_MAX_NAMED + 1) if ref else []
    if ref in found or len(found) == 1:
        return ref if ref in found else found[0]
    if found:
        more = ", ..." if len(found) > _MAX_NAMED else ""
        raise kind.error(
            f"{ref!r} is the beginning of {', '.join(found[:_MAX_NAMED])}{more}; type more of it"
        )
    raise kind.error(f"there is no {kind.one} {ref!r}{_advice(ref, known, kind)}")


def _last(service: str, known: Ids, kind: Kind) -> str:
    found = known.ids(service=service or None, limit=1)
    if found:
        return found[0]
    if not service:
        raise kind.error(f"there are no {kind.many} yet; {kind.making} makes one")
    near = difflib.get_close_matches(service, known.services(), n=1, cutoff=0.5)
    hint = (
        f"; did you mean {LAST}:{near[0]}?"
        if near
        else f"; there are {kind.many} of {_listed(known.services())}"
    )
    raise kind.error(f"there is no {kind.one} of {service!r}{hint}")


def _advice(ref: str, known: Ids, kind: Kind) -> str:
    if ref in known.services():
        return f"; did you mean {LAST}:{ref}?"
    near = difflib.get_close_matches(ref, known.ids(limit=_MAX_COMPARED), n=3, cutoff=0.5)
    return f"; near it: {', '.join(near)}" if near else f"; {kind.listing}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) or "no service yet"
