"""Files by the digest of their content, in a folder or at any place that fsspec knows.

`sha256/ab/cdef...` appears whole: it is written under another name and then renamed, so a reader never sees half of
it, and a writer that dies leaves only a draft, which the next one that writes removes. What is read is checked against
its name.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from trivet.catalog.database_errors import file_error
from trivet.catalog.errors import CatalogError, DamagedArtifactError, NoSuchArtifactError
from trivet.catalog.writer import Writer
from trivet.errors import ExtraMissingError

_PREFIX = "sha256:"
_CHUNK = 1 << 20


class Artifacts:
    """Everything is told as a CatalogError: a place that is full, cannot be reached, or may not be written."""

    def __init__(self, url: str) -> None:
        """Nothing is looked at before it is needed. Args: url: a folder, or an fsspec URL such as s3://bucket/folder."""
        self.url = url
        self._has_swept = False

    def check(self) -> None:
        """Raises: CatalogError: fsspec knows no such place.  ExtraMissingError: fsspec is not installed."""
        _ = self._place

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The filesystem, and the store's folder in it."""
        return _filesystem(self.url)

    @property
    def _files(self) -> Any:
        return self._place[0]

    @property
    def _root(self) -> str:
        return self._place[1]

    def put(self, data: bytes | Path) -> str:
        """Store the bytes, or the file's, and return their digest. What is there already is not written again."""
        if isinstance(data, bytes):
            digest, size = hashlib.sha256(data).hexdigest(), len(data)
        else:
            digest, size = _digest_of(data), data.stat().st_size
        path = self._path(digest)
        with self._told():
            if self._files.exists(path) and self._files.size(path) == size:
                return _PREFIX + digest
            self._write(data, path, digest)
        return _PREFIX + digest

    def get(self, digest: str) -> bytes:
        """Raises: NoSuchArtifactError.  DamagedArtifactError: the bytes are not those that were stored."""
        with self._reading(digest) as file:
            data: bytes = file.read()
        self._check(digest, hashlib.sha256(data).hexdigest())
        return data

    def fetch(self, digest: str, target: Path) -> None:
        """Write the artifact to a file, however large it is; a damaged one leaves no file. Raises: as `get`."""
        hashed = hashlib.sha256()
        with self._reading(digest) as file, target.open("wb") as copy:
            _copy(file, copy, hashed.update)
        try:
            self._check(digest, hashed.hexdigest())
        except DamagedArtifactError:
            target.unlink()
            raise

    def has(self, digest: str) -> bool:
        with self._told():
            return bool(self._files.exists(self._path(_hex(digest))))

    def _write(self, data: bytes | Path, path: str, digest: str) -> None:
        drafts = f"{self._root}/drafts"
        draft = f"{drafts}/{secrets.token_hex(4)}.{Writer.current().file_name()}"
        self._remove_dead_drafts(drafts)
        self._files.makedirs(drafts, exist_ok=True)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            with self._files.open(draft, "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    _copy_unchanged(data, file, digest)
                if _is_local(self._files):
                    file.flush()
                    os.fsync(file.fileno())  # before its name: a power cut must not leave the name of nothing
            self._move(draft, path)
        except BaseException:
            if self._files.exists(draft):
                self._files.rm_file(draft)
            raise

    def _move(self, draft: str, path: str) -> None:
        self._files.mv(draft, path)
        if _is_local(self._files):
            _sync_folder(path.rpartition("/")[0])

    @contextmanager
    def _reading(self, digest: str) -> Iterator[IO[bytes]]:
        with self._told():
            try:
                file = self._files.open(self._path(_hex(digest)), "rb")
            except FileNotFoundError:
                raise NoSuchArtifactError(f"{self.url} holds no artifact {digest}") from None
            with file:
                yield file

    def _check(self, digest: str, found: str) -> None:
        if found != _hex(digest):
            raise DamagedArtifactError(
                f"the artifact {digest} at {self.url} is damaged: its bytes have the digest {_PREFIX}{found}; "
                "restore it from a copy"
            )

    def _path(self, digest: str) -> str:
        return f"{self._root}/sha256/{digest[:2]}/{digest[2:]}"

    def _remove_dead_drafts(self, folder: str) -> None:
        """Once, and only of processes that are gone. Those of other machines are theirs to remove."""
        if self._has_swept or not self._files.exists(folder):
            return
        self._has_swept = True
        for path in self._files.ls(folder, detail=False):
            _, _, writer = path.rpartition("/")[2].partition(".")
            if Writer.of_file_name(writer).fate() == "gone":
                self._files.rm_file(path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise file_error(error, self.url) from error


def _filesystem(url: str) -> tuple[Any, str]:
    """Raises: CatalogError: fsspec knows no such place.  ExtraMissingError: fsspec is not installed."""
    try:
        import fsspec
    except ImportError:
        raise ExtraMissingError("artifacts", "bench") from None
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:  # an unknown scheme, or one whose package is not installed
        raise CatalogError(
            f"artifacts cannot be kept at {url!r}: {error}; give a folder or a URL that fsspec knows"
        ) from None
    return files, root.rstrip("/")


def _is_local(files: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(files, LocalFileSystem)


def _sync_folder(folder: str) -> None:
    """Its names are on disk after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hex(digest: str) -> str:
    """Raises: NoSuchArtifactError: not a digest, so nothing has it."""
    value = digest.removeprefix(_PREFIX)
    if not digest.startswith(_PREFIX) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise NoSuchArtifactError(
            f"{digest!r} is no digest of an artifact; expected {_PREFIX} and 64 hex digits"
        )
    return value


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CatalogError(f"{path} cannot be stored: {error.strerror}") from None


def _copy(source: IO[bytes], target: IO[bytes], also: Callable[[bytes], object]) -> None:
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        also(chunk)


def _copy_unchanged(source: Path, target: IO[bytes], digest: str) -> None:
    """Raises: CatalogError: it is another file by now than the one whose digest was taken."""
    hashed = hashlib.sha256()
    with source.open("rb") as file:
        _copy(file, target, hashed.update)
    if hashed.hexdigest() != digest:
        raise CatalogError(f"{source} changed while it was being stored; try again when nothing writes it")
