"""Do the intervals of a percentile hold? On queues whose truth is known, beside what others use."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._coverage_cells import Record, cells, cost_ms, measured
from benchmarks._coverage_page import page_lines

QUESTION = "Do nominal 95 % intervals of p99 cover the truth 95 % of the time, on queues of known truth?"


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--runs", type=int, default=400, help="of each cell")
    parser.add_argument("--truth-runs", type=int, default=600, help="of each cell, for truth and oracle")
    parser.add_argument("--only", default="", help="cells whose key holds this text")
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
        report["cells"].append(measured(cell, options.runs, options.truth_runs))
        _progress(report["cells"][-1], time.monotonic() - begun)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))
    if "cost_ms" not in report:
        report["cost_ms"] = cost_ms()
    page = "\n".join(page_lines(report)) + "\n"
    if options.write:
        options.write.write_text(page)
    print(page)
    return 0


def _machine() -> str:
    return f"{platform.machine()}, CPython {platform.python_version()}, numpy {np.__version__}"


def _progress(record: Record, seconds: float) -> None:
    ours = record["methods"]["ours"]
    given = record["runs"] - ours["refused"]
    print(
        f"{time.strftime('%H:%M:%S')} {record['key']}: covered {ours['covered']} of {given} "
        f"(low {ours['above']}, high {ours['below']}), width {ours['width']}, {seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
