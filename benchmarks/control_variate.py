"""Does a simulator on the same arrivals make the interval of p99 narrower, and does the interval still hold?"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._controlled_cells import Record, cells, measured
from benchmarks._controlled_page import page_lines

QUESTION = (
    "How many requests does a simulator save as control variate, and does the interval of p99 still hold?"
)


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--runs", type=int, default=200, help="of each cell")
    parser.add_argument("--only", default="", help="cells whose key holds this text")
    parser.add_argument("--seed", type=int, help="other runs than those of the page")
    parser.add_argument(
        "--json", type=Path, help="keep the records here; cells that it holds are not run again"
    )
    parser.add_argument("--write", type=Path, help="write the page")
    options = parser.parse_args(args)
    report: Record = {"machine": _machine(), "cells": []}
    if options.json and options.json.exists():
        report = json.loads(options.json.read_text())
    known = {record["key"] for record in report["cells"]}
    for cell in cells():
        if options.only not in cell.key or cell.key in known:
            continue
        begun = time.monotonic()
        extra = {} if options.seed is None else {"seed": options.seed}
        report["cells"].append(measured(cell, options.runs, **extra))
        _progress(report["cells"][-1], time.monotonic() - begun)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))
    page = "\n".join(page_lines(report)) + "\n"
    if options.write:
        options.write.write_text(page)
    print(page)
    return 0


def _machine() -> str:
    return f"{platform.machine()}, CPython {platform.python_version()}, numpy {np.__version__}"


def _progress(record: Record, seconds: float) -> None:
    shown = []
    for name in ("controlled", "plain"):
        one = record[name]
        given = record["runs"] - one["refused"]
        shown.append(
            f"{name} {one['covered']}/{given} (low {one['above']}, high {one['below']}) width {one['width'] or 0:.3f}"
        )
    print(
        f"{time.strftime('%H:%M:%S')} {record['key']}: {'; '.join(shown)}; used {record['used']}, "
        f"saving {record['saving'] or 0:.2f}, {seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
