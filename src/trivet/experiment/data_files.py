"""Data as one artifact: a file as it is, a folder with a subfolder for each label as an archive of those files.

The archive holds names and bytes only, in the order in which the data is read: the same files give the same bytes.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from trivet.errors import UserError

FOLDER = "folder"  # the dataset's form, where it is not a file


def size_of(path: Path) -> int:
    """Bytes of the file, or of all files of the folder. Raises: OSError."""
    return sum(file.stat().st_size for file in _files(path)) if path.is_dir() else path.stat().st_size


def content_of(path: Path) -> bytes:
    """What is kept of the data. Raises: OSError: it cannot be read."""
    if not path.is_dir():
        return path.read_bytes()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in _files(path):
            content = file.read_bytes()
            member = tarfile.TarInfo(file.relative_to(path).as_posix())  # no dates, no owners
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def describe(path: Path) -> dict[str, str]:
    """What a record says of the data: the digest of what is kept, and its form where it is no file. Raises: OSError."""
    if path.is_dir():
        return {"form": FOLDER, "digest": hashlib.sha256(content_of(path)).hexdigest()}
    with path.open("rb") as file:
        return {"digest": hashlib.file_digest(file, "sha256").hexdigest()}


def put_back(path: Path, content: bytes, form: str) -> None:
    """Write data where it is to lie. Args: form: of the dataset, as it was recorded.

    Raises: UserError: it was recorded as a folder, and is no archive of one, or leads out of the folder.
    """
    if form != FOLDER:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return
    path.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(path, filter="data")
    except tarfile.TarError as error:
        raise UserError(f"the kept data is no archive of a folder: {error}") from None


def _files(folder: Path) -> Iterator[Path]:
    """The files that are read as data: one level of subfolders, by name."""
    for label in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        yield from sorted(entry for entry in label.iterdir() if entry.is_file())
