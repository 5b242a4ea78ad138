"""Real labelled files of this machine: those whose extension can mean only one thing, in parts that share no package.

Python's own library, installed packages and /usr/share: every machine has some thousands. Files that are nearly the same are
taken once, and all files of a package lie in one part, so that judging never meets what fitting has seen.
"""

import hashlib
import os
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.near_duplicates import first_of_each

# Extensions that can mean only one thing, and the label that the model gives it.
LABEL_OF_EXTENSION = {
    ".py": "python", ".json": "json", ".html": "html", ".css": "css", ".js": "javascript", ".png": "png",
    ".svg": "svg", ".gz": "gzip", ".xml": "xml", ".sh": "shell", ".so": "elf", ".ttf": "ttf", ".zip": "zip",
    ".yml": "yaml", ".yaml": "yaml", ".md": "markdown", ".toml": "toml", ".c": "c", ".pyc": "pythonbytecode",
    ".pm": "perl", ".tcl": "tcl", ".cmake": "cmake", ".gif": "gif", ".jpg": "jpeg", ".pdf": "pdf",
    ".rst": "rst", ".jar": "jar", ".sql": "sql", ".csv": "csv", ".lua": "lua",
}  # fmt: skip
MAX_OF_EXTENSION = 200
MAX_OF_PACKAGE = 40  # files of one extension: no package decides what a label looks like
PARTS = {"fit": 0.5, "validation": 0.2, "test": 0.3}
_SPARE = 1.6  # so many more are looked at as are wanted: some are near-duplicates
_SMALLEST = 64  # bytes: below it the model's authors do not use it


@dataclass(frozen=True, slots=True)
class File:
    """`package`: the distribution, module or system package that it belongs to."""

    path: Path
    extension: str
    package: str

    @property
    def label(self) -> str:
        return LABEL_OF_EXTENSION[self.extension]


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """features: shape (n, k).  parts: of each file a name of PARTS.  num_similar: left out as near-duplicates.
    similar: features of those of them that lie in no package to fit.

    digest: SHA-256 of names, parts and features, in order.
    """

    files: Sequence[File]
    features: NDArray[np.int32]
    parts: Sequence[str]
    num_similar: int
    digest: str
    similar: NDArray[np.int32]

    def scanned(self) -> NDArray[np.int32]:
        """Features of all files of packages that nothing is fitted to, near-duplicates too, in a fixed order."""
        rows = np.concatenate([self.features[[part != "fit" for part in self.parts]], self.similar])
        return rows[np.random.default_rng(0).permutation(len(rows))]

    def in_words(self) -> str:
        parts = Counter(self.parts)
        packages = len({file.package for file in self.files})
        return (
            f"{len(self.files):,} files of {len({file.extension for file in self.files})} extensions from {packages:,} "
            f"packages ({', '.join(f'{parts[name]:,} to {word}' for name, word in _WORDS.items())}); "
            f"{self.num_similar:,} near-duplicates left out; digest {self.digest[:12]}"
        )


_WORDS = {"fit": "fit", "validation": "choose", "test": "judge by"}


def labelled_files(
    roots: Sequence[Path],
    features: Callable[[Path], NDArray[np.int32]],
    max_of_extension: int = MAX_OF_EXTENSION,
) -> LabelledFiles:
    """The same files in the same order for the same machine. Args: features: of one file; OSError leaves it out."""
    candidates, rows = [], []
    for file in _spread(_all_files(roots), round(max_of_extension * _SPARE)):
        try:
            if file.path.stat().st_size < _SMALLEST:
                continue
            rows.append(features(file.path))
        except OSError:
            continue  # somebody else's, or gone
        candidates.append(file)
    chosen: list[int] = []
    counts: Counter[str] = Counter()
    unlike = first_of_each(rows)
    for place in unlike:
        extension = candidates[place].extension
        if counts[extension] < max_of_extension:
            counts[extension] += 1
            chosen.append(place)
    files = [candidates[place] for place in chosen]
    parts = parts_of([file.package for file in files])
    matrix = np.stack([rows[place] for place in chosen]) if chosen else np.zeros((0, 0), np.int32)
    fitted = {file.package for file, part in zip(files, parts, strict=True) if part == "fit"}
    left_out = sorted({*range(len(rows))} - {*unlike})
    similar = [rows[place] for place in left_out if candidates[place].package not in fitted]
    return LabelledFiles(
        files,
        matrix,
        parts,
        num_similar=len(left_out),
        digest=_digest(files, parts, matrix),
        similar=np.stack(similar) if similar else matrix[:0],
    )


def roots_of_this_machine() -> list[Path]:
    return [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib")), Path("/usr/share")]


def parts_of(packages: Sequence[str]) -> list[str]:
    """The part of each row: all rows of a package in one, and each part about as large as PARTS says."""
    sizes = Counter(packages)
    part_of: dict[str, str] = {}
    filled = dict.fromkeys(PARTS, 0)
    for package in sorted(sizes, key=lambda name: (-sizes[name], _hash(name))):
        # Large packages first, each to where most is missing: the shares come out right with few packages, too.
        part = max(PARTS, key=lambda name: PARTS[name] - filled[name] / len(packages))
        part_of[package] = part
        filled[part] += sizes[package]
    return [part_of[package] for package in packages]


def _all_files(roots: Sequence[Path]) -> Iterator[File]:
    """Every file with a known extension, once: folders of a root that are roots themselves are theirs."""
    for root in roots:
        others = {other for other in roots if other != root}
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if Path(folder, name) not in others)
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix in LABEL_OF_EXTENSION and path.is_file() and not path.is_symlink():
                    yield File(path, path.suffix, _package(path.relative_to(root), root))


def _package(path: Path, root: Path) -> str:
    """By the first folder; in folders that hold one folder for each package (doc, locale ...) by the second."""
    parts = path.parts
    if len(parts) > 2 and parts[0] in _OF_PACKAGES:
        return f"{root.name}/{parts[0]}/{parts[1]}"
    first = parts[0].split("-")[0].removesuffix(path.suffix)
    return f"{root.name}/{first}"


_OF_PACKAGES = frozenset({"doc", "icons", "locale", "fonts", "help", "javascript", "man", "perl", "test"})


def _spread(files: Iterator[File], most: int) -> list[File]:
    """Of each extension at most so many: from every package one, then from each a second, up to MAX_OF_PACKAGE."""
    by_extension: dict[str, dict[str, list[File]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        by_extension[file.extension][file.package].append(file)
    found: list[File] = []
    for extension in sorted(by_extension):
        packages = by_extension[extension]
        for of_package in packages.values():
            of_package.sort(key=lambda file: _hash(str(file.path)))
        ranked = [
            (rank, _hash(package), file)
            for package, of_package in packages.items()
            for rank, file in enumerate(of_package[:MAX_OF_PACKAGE])
        ]
        ranked.sort(key=lambda entry: entry[:2])
        found += [file for _, _, file in ranked[:most]]
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _digest(files: Sequence[File], parts: Sequence[str], features: NDArray[np.int32]) -> str:
    digest = hashlib.sha256()
    for file, part in zip(files, parts, strict=True):
        digest.update(f"{file.path}\0{part}\n".encode(errors="surrogateescape"))
    digest.update(features.tobytes())
    return digest.hexdigest()
