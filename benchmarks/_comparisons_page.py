"""docs/benchmarks/comparisons.md from a record of `benchmarks/comparisons.py`."""

from collections.abc import Iterator
from typing import Any

from trivet.stats.proportion import proportion_interval

Record = dict[str, Any]

_HEAD = """\
# What comparisons promise, and what they find

Made by `python -m benchmarks comparisons -- --write docs/benchmarks/comparisons.md`: {machine}, seed {seed}.
Everything is simulated (the truth has to be known), so the machine does not matter; there is no warm-up, and nothing
is timed. We wrote what is judged and chose the noises: the bias is ours. Shares have their exact 95 % interval in
brackets.

**Queues.** One server, Poisson arrivals, lognormal service times; blocks of 1,000 requests that start idle. Both
sides of a pair get the same arrivals, but service times drawn apart (real pairs also share their inputs, which makes
them more alike). The machine's speed varies by 3 % from pair to pair, and by 0.5 % between the sides.

**Other noises** are log ratios as such: Student t with 3 degrees of freedom; differences of two lognormals; a hiccup
of 10 to 100 % on one side in 1 pair of 20; whoever goes second is 1 % slower; a machine whose speed is a random walk.
In all of them a coin decides who goes first.
"""
_ALARMS = """\
## False alarms: alike sides, a look after every pair, up to 64 pairs

{comparisons:,} comparisons for each noise. Goal: at most 1 % are called better or worse at any look. Beside it what
others do at the same level, with looks from the fourth pair on: a paired t test made anew each time, and an
asymptotic confidence sequence. Pairs of queues are drawn from 20,000 simulated ones for each load.

| noise | `PairedSequence` | t test at every look | asymptotic sequence |
|---|---|---|---|"""
_AFTER_ALARMS = """
The rows with "any of the three" are `PairedFamily` over p50, p99 and mean, which promises 1 % for all together. The
last row breaks what is asked of the caller: sides in a fixed order, of which one alone is disturbed, always in one
direction. Without the coin there is no promise, whatever the row says.
"""
_FOUND = """\
## A slowdown of 2 %

{found_of:,} comparisons for each row, at most 20 pairs of 1,000 requests a side (20,000 an arm). Goal: with service
times that vary by up to 10 % (CV), at least 90 % end in "worse" for one of p50, p99 and mean (`PairedFamily`, 1 %
false alarms for all three together). Then each figure alone (`PairedSequence`), and how far 2 % of service moves it.

| load | CV | worse, any | median requests an arm | p50 alone (effect) | p99 alone | mean alone |
|---|---|---|---|---|---|---|"""
_AFTER_FOUND = """
A p99 from 1,000 requests is made of ten of them: where service times vary much, it needs more pairs than p50 or the
mean do. Who cares for the tail compares all three.
"""
_EQUIVALENCE = """\
## Equivalent within 5 %

{comparisons:,} comparisons for each noise. Goal: of sides exactly 5 % apart at most 5 % are called equivalent, at any
look (`PairedSequence`) or in 10 blocks fixed beforehand (`effect_of_blocks`, two one-sided t tests). Then how many
alike sides are called equivalent within 64 pairs, and at which pair half of them are.

| noise | false, any look | false, 10 blocks by t | alike: equivalent | median pairs |
|---|---|---|---|---|"""
_AFTER_EQUIVALENCE = """
The t tests are exact for normal log ratios: for two-valued ones (the second side slower) they err a little more often
than they say. `PairedSequence` does not, and was looked at 64 times.
"""
_GATE = """\
## A gate: suspects from history, confirmed by a comparison

{histories:,} histories for each row, of 30 to 60 runs: noise of 1 to 3 %, autocorrelated (up to 0.5), a drift of up to
3 %, one run in thirty an outlier of up to 40 %. A change comes at least 5 runs before the last. Where there is a suspect
for the worse (`change_points`), the newest configuration is measured beside the run in the middle of the stretch that the
oldest suspect ended, as `trivet gate` does: in such noise a change is named some runs too early or too late, and the
last run before the suspect is often one after the change. It is confirmed by `PairedSequence`: margin 2 %, at most 30
pairs, their noise Student t with 3 degrees of freedom and an sd of 3.5 %. Goals: at most 1 % false regressions, at least
95 % of the changes of 5 % and more found. The last row is the hardest edge of that: each of its changes is 5 % exactly,
where noise is up to 3 %.

| change | suspected | measured beside a run from before it | regression, confirmed | pairs a history |
|---|---|---|---|---|"""
_PROMISES = """
## Shares, means and certified settings

Where all outcomes can be summed, the number is exact: the coverage of a 95 % interval at the truth where it is least.
The others are {histories:,} simulated trials on fixed seeds; means are of zeros and ones, looked at 20 times, and a
violation is any certified setting at all whose risk is over 5 % (of 20 settings the last six are).

| promise | counted | limit |
|---|---|---|"""


def page(record: Record) -> str:
    lines = [
        _HEAD.format(**record),
        *_alarm_lines(record),
        *_found_lines(record),
        *_equivalence_lines(record),
        *_gate_lines(record),
        *_promise_lines(record),
    ]
    return "\n".join(lines) + "\n"


def _share(count: int, num: int) -> str:
    interval = proportion_interval(count, num)
    return f"{100 * interval.estimate:.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _alarm_lines(record: Record) -> Iterator[str]:
    num = record["comparisons"]
    yield _ALARMS.format(**record)
    for row in record["alarms"]:
        # The family's row has no counterpart: the other ways know one figure.
        shares = [_share(row[way], num) if way in row else "" for way in ("ours", "t test", "asymptotic")]
        yield f"| {row['noise']} | " + " | ".join(shares) + " |"
    yield _AFTER_ALARMS


def _found_lines(record: Record) -> Iterator[str]:
    num = record["found_of"]
    yield _FOUND.format(**record)
    for row in record["found"]:
        alone = [
            f"{100 * row['alone'][name] / num:.0f} % ({100 * (row['effect'][name] - 1):+.1f} %)"
            for name in ("p50", "p99", "mean")
        ]
        head = (
            f"{row['load']:g} | {100 * row['cv']:.0f} % | {_share(row['worse'], num)} | {row['requests']:,}"
        )
        yield f"| {head} | " + " | ".join(alone) + " |"
    yield _AFTER_FOUND


def _equivalence_lines(record: Record) -> Iterator[str]:
    num = record["comparisons"]
    yield _EQUIVALENCE.format(**record)
    for row in record["equivalence"]:
        false = f"{_share(row['false'], num)} | {_share(row['false by t'], num)}"
        median = row["median"] if row["median"] <= 64 else "over 64"
        yield f"| {row['noise']} | {false} | {100 * row['within 64'] / num:.1f} % | {median} |"
    yield _AFTER_EQUIVALENCE


def _gate_lines(record: Record) -> Iterator[str]:
    num = record["histories"]
    yield _GATE.format(**record)
    for name, row in record["gate"].items():
        before = "" if name == "none" else _share(row["before"], num)
        confirmed = _share(row["regression"], num)
        yield f"| {name} | {_share(row['suspected'], num)} | {before} | {confirmed} | {row['pairs']:.1f} |"


def _promise_lines(record: Record) -> Iterator[str]:
    yield _PROMISES.format(**record)
    for row in record["promises"]:
        counted = f"{100 * row['counted']:.2f} %" if row.get("exact") else _share(*row["counted"])
        yield f"| {row['what']} | {counted} | {row['limit']} |"
