"""The page of the control variate: what was asked, goals with verdicts, and every cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks._controlled_cells import HIGH_LOAD, NUM_FRESH, NUM_SIMULATED, TIMES, Record
from benchmarks._coverage_page import proportion
from benchmarks._tables import Goal
from trivet.stats.interval import Interval

GOAL = 0.93
GOAL_HIGH_LOAD = 0.90


def page_lines(report: Record) -> Iterator[str]:
    yield "# A simulator as control variate: fewer requests for the same interval"
    yield ""
    num_runs = min([record["runs"] for record in report["cells"]], default=0)
    yield (
        "Made by `python -m benchmarks control_variate -- --write docs/benchmarks/control-variate.md` "
        f"({report['machine']}; virtual time, so the machine does not matter). {num_runs} runs a cell, all from fixed "
        "seeds."
    )
    yield ""
    yield from EXPLANATION
    yield ""
    yield from goal_lines(report)
    yield from cell_lines(report, "judged", "## Service times that vary by up to 20 %")
    yield from cell_lines(report, "hiccups", "## Hiccups that the simulator does not know")
    yield from HICCUPS


EXPLANATION = f"""\
**The question.** One run of 10,000 requests (at load 0.9: 20,000) from a live queue, and a simulator that is wrong on
purpose: other noise, four fifths as wide, and service times 5 % too short, right, or 5 % too long. Does the interval for
p99 with that simulator as control variate hold the live queue's p99, and how wide is it beside the plain interval of
{TIMES} times as many requests of the same run?

**How.** {NUM_SIMULATED} simulations of the run's own arrivals, and {NUM_FRESH} runs of fresh arrivals to know what the
simulator expects; each run of a cell has its own, so their error is in the coverage. Truth is the p99 of 5 million
requests. Widths are medians over truth. `src/trivet/stats/control_variate.py` tells the method.

**Saved**: the square of the ratio of both widths, times {TIMES}: so many times as many requests the plain interval would
need, were widths to go with the root of the number. **Used**: runs in which the simulator helped enough; in the others the
interval is the plain one of as many requests.

**Bias.** The author of this page is the author of the method, and chose the queues. Its numbers were set on the judged
queues, with seeds that are not used here. A live machine varies for reasons that no simulator sees; there it saves less, and
says so.
""".splitlines()

HICCUPS = """\
Two requests in a thousand take 30 times as long, on the live side alone. What decides p99 then is when hiccups come, which
arrivals do not tell: the method falls back to the plain interval, or refuses where that does.
""".splitlines()


def goal_lines(report: Record) -> Iterator[str]:
    yield "## Goals"
    yield ""
    yield "| what | goal | found | verdict |"
    yield "|---|---|---|---|"
    for goal in goals(report):
        yield f"| {goal.what} | {goal.bound()} | {goal.shown()} | {goal.verdict()} |"
    yield ""


def goals(report: Record) -> Iterator[Goal]:
    judged = [record for record in report["cells"] if record["group"] == "judged"]
    for queue in dict.fromkeys(record["queue"] for record in judged):
        of_queue = [record for record in judged if record["queue"] == queue]
        lower = [record for record in of_queue if record["load"] < HIGH_LOAD]
        higher = [record for record in of_queue if record["load"] == HIGH_LOAD]
        if lower and higher:
            yield Goal(f"{queue}: covered, load up to 0.7", _covered(lower), at_least=GOAL)
            yield Goal(f"{queue}: covered, load 0.9", _covered(higher), at_least=GOAL_HIGH_LOAD)
            savings = [saved for record in of_queue if (saved := saved_of(record)) is not None]
            yield Goal(
                f"{queue}: requests saved, median of its cells", _median(savings), at_least=float(TIMES)
            )


def saved_of(record: Record) -> float | None:
    """How many times as many requests the plain interval would need for the controlled one's width."""
    narrow, wide = record["controlled"]["width"], record["plain"]["width"]
    return TIMES * (wide / narrow) ** 2 if narrow and wide else None


def _median(values: Sequence[float]) -> Interval | None:
    if not values:
        return None
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return Interval(middle, middle, middle)


def _covered(records: Sequence[Record]) -> Interval | None:
    given = sum([record["runs"] - record["controlled"]["refused"] for record in records])
    return proportion(sum([record["controlled"]["covered"] for record in records]), given) if given else None


def cell_lines(report: Record, group: str, title: str) -> Iterator[str]:
    records = [record for record in report["cells"] if record["group"] == group]
    if not records:
        return
    yield title
    yield ""
    yield (
        f"| queue | simulator off by | load | requests | covered [95 % interval] | refused | used | width | "
        f"plain, {TIMES} times the requests: covered | refused | width | saved |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for record in records:
        saved = saved_of(record)
        yield (
            f"| {record['queue']} | {record['bias']:+.0%} | {record['load']:g} | {record['num']:,} | "
            f"{_shown(record, 'controlled')} | "
            f"{100 * record['used'] / record['runs']:.0f} % | {_width(record, 'controlled')} | "
            f"{_shown(record, 'plain')} | {_width(record, 'plain')} | {'–' if saved is None else f'{saved:.1f}'} |"
        )
    yield ""


def _shown(record: Record, name: str) -> str:
    one, runs = record[name], record["runs"]
    given = runs - one["refused"]
    if not given:
        return "all refused | 100 %"
    found = proportion(one["covered"], given)
    covered = f"{100 * found.estimate:.1f}"
    if name == "controlled":
        covered += f" [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return f"{covered} | {100 * one['refused'] / runs:.1f} %"


def _width(record: Record, name: str) -> str:
    width = record[name]["width"]
    return "–" if width is None else f"{100 * width:.1f} %"
