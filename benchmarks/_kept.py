"""Records of long computations on disk as soon as each is made: one that was stopped goes on where it was."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

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
