"""Does a simulator on the same arrivals make the interval of p99 narrower, and does the interval still hold?"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks._controlled_cells import NUM_TRUTH, RUN_SEED, Record, cells, measured
from benchmarks._controlled_page import page_lines
from benchmarks._kept import ROOT, Task, cell_options, kept_cells, machine, write_page

QUESTION = (
    "How many requests does a simulator save as control variate, and does the interval of p99 still hold?"
)


def main(args: Sequence[str]) -> int:
    parser = cell_options(QUESTION, 200)
    parser.add_argument("--seed", type=int, default=RUN_SEED, help=f"other runs than the page's [{RUN_SEED}]")
    options = parser.parse_args(args)
    tasks = [
        (cell.key, options.runs, NUM_TRUTH, options.seed) for cell in cells() if options.only in cell.key
    ]
    records = kept_cells(
        "control_variate",
        record_of,
        tasks,
        sources=[ROOT / "src/trivet/stats", *sorted(ROOT.glob("benchmarks/_controlled_[cq]*.py"))],
        processes=options.processes,
        describe=_described,
        cost=_load,
    )
    write_page(iter(page_lines({"machine": machine(), "cells": records})), options.write)
    return 0


def record_of(key: str, num_runs: int, num_truth: int, seed: int) -> Record:
    return measured(_CELLS[key], num_runs, num_truth, seed)


_CELLS = {cell.key: cell for cell in cells()}


def _load(task: Task) -> float:
    """Near saturation runs are twice as long."""
    return _CELLS[task[0]].load


def _described(record: Record) -> str:
    shown = []
    for name in ("controlled", "plain"):
        one = record[name]
        given = record["runs"] - one["refused"]
        shown.append(
            f"{name} {one['covered']}/{given} (low {one['above']}, high {one['below']}) width {one['width'] or 0:.3f}"
        )
    return f"{record['key']}: {'; '.join(shown)}; used {record['used']}, saving {record['saving'] or 0:.2f}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
