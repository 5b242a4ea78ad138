"""Variants kept in a folder: files by the digest of their content, records by what they were built from.

    objects/<digest>/model.onnx         appears whole: it is written elsewhere in the folder and renamed
    records/<digest of the original>/<key>.json

The key covers all that a build depends on, so that the same request finds what is there, failures too.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from trivet.spec.canonical import canonical_json
from trivet.variants.builder import Built
from trivet.variants.errors import StoreError
from trivet.variants.variant import BuildFailure, Variant

_OBJECTS, _RECORDS, _DRAFTS = "objects", "records", "drafts"

Stored = Variant | BuildFailure


class VariantStore:
    """Any number of processes may use one folder. Nothing is made before something is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, variant: Variant, file: str = "") -> Path:
        """Of one of its files; by default the model file."""
        return (self.folder / _OBJECTS / variant.digest / (file or variant.files[0])).absolute()

    def find(self, built_from: str, key: str) -> Stored | None:
        """The record of a build; None where there is none, or its files are gone."""
        found = _read(self._record(built_from, key))
        if isinstance(found, Variant) and not all(self.path(found, file).is_file() for file in found.files):
            return None
        return found

    def all(self, built_from: str) -> list[Stored]:
        """What was built of an original: of each name and model the newest."""
        paths = (self.folder / _RECORDS / built_from).glob("*.json")
        newest: dict[tuple[str, str], Stored] = {}
        for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name)):
            found = self.find(built_from, path.stem)
            if found is not None:
                newest[found.model, found.name] = found
        return [newest[key] for key in sorted(newest)]

    def family(self, model: str) -> list[Stored]:
        """What was built of the model file with this digest; or, where it is a variant itself, of what it was built from."""
        if own := self.all(model):
            return own
        for folder in sorted((self.folder / _RECORDS).glob("*")):
            found = self.all(folder.name)
            if any(isinstance(one, Variant) and _sha256(self.path(one)) == model for one in found):
                return found
        return []

    def put(self, folder: Path, key: str, built: Built, record: Variant) -> Variant:
        """Keep a variant whose files are in `folder`, a draft of this store.

        Args: record: whose digest and size are filled in here.
        Raises: StoreError: the folder cannot be written.
        """
        with _told(self.folder):
            kept = msgspec.structs.replace(
                record,
                digest=digest_of(folder, built),
                size_bytes=sum((folder / file).stat().st_size for file in built.files),
            )
            self._place(folder, built.files, self.folder / _OBJECTS / kept.digest)
            self._write(self._record(kept.built_from, key), kept)
        return kept

    def put_failure(self, key: str, failure: BuildFailure) -> None:
        """Raises: StoreError: the folder cannot be written."""
        with _told(self.folder):
            self._write(self._record(failure.built_from, key), failure)

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """An empty folder on the store's own disk; whatever is left in it at the end is removed."""
        with _told(self.folder):
            drafts = self.folder / _DRAFTS
            drafts.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=drafts))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _place(self, folder: Path, files: tuple[str, ...], target: Path) -> None:
        whole = Path(tempfile.mkdtemp(dir=folder))
        for file in files:
            (whole / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).rename(whole / file)
        whole.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            whole.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            # Somebody was first, with the same bytes; or a file of it was removed since.
            for file in files:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                (whole / file).replace(target / file)

    def _record(self, built_from: str, key: str) -> Path:
        return self.folder / _RECORDS / built_from / f"{key}.json"

    def _write(self, path: Path, record: Stored) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "variant" if isinstance(record, Variant) else "failure"
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.write_bytes(msgspec.json.encode({kind: record}))
        draft.replace(path)


def digest_of(folder: Path, built: Built) -> str:
    """SHA-256 over the digests of its files in their order, and the stages that say how they are used."""
    parts = [_sha256(folder / name) for name in built.files]
    return hashlib.sha256(canonical_json([parts, [*(built.stages or ())]])).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Kept(msgspec.Struct, frozen=True):
    variant: Variant | None = None
    failure: BuildFailure | None = None


def _read(path: Path) -> Stored | None:
    """None also for a record that cannot be read: it is then made anew."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return None
    return kept.variant or kept.failure


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"variants cannot be kept in {folder}: {reason}") from error
