"""What a database complains of, in words that say what to do. Mistakes of ours are left as they are."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trivet.catalog.errors import CatalogError, FullError
from trivet.catalog.location import Location
from trivet.catalog.schema import sa

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_SQLITE = {
    "SQLITE_READONLY": "it cannot be written: check who owns it, or name another with TRIVET_CATALOG",
    "SQLITE_CANTOPEN": "it cannot be opened: check that this user may read and write its folder",
    "SQLITE_NOTADB": "it is not a database: move it away, or name another with TRIVET_CATALOG",
    "SQLITE_CORRUPT": "it is damaged: restore it from a copy, or move it away",
    "SQLITE_BUSY": "another process has held it for a minute: see who with `fuser`, then try again",
    "SQLITE_IOERR": "the disk failed",
}


@contextmanager
def told(location: Location) -> Iterator[None]:
    """Raises: CatalogError: instead of what the database raised.  FullError: no space is left."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        found = _told(error, location)
        if found is None:
            raise
        raise found from error
    except OSError as error:
        raise file_error(error, str(location)) from error


def file_error(error: OSError, where: str) -> CatalogError:
    """What the operating system complains of, about a file or folder of the catalog."""
    if error.errno in FULL:
        return full_error(where, error.strerror or str(error))
    return CatalogError(f"{where}: {error.strerror or error}; or name another place with TRIVET_CATALOG")


def full_error(where: str, complaint: str) -> FullError:
    return FullError(
        f"{where} cannot be written: {complaint}{_free(where)}. What was recorded before is whole; free some space, "
        "or name another catalog with TRIVET_CATALOG"
    )


def _told(error: sa.exc.DBAPIError, location: Location) -> CatalogError | None:
    """None: it is a mistake of ours."""
    original = error.orig
    name = getattr(original, "sqlite_errorname", "")
    state = getattr(original, "sqlstate", None) or ""
    if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR_WRITE") or state == "53100":
        return full_error(str(location), str(original).strip())
    for prefix, advice in _SQLITE.items():
        if name.startswith(prefix):
            return CatalogError(f"the catalog {location}: {original}: {advice}")
    if isinstance(error, sa.exc.OperationalError) and not name:
        return CatalogError(f"the catalog {location} cannot be reached: {str(original).strip()}")
    return None


def _free(where: str) -> str:
    path = Path(where)
    while not path.exists() and path != path.parent:
        path = path.parent
    return f" ({shutil.disk_usage(path).free >> 20} MiB free there)" if path.is_absolute() else ""
