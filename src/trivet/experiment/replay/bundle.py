"""A bundle: one run, or all runs of one comparison, with everything that it takes to measure them again elsewhere.

    manifest.json      the form's version, the runs, what was taken out, and every other member with its digest
    runs/ID.json       the record: configuration, workload, seeds, environment, figures
    locks/ID.txt       the packages that were installed, as pip takes them
    objects/SHA256     models, code, data, rows, answers: whatever the records name by digest, once
    README.txt         what this is

The same runs give the same bytes. A bundle shows that nothing in it was changed since it was written; who wrote it,
only the digest that `trivet export` prints can tell, kept apart from the file.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from trivet import __version__
from trivet.catalog.records import Run
from trivet.errors import ExtraMissingError
from trivet.experiment.replay.anonymise import (
    DATA_ARTIFACTS,
    REMOVED,
    REMOVED_DATA,
    TEXT_ARTIFACTS,
    anonymous_rows,
    anonymous_run,
)
from trivet.experiment.replay.archive import Archive, BundleError, digest_of, write_archive
from trivet.experiment.replay.service_folder import check_portable, file_bytes
from trivet.spec.row import RowColumns

__all__ = ["FORMAT", "Bundle", "BundleError", "Manifest", "export", "read"]

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20
_README = b"""A bundle of trivet: recorded measurements with everything that it takes to make them again.

    trivet replay THIS_FILE          measures again, and says whether the figures are reproduced
    trivet replay --env THIS_FILE    the same with the packages that were recorded

runs/ holds the records as JSON, locks/ the installed packages, objects/ the files that the records name by digest.
"""


class Artifacts(Protocol):
    """Where exported runs lie: a catalog."""

    def has(self, digest: str) -> bool: ...

    def get(self, digest: str) -> bytes: ...


class Member(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: int
    digest: str


class _Form(msgspec.Struct, frozen=True):
    """What every manifest says, of whatever version: read first."""

    format: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """removed: what an anonymous bundle does not hold, in words; empty: nothing was taken out."""

    format: int
    trivet: str
    runs: tuple[str, ...]
    members: tuple[Member, ...]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every member was read and is what the manifest says. `digest`: of the manifest, so of all."""

    path: Path
    manifest: Manifest
    digest: str
    runs: tuple[Run, ...]

    def has(self, digest: str) -> bool:
        return any(member.name == _object_name(digest) for member in self.manifest.members)

    def get(self, digest: str) -> bytes:
        """Raises: BundleError: it is not in the bundle, or the file has changed since it was read."""
        if not self.has(digest):
            raise BundleError(f"{self.path} does not hold {digest[:19]}{self._reason()}")
        with Archive(self.path) as archive:
            data = archive.read(_object_name(digest))
        _check(self.path, _object_name(digest), digest, data)
        return data

    def rows(self, digest: str) -> RowColumns:
        """Raises: BundleError: not in the bundle, or no rows."""
        return _rows_of(self.get(digest))

    def _reason(self) -> str:
        return f": taken out were {'; '.join(self.manifest.removed)}" if self.manifest.removed else ""


def export(
    store: Artifacts, runs: Sequence[Run], path: Path, *, anonymise: bool = False, keep_data: bool = False
) -> Bundle:
    """Write the runs and all that they name into one file.

    Args: runs: one, or those of one comparison.  anonymise: see anonymise.py; keep_data: but the data stays.
    Raises: BundleError: something that was recorded is not there any more, or the file cannot be written.
    """
    removed: tuple[str, ...] = ()
    if anonymise:
        removed = REMOVED if keep_data else (*REMOVED, REMOVED_DATA)
    write_archive(path, _members(store, runs, removed, anonymise, keep_data))
    return read(path)


def read(path: Path) -> Bundle:
    """Raises: BundleError: truncated, changed, of a newer version, or not a bundle: names the member."""
    with Archive(path) as archive:
        raw = _manifest_bytes(archive)
        manifest = _manifest(path, raw)
        _check_names(path, archive, manifest)
        runs = []
        for member in manifest.members:
            data = archive.read(member.name)
            _check(path, member.name, member.digest, data)
            if member.name.startswith("runs/"):
                runs.append(_run(path, member.name, data))
    by_id = {run.id: run for run in runs}
    if missing := [run_id for run_id in manifest.runs if run_id not in by_id]:
        raise BundleError(f"{path}: the manifest names run {missing[0]}, which is not in it")
    return Bundle(path, manifest, digest_of(raw), tuple(by_id[run_id] for run_id in manifest.runs))


def lock_text(run: Run) -> str:
    """The packages of a run's environment, as pip takes them."""
    head = f"# {run.environment.python}, trivet {run.environment.trivet}\n"
    return head + "".join(
        f"{name}=={version}\n" for name, version in sorted(run.environment.packages.items())
    )


def _members(
    store: Artifacts, runs: Sequence[Run], removed: tuple[str, ...], anonymise: bool, keep_data: bool
) -> Iterator[tuple[str, bytes]]:
    """Every member in its order; the manifest last, as it names all others."""
    members: list[Member] = []
    written: set[str] = set()

    def noted(name: str, data: bytes) -> tuple[str, bytes]:
        members.append(Member(name=name, size=len(data), digest=digest_of(data)))
        written.add(name)
        return name, data

    yield noted("README.txt", _README)
    for run in runs:
        check_portable(run.configuration)
        kept, objects = _anonymous(store, run, keep_data) if anonymise else (run, _objects(store, run))
        for data in objects:
            if (name := _object_name(digest_of(data))) not in written:
                yield noted(name, data)
        yield noted(f"runs/{run.id}.json", msgspec.json.encode(kept, order="deterministic"))
        yield noted(f"locks/{run.id}.txt", lock_text(kept).encode())
    manifest = Manifest(
        format=FORMAT,
        trivet=__version__,
        runs=tuple(run.id for run in runs),
        members=tuple(members),
        removed=removed,
    )
    yield MANIFEST, msgspec.json.encode(manifest)


def _objects(store: Artifacts, run: Run) -> Iterator[bytes]:
    """Whatever the record names by digest."""
    for _, digest in sorted(run.artifacts.items()):
        yield store.get(digest)
    root = Path(run.configuration.get("source", "")).parent
    for file in run.configuration.get("files", ()):
        yield file_bytes(file, store, root)


def _anonymous(store: Artifacts, run: Run, keep_data: bool) -> tuple[Run, list[bytes]]:
    """The record without names, and what it still names."""
    artifacts, objects = {}, []
    for name, digest in sorted(run.artifacts.items()):
        data = store.get(digest)
        is_data = name in DATA_ARTIFACTS or (name == "answers" and b":ends" in data)
        if name in TEXT_ARTIFACTS or (is_data and not keep_data):
            continue
        if name == "rows":
            data = _parquet(anonymous_rows(_rows_of(data)))
        artifacts[name] = digest_of(data)
        objects.append(data)
    root = Path(run.configuration.get("source", "")).parent
    objects += [file_bytes(file, store, root) for file in run.configuration.get("files", ())]
    return msgspec.structs.replace(anonymous_run(run), artifacts=artifacts), objects


def _object_name(digest: str) -> str:
    return f"objects/{digest.removeprefix('sha256:')}"


def _manifest_bytes(archive: Archive) -> bytes:
    if MANIFEST in archive.names() and archive.size(MANIFEST) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{archive.path}: member {MANIFEST} has {archive.size(MANIFEST):,} bytes; that is no manifest"
        )
    return archive.read(MANIFEST)


def _manifest(path: Path, raw: bytes) -> Manifest:
    try:
        found = msgspec.json.decode(raw, type=_Form).format
        if found > FORMAT:
            raise BundleError(
                f"{path} is of form {found}; this trivet ({__version__}) reads up to {FORMAT}: use a newer one"
            )
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(f"{path}: member {MANIFEST} is not a manifest: {error}") from None


def _check_names(path: Path, archive: Archive, manifest: Manifest) -> None:
    listed = {member.name: member for member in manifest.members}
    there = set(archive.names()) - {MANIFEST}
    for name in sorted(listed.keys() - there):
        raise BundleError(f"{path}: member {name} is missing; get the bundle again")
    for name in sorted(there - listed.keys()):
        raise BundleError(f"{path}: member {name} is not in the manifest: somebody added it")
    for name, member in listed.items():
        if archive.size(name) != member.size:
            raise BundleError(
                f"{path}: member {name} has {archive.size(name):,} bytes instead of {member.size:,}"
            )


def _check(path: Path, name: str, digest: str, data: bytes) -> None:
    found = digest_of(data)
    wanted = f"sha256:{name.removeprefix('objects/')}" if name.startswith("objects/") else digest
    if found != digest or found != wanted:
        raise BundleError(f"{path}: member {name} was changed: its digest is {found[:19]}, not {digest[:19]}")


def _run(path: Path, name: str, data: bytes) -> Run:
    try:
        return msgspec.json.decode(data, type=Run)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BundleError(f"{path}: member {name} is not the record of a run: {error}") from None


def _parquet(rows: RowColumns) -> bytes:
    parquet = _import_parquet()
    buffer = io.BytesIO()
    parquet.write_table(rows.to_arrow(), buffer)
    return buffer.getvalue()


def _rows_of(data: bytes) -> RowColumns:
    parquet = _import_parquet()
    try:
        table = parquet.read_table(io.BytesIO(data))
    except (OSError, ValueError) as error:  # Arrow's own errors are of these kinds
        raise BundleError(f"kept rows cannot be read: {error}") from None
    return RowColumns.from_arrow(table)


def _import_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ExtraMissingError("rows of a bundle", "bench") from None
    return pyarrow.parquet
