"""The page of coverage: what was asked, the goals with their verdicts, and all methods beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scipy import special

from benchmarks._coverage_cells import Record
from benchmarks._queues import JUDGED
from benchmarks._tables import Goal
from trivet.stats.interval import Interval

METHODS = ("ours", "independent", "20 sections", "block bootstrap")
HIGH_LOAD = 0.9
GOAL, GOAL_HIGH_LOAD, MAX_WIDTH, MAX_REFUSED = 0.93, 0.90, 2.0, 0.05


def page_lines(report: Record) -> Iterator[str]:
    yield "# Statistics: do the intervals hold?"
    yield ""
    yield "## Intervals of a percentile"
    yield ""
    yield (
        f"Made by `python -m benchmarks coverage -- --write docs/benchmarks/statistics.md` ({report['machine']}; virtual "
        "time, so the machine does not matter). Everything comes from fixed seeds. "
        f"An interval of 50,000 requests takes {report['cost_ms']['50000']:.0f} ms of one core, of a million "
        f"{report['cost_ms']['1000000']:.0f} ms."
    )
    yield ""
    yield from EXPLANATION
    yield from goal_lines(report)
    yield from coverage_lines(report, "judged", "### Coverage, all methods")
    yield from coverage_lines(report, "unseen", "### Queues that the method was not set on")
    yield from UNSEEN_NOTE
    yield from coverage_lines(report, "sizes", "### Shorter and longer runs (M/M/1)")
    yield from coverage_lines(report, "percentiles", "### Other percentiles (M/M/1)")


EXPLANATION = """\
EXPL
""".splitlines()

UNSEEN_NOTE = """\
NOTE
""".splitlines()


def _goals(report: Record) -> Iterator[Goal]:
    for queue in [queue.name for queue in JUDGED]:
        of_queue = [
            record for record in report["cells"] if record["group"] == "judged" and record["queue"] == queue
        ]
        lower = [record for record in of_queue if record["load"] < HIGH_LOAD]
        higher = [record for record in of_queue if record["load"] == HIGH_LOAD]
        if not lower or not higher:
            continue
        yield Goal(f"{queue}: covered, load up to 0.8", _covered(lower), at_least=GOAL)
        yield Goal(f"{queue}: covered, load 0.9", _covered(higher), at_least=GOAL_HIGH_LOAD)
        widest = max([record["methods"]["ours"]["width"] or 0.0 for record in lower])
        yield Goal(
            f"{queue}: median width over the oracle's, load up to 0.8, the widest",
            _exact(widest),
            at_most=MAX_WIDTH,
        )
        high = higher[0]["methods"]["ours"]["width"]
        yield Goal(
            f"{queue}: median width over the oracle's, load 0.9",
            None if high is None else _exact(high),
            at_most=MAX_WIDTH,
            reason="all refused",
        )
        refused = max(lower, key=lambda record: float(record["methods"]["ours"]["refused"]))
        yield Goal(
            f"{queue}: refused, load up to 0.8, the most of any load",
            _proportion(refused["methods"]["ours"]["refused"], refused["runs"]),
            at_most=MAX_REFUSED,
        )


def _covered(records: Sequence[Record], method: str = "ours") -> Interval | None:
    covered = sum([record["methods"][method]["covered"] for record in records])
    given = sum([record["runs"] - record["methods"][method]["refused"] for record in records])
    return _proportion(covered, given) if given else None


def _exact(value: float) -> Interval:
    return Interval(value, value, value)


def _proportion(count: int, num: int) -> Interval:
    """Clopper and Pearson, 95 %."""
    low = float(special.betaincinv(count, num - count + 1, 0.025)) if count else 0.0
    high = float(special.betaincinv(count + 1, num - count, 0.975)) if count < num else 1.0
    return Interval(count / num, low, high)


def goal_lines(report: Record) -> Iterator[str]:
    yield "### Goals"
    yield ""
    yield "| what | goal | found | verdict |"
    yield "|---|---|---|---|"
    for goal in _goals(report):
        yield f"| {goal.what} | {goal.bound()} | {goal.shown()} | {goal.verdict()} |"
    yield ""


def coverage_lines(report: Record, group: str, title: str) -> Iterator[str]:
    records = [record for record in report["cells"] if record["group"] == group]
    if not records:
        return
    yield title
    yield ""
    yield (
        "| queue | load | requests | percentile | covered [95 % interval] | refused | with refusals as covered, as not "
        "| width | independent | 20 sections | block bootstrap |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for record in records:
        ours, runs = record["methods"]["ours"], record["runs"]
        covered = _covered([record])
        shown = (
            "all refused"
            if covered is None
            else f"{100 * covered.estimate:.1f} [{100 * covered.low:.1f}, {100 * covered.high:.1f}]"
        )
        both = f"{100 * (ours['covered'] + ours['refused']) / runs:.1f}, {100 * ours['covered'] / runs:.1f}"
        width = "–" if ours["width"] is None else f"{ours['width']:.2f}"
        rivals = " | ".join([_rival(record, name) for name in METHODS[1:]])
        yield (
            f"| {record['queue']} | {record['load']:g} | {record['num']:,} | p{100 * record['p']:g} | {shown} "
            f"| {100 * ours['refused'] / runs:.1f} % | {both} | {width} | {rivals} |"
        )
    yield ""


def _rival(record: Record, name: str) -> str:
    one = record["methods"][name]
    given = record["runs"] - one["refused"]
    return "refused" if not given else f"{100 * one['covered'] / given:.0f} ({one['width']:.2f})"
