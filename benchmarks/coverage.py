"""Do the intervals of a percentile hold? On queues whose truth is known, beside what others use."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks._coverage_cells import Record, cells, cost_ms, measured
from benchmarks._coverage_page import page_lines
from benchmarks._kept import ROOT, Task, cell_options, kept_cells, machine, write_page

QUESTION = "Do nominal 95 % intervals of p99 cover the truth 95 % of the time, on queues of known truth?"


def main(args: Sequence[str]) -> int:
    parser = cell_options(QUESTION, 400)
    parser.add_argument(
        "--truth-runs", type=int, default=600, help="of each cell, for truth and oracle [600]"
    )
    options = parser.parse_args(args)
    chosen = [cell for cell in cells() if options.only in cell.key]
    records = kept_cells(
        "coverage",
        record_of,
        [(cell.key, options.runs, options.truth_runs) for cell in chosen],
        sources=[
            ROOT / "src/trivet/stats",
            *(
                ROOT / f"benchmarks/{name}.py"
                for name in ("_coverage_cells", "_percentile_rivals", "_queues")
            ),
        ],
        processes=options.processes,
        describe=_described,
        cost=_requests,
    )
    report = {"machine": machine(), "cells": records, "cost_ms": cost_ms()}
    write_page(iter(page_lines(report)), options.write)
    return 0


def record_of(key: str, num_runs: int, num_truth: int) -> Record:
    return measured(_CELLS[key], num_runs, num_truth)


_CELLS = {cell.key: cell for cell in cells()}


def _requests(task: Task) -> float:
    return float(_CELLS[task[0]].num)


def _described(record: Record) -> str:
    ours = record["methods"]["ours"]
    given = record["runs"] - ours["refused"]
    return (
        f"{record['key']}: covered {ours['covered']} of {given} (low {ours['above']}, high {ours['below']}), "
        f"width {ours['width']}"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
