"""The page of coverage: what was asked, the goals with their verdicts, and all methods beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scipy import special

from benchmarks._coverage_cells import Record
from benchmarks._queues import JUDGED, UNSEEN
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
    num_runs = min([record["runs"] for record in report["cells"]])
    yield (
        f"Made by `python -m benchmarks coverage -- --write docs/benchmarks/statistics.md` ({report['machine']}; virtual "
        f"time, so the machine does not matter). {num_runs} runs a cell, all from fixed seeds. "
        f"An interval of 50,000 requests takes {report['cost_ms']['50000']:.0f} ms of one core, of a million "
        f"{report['cost_ms']['1000000']:.0f} ms."
    )
    yield ""
    yield from EXPLANATION
    yield ""
    yield from queue_lines()
    yield from goal_lines(report)
    yield from coverage_lines(report, "judged", "### Coverage of all methods")
    yield from coverage_lines(report, "unseen", "### Queues that the method was not set on")
    yield from SLOW_NOTE
    yield ""
    yield from coverage_lines(report, "sizes", "### Shorter and longer runs (M/M/1)")
    yield from coverage_lines(report, "percentiles", "### Other percentiles (M/M/1)")


EXPLANATION = """\
**The question.** One run of n requests, in the order of their intended sends, from a queue that runs on for ever. Does
the interval for its p99 hold the p99 of that queue? Latencies of a queue depend on each other: 50,000 requests to M/M/1
at load 0.8 are worth about 600 independent ones, of which 6 lie above p99; at load 0.9 it is one or two.

**Truth and oracle.** Truth is theory's for M/M/1, else the mean percentile of 600 other runs of the same length. The oracle
is the interval from the 2.5 % to the 97.5 % point of the estimates of those runs: what somebody would state who knows the
sampling distribution. Widths are medians, divided by the oracle's. A refusal is an error that says how many more requests
are needed, instead of an interval; coverage counts the runs that were not refused, and stands beside it with refusals
counted as covered and as not.

**The method.** In short: "slower than u" along a run is a sequence of zeros and ones, and its long-run variance tells how
many independent requests the run is worth at the level u. Near p99 there are too few clusters to see that, but the levels
below are crossed often enough, and for queues under load the two are tied by a law of reflected Brownian motion. The
interval is that of order statistics for so many independent requests, with Student's t for what is not known of their
number. `src/trivet/stats/_dependence.py` and `quantile_interval.py` tell the rest. Its numbers were set on the judged
queues, with seeds that are not used here; the queues of the second table, other lengths and other percentiles had no say.

**The others.** Independent: order statistics at the binomial's ranks, as load testers and MLPerf's early stopping count.
20 sections: quantiles of 20 sections about the whole run's, Student's t. Block bootstrap: moving blocks of a fiftieth of
the run, 200 resamples. Each cell of theirs shows the coverage in per cent and, in brackets, the width.

**Bias.** The author of this page is the author of the method, and chose the queues. Bursts and hiccups can be made as slow
and rare as one likes, until no run of 50,000 requests tells their p99: the second table has two of that sort.
""".splitlines()

SLOW_NOTE = """\
The slow ones (on-off arrivals, bursts ten times as long) ask for what a run of this length hardly holds: a handful of
bursts decides p99. There most runs are refused. The few that are not happened to see a calm stretch, so their intervals
are narrow, and cover less where nearly all are refused (8 and 36 runs of 400 at load 0.9). Nothing in such a run tells
that a worse hour will come; measure for longer than the slowest thing that you know of.
""".splitlines()


def queue_lines() -> Iterator[str]:
    yield "| queue | what it is |"
    yield "|---|---|"
    for queue in (*JUDGED, *UNSEEN):
        yield f"| {queue.name} | {queue.told} |"
    yield ""


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
            proportion(refused["methods"]["ours"]["refused"], refused["runs"]),
            at_most=MAX_REFUSED,
        )


def _covered(records: Sequence[Record], method: str = "ours") -> Interval | None:
    covered = sum([record["methods"][method]["covered"] for record in records])
    given = sum([record["runs"] - record["methods"][method]["refused"] for record in records])
    return proportion(covered, given) if given else None


def _exact(value: float) -> Interval:
    return Interval(value, value, value)


def proportion(count: int, num: int) -> Interval:
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
