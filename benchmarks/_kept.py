"""Records of long computations on disk as soon as each is made: one that was stopped goes on where it was."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._records import OUT

ROOT = Path(__file__).parent.parent
Record = dict[str, Any]
Task = tuple[Any, ...]


class KeptRecords:
    """One file of records, each beside the task that it answers.

    Args: path: names what the records depend on besides their tasks, the code above all.  cost: of a task, roughly.
    describe: a record in some words, for the progress on stderr.
    """

    def __init__(
        self, path: Path, processes: int, cost: Callable[[Task], float], describe: Callable[[Record], str]
    ) -> None:
        self._path, self._processes, self._cost, self._describe = path, processes, cost, describe
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]  # the last one may have been cut off
        path.write_text("".join(whole))
        self._known: dict[str, Record] = dict(json.loads(line) for line in whole)

    def all_of(self, make: Callable[..., Record], tasks: Sequence[Task]) -> list[Record]:
        """The records in the order of `tasks`; only what is not known yet is made."""
        missing = [task for task in tasks if repr(task) not in self._known]
        missing.sort(key=self._cost, reverse=True)  # no process is left with the slowest at the end
        begun_s = time.monotonic()
        with self._path.open("a") as file, Pool(self._processes) as pool:
            for number, (task, record) in enumerate(pool.imap_unordered(_Made(make), missing), start=1):
                self._known[repr(task)] = record
                file.write(json.dumps([repr(task), record]) + "\n")
                file.flush()
                left_s = (time.monotonic() - begun_s) / number * (len(missing) - number)
                sys.stderr.write(
                    f"{time.strftime('%H:%M:%S')} {number}/{len(missing)}, at most {left_s / 60:.0f} min more: "
                    f"{self._describe(record)}\n"
                )
        return [self._known[repr(task)] for task in tasks]


class _Made:
    """A function that gives its arguments back beside its result; it crosses a process."""

    def __init__(self, make: Callable[..., Record]) -> None:
        self._make = make

    def __call__(self, task: Task) -> tuple[Task, Record]:
        return task, self._make(*task)


def files_digest(files: Sequence[Path]) -> str:
    """Of all that decides what a record says: records of other code are not taken for this one's."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def machine() -> str:
    return f"{platform.machine()}, CPython {platform.python_version()}, numpy {np.__version__}"


def cell_options(question: str, num_runs: int) -> argparse.ArgumentParser:
    """The options of a benchmark of many cells, each of so many runs."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--runs", type=int, default=num_runs, help=f"of each cell [{num_runs}]")
    parser.add_argument("--only", default="", help="cells whose key holds this text")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--write", type=Path, help="write the page")
    return parser


def kept_cells(
    name: str,
    make: Callable[..., Record],
    tasks: Sequence[Task],
    *,
    sources: Sequence[Path],
    processes: int,
    describe: Callable[[Record], str],
    cost: Callable[[Task], float],
) -> list[Record]:
    """The records of `tasks`, from the file that keeps them for this code.

    Args: name: of the benchmark.  make: called in processes of its own.  tasks: their repr names them, so no functions.
    sources: the files and folders of Python files that decide what a record says.
    """
    files = [file for one in sources for file in (sorted(one.glob("*.py")) if one.is_dir() else [one])]
    kept = KeptRecords(OUT / name / f"{files_digest(files)}.jsonl", processes, cost, describe)
    return kept.all_of(make, tasks)


def write_page(lines: Iterator[str], path: Path | None) -> None:
    page = "\n".join(lines) + "\n"
    if path is not None:
        path.write_text(page)
    print(page)
