"""docs/benchmarks/server.md from the newest records on disk. Measures nothing."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks._plan import STEPS, Step
from benchmarks._records import OUT, newest_comparison
from benchmarks._tables import Report, goal_table, markdown_table

QUESTION = "What do the newest records say? (Writes docs/benchmarks/server.md and measures nothing.)"
SHORT = False
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "server.md"
MIN_BLOCKS = 4  # a quick look with fewer does not take the place of a measurement
_HEAD = """# The server's numbers

Made by `python -m benchmarks page` from the newest records under `out/benchmarks`, which `make bench` (trivet alone) and
`make bench-peers PEERS=dir` write. One server core, the client on another, the same model files and the same client
for everyone, blocks interleaved; a ratio is taken block by block and has its 95 % interval. A goal is met or missed
where the whole interval says so; else it cannot be told. We wrote trivet: the bias is ours. How to read this, and what
was learned: [server-notes.md](server-notes.md). The scheduler in virtual time: [scheduler.md](scheduler.md)."""


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks page --", description=QUESTION)
    parser.add_argument("--output", type=Path, default=PAGE, help=f"[{PAGE.relative_to(PAGE.parents[2])}]")
    parser.add_argument(
        "--min-blocks", type=int, default=MIN_BLOCKS, help=f"of a record that is shown [{MIN_BLOCKS}]"
    )
    options = parser.parse_args(args)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page(OUT, options.min_blocks))
    print(f"wrote {options.output}")
    return 0


def page(out: Path, min_blocks: int) -> str:
    reports: list[tuple[Step, Report | None]] = []
    for step in STEPS:
        comparison = newest_comparison(step.record, out, min_blocks)
        reports.append((step, None if comparison is None else step.report(comparison)))
    sections = [_section(step, report) for step, report in reports if report is not None]
    return "\n\n".join([_HEAD, "## All goals", _all_goals(reports), *sections]) + "\n"


def _all_goals(reports: Sequence[tuple[Step, Report | None]]) -> str:
    rows = []
    for step, report in reports:
        if report is None:
            rows.append([f"{step.title}: all of it", "", "–", "not measured yet"])
            continue
        rows += [
            [f"{step.title}: {goal.what}", goal.bound(), goal.shown(), f"**{goal.verdict()}**"]
            for goal in report.goals
        ]
    return markdown_table(["goal", "bound", "figure [95 %]", "verdict"], rows)


def _section(step: Step, report: Report) -> str:
    parts = [f"## {step.title}", report.comparison.preface(), *report.tables]
    if report.goals:
        parts.append(goal_table(report.goals))
    return "\n\n".join(parts)
