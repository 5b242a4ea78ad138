"""Where a catalog is: a folder, or a database by its URL with a place for artifacts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trivet.catalog.errors import CatalogError

CATALOG_VARIABLE = "TRIVET_CATALOG"
ARTIFACTS_VARIABLE = "TRIVET_ARTIFACTS"
DEFAULT_FOLDER = ".trivet"
DATABASE_FILE = "catalog.db"
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class Location:
    """Exactly one of `file` (SQLite) and `server` (a PostgreSQL URL) is given.

    artifacts: a folder or an fsspec URL, where one was named.
    """

    file: Path | None
    server: str | None
    artifacts: str | None

    def __str__(self) -> str:
        """Without user, password and options."""
        if self.file is not None:
            return str(self.file)
        scheme, _, rest = str(self.server).partition("://")
        return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def locate(url: str | None, artifacts: str | None, environ: Mapping[str, str] = os.environ) -> Location:
    """Args: url: a folder, sqlite:///FILE or postgresql://...; None: TRIVET_CATALOG, else ./.trivet.
        artifacts: a folder or fsspec URL; None: TRIVET_ARTIFACTS.

    Raises: CatalogError: a URL of another kind.
    """
    given = url or environ.get(CATALOG_VARIABLE) or DEFAULT_FOLDER
    chosen = artifacts or environ.get(ARTIFACTS_VARIABLE) or None
    if chosen is not None and "://" not in chosen:
        chosen = str(Path(chosen).absolute())
    scheme, separator, rest = given.partition("://")
    if not separator:
        return Location((Path(given) / DATABASE_FILE).absolute(), None, chosen)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return Location(Path(rest[1:]).absolute(), None, chosen)
    if scheme in _POSTGRES:
        return Location(None, f"postgresql://{rest}", chosen)
    raise CatalogError(
        f"a catalog cannot be at {given!r}; give a folder, sqlite:///FILE, or postgresql://USER@HOST/DATABASE "
        f"(argument or {CATALOG_VARIABLE})"
    )
