"""A zip file that has the same bytes for the same content, and a reader that trusts nothing in one.

Members are stored, not compressed. What is large (rows, weights, answers) is dense already; so the bytes depend on no
version of zlib, and nothing inside can be larger than the file itself: there is no bomb to defuse.
"""

import contextlib
import hashlib
import os
import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

from trivet.errors import UserError

MAX_MEMBERS = 10_000
_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest that zip knows: a bundle says nothing of when it was written
# Segments of a plain alphabet that never start with a dot: no way up, no root, no drive, no hidden file.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
# Whatever zipfile meets in bytes that are no zip file, or one made to break it.
_BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
    EOFError,
    OverflowError,
)


class BundleError(UserError):
    """A bundle that cannot be written or must not be used; the message names the file and the member."""


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write the members in the given order; `path` is replaced when all are written, or not at all.

    Raises: BundleError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, data in members:
                archive.writestr(_info(name), data)
        partial.replace(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3  # Unix, wherever it is written
    info.external_attr = 0o644 << 16
    return info


class Archive:
    """The members of a zip file, each checked before it is read. Use it as a context manager.

    Raises: BundleError: no such file, not a whole zip file, or a member that a bundle cannot have.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            num_bytes = path.stat().st_size
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise BundleError(f"bundle {path} cannot be read: {error.strerror or error}") from None
        except _BROKEN as error:
            raise BundleError(
                f"{path} is not a bundle, or only a part of one ({error}); export it again"
            ) from None
        try:
            self._infos = self._checked(num_bytes)
        except BundleError:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    def names(self) -> list[str]:
        return list(self._infos)

    def size(self, name: str) -> int:
        return self._infos[name].file_size

    def read(self, name: str) -> bytes:
        """Raises: BundleError: no such member, or it is damaged."""
        if name not in self._infos:
            raise BundleError(f"{self.path} has no member {name}: it is not a whole bundle; export it again")
        try:
            return self._zip.read(self._infos[name])
        except (*_BROKEN, OSError) as error:
            raise self._bad(name, f"is damaged ({error}); get the bundle again") from None

    def _checked(self, num_bytes: int) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            raise BundleError(f"{self.path} has {len(infos):,} members; a bundle has at most {MAX_MEMBERS:,}")
        found: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            if not _NAME.fullmatch(info.filename):
                raise self._bad(info.filename, "has a name that could lead out of a folder")
            if info.filename in found:
                raise self._bad(info.filename, "is there twice")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise self._bad(
                    info.filename, "is compressed or encrypted; a bundle stores its members as they are"
                )
            found[info.filename] = info
        # Members that share bytes of the file would be the other way to be larger inside than outside.
        if sum(info.file_size for info in infos) > num_bytes:
            largest = max(infos, key=lambda info: info.file_size)
            raise self._bad(
                largest.filename, f"claims {largest.file_size:,} bytes; the file has {num_bytes:,} in all"
            )
        return found

    def _bad(self, name: str, why: str) -> BundleError:
        return BundleError(f"{self.path}: member {name!r} {why}")


def digest_of(data: bytes) -> str:
    """As the catalog writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
