"""Google's magika file-type model and real files of this machine to ask it about."""

import importlib.metadata
import os
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

# Extensions that can mean only one thing, and the label that the model gives it.
LABEL_OF_EXTENSION = {
    ".py": "python", ".json": "json", ".html": "html", ".css": "css", ".js": "javascript", ".png": "png",
    ".svg": "svg", ".gz": "gzip", ".xml": "xml", ".sh": "shell", ".so": "elf", ".ttf": "ttf", ".zip": "zip",
    ".yml": "yaml", ".yaml": "yaml", ".md": "markdown", ".toml": "toml", ".c": "c", ".pyc": "pythonbytecode",
}  # fmt: skip
_SMALLEST = 64  # bytes: below it the model's authors do not use it


class _Config(msgspec.Struct):
    beg_size: int
    end_size: int
    padding_token: int
    block_size: int
    target_labels_space: list[str]


class FileTypes:
    """The model of the installed `magika` package: where it lies, what it takes, what its answers mean."""

    def __init__(self) -> None:
        files = importlib.metadata.files("magika") or []
        model = next(file for file in files if file.name == "model.onnx")
        self.path = Path(str(model.locate()))
        config = self.path.with_name("config.min.json")
        self._config = msgspec.json.decode(config.read_bytes(), type=_Config)

    def features(self, path: Path) -> NDArray[np.int32]:
        """The first and last bytes of a file without the white space around them, shape (2048,)."""
        config = self._config
        with path.open("rb") as file:
            head = file.read(config.block_size).lstrip()[: config.beg_size]
            file.seek(max(0, path.stat().st_size - config.block_size))
            tail = file.read(config.block_size).rstrip()[-config.end_size :]
        features = np.full(config.beg_size + config.end_size, config.padding_token, np.int32)
        features[: len(head)] = np.frombuffer(head, np.uint8)
        if tail:
            features[-len(tail) :] = np.frombuffer(tail, np.uint8)
        return features

    def label(self, scores: Sequence[float]) -> str:
        return self._config.target_labels_space[int(np.argmax(scores))]


def files_of_this_machine(wanted: int) -> list[Path]:
    """Up to `wanted` files with an unambiguous extension, a few of each: Python's own, installed ones, /usr/share."""
    roots = [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib")), Path("/usr/share")]
    share = max(1, wanted // 10)
    counts: dict[str, int] = {}
    found = []
    for path in _walk(roots):
        kind = path.suffix
        if kind in LABEL_OF_EXTENSION and counts.get(kind, 0) < share and _is_readable(path):
            counts[kind] = counts.get(kind, 0) + 1
            found.append(path)
            if len(found) == wanted:
                break
    return found


def _walk(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return len(file.read(_SMALLEST)) == _SMALLEST
    except OSError:
        return False
