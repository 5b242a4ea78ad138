"""docs/benchmarks/tuning.md from the records that the tuning benchmarks keep under out/benchmarks/tuning."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks._records import OUT
from benchmarks._tables import markdown_table
from trivet.stats.proportion import proportion_interval

Record = dict[str, Any]
FOLDER = OUT / "tuning"

_HEAD = """\
# What tuning promises, finds and gains

Each section is made by the benchmark that it names, from records that are kept; `--write docs/benchmarks/tuning.md` on
any of them draws the page anew. Simulated services have a truth that is known; they are drawn from fixed numbers, and we
wrote both them and the tuner: the bias is ours. Live figures are of one machine.
"""
_PROMISES = """\
## Does a recommendation keep its promise?

`python -m benchmarks tune_promises`: hidden services, each tuned with several seeds. The tuner sees a profile that is
wrong by some percent for good and blocks with noise, moods and hiccups; then its recommendation is run on the truth, with
60,000 fresh requests at the rate that it promises (the lower end of the largest rate's interval, less the safety margin of
10 %). Violated: the true p99 is over the SLO beyond its own interval, or the true accuracy is under the floor. Goal: none.
"""
_REGRET = """\
## How far from the best?

`python -m benchmarks tune_regret`: every configuration of a small space is known from long simulations (for live rows: from
`tune_truth`). Regret: how much smaller the chosen configuration's true largest rate is than the best one's, among those
whose accuracy clears the floor; 100 % where nothing is recommended. Volume: the share of the whole space's hypervolume that
the tried configurations cover. Goals: at most 3 % and at least 97 %, with at most 12 live trials and 5 minutes. The other
searches are given more than a tuner gets: each of their trials tells the largest rate within 2 % and p99 exactly, at once.
"""
_GAINS = """\
## What does it gain?

`python -m benchmarks tune_gains`: real models, two live tunes each: with variants that keep the answers, and with all. How
many times the default's largest rate within the SLO; a default that is at least 85 % of the best configuration with the same
answers was good enough: goal 4 of 5.
"""
_MISSING = "Not measured yet.\n"


def page() -> str:
    """All sections; one without records says so."""
    return "\n".join(
        [
            _HEAD,
            promises_section(_lines("promises.jsonl")),
            regret_section([*_lines("regret.jsonl"), *kept("regret-live.json")]),
            gains_section(kept("gains-*.json")),
        ]
    )


def kept(pattern: str) -> list[Record]:
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob(pattern))]


def promises_section(records: Sequence[Record]) -> str:
    if not records:
        return _PROMISES + "\n" + _MISSING
    held = [record for record in records if record["meets"]]
    violated = [record for record in held if record["violated"]]
    share = proportion_interval(len(violated), len(held)) if held else None
    bound = f", at most {share.high:.0%} with 95 % confidence" if share is not None else ""
    rows = [
        [
            name,
            len(own),
            sum(record["meets"] for record in own),
            sum(bool(record["violated"]) for record in own),
            _range([record["slo_ms"] for record in own if record["meets"]], "{:.3g} ms"),
            _range([record["gain"] for record in own if record["meets"] and record["gain"]], "{:.2f}"),
            f"{sum(_is_inside(record) for record in own if record['meets'])}",
            _range([record["live_trials"] for record in own], "{:.0f}"),
        ]
        for name in dict.fromkeys(record["service"] for record in records)
        if (own := [record for record in records if record["service"] == name])
    ]
    head = [
        "service",
        "tunes",
        "recommended",
        "violated",
        "true p99 at the promise",
        "gain (true)",
        "truth in the interval",
        "live trials",
    ]
    inside = sum(map(_is_inside, held))
    below = sum(record["true_rps"] < (record["stated"][0] or 0) for record in held)
    low_end = sum(record["slo_at_low_end"] for record in held)
    return "\n".join(
        [
            _PROMISES,
            f"{len(violated)} of {len(held)} recommendations violated{bound}; {len(records) - len(held)} of {len(records)} "
            f"tunes recommended nothing. The stated 95 % interval of the largest rate held the truth in {inside} of "
            f"{len(held)} (the truth was below it in {below}); at its lower end, without the margin, {low_end} of "
            f"{len(held)} kept the SLO.\n",
            markdown_table(head, [[str(cell) for cell in row] for row in rows]),
            "",
        ]
    )


def regret_section(records: Sequence[Record]) -> str:
    if not records:
        return _REGRET + "\n" + _MISSING
    rows = []
    for record in records:
        for search, found in record["searches"].items():
            trials = [str(one["live_trials"]) for one in found if "live_trials" in one]
            rows.append(
                [
                    record["service"],
                    search,
                    ", ".join(trials) or search.partition(", ")[2].partition(" ")[0],
                    ", ".join(f"{one['regret']:.1%}" for one in found),
                    ", ".join(f"{one['volume']:.1%}" for one in found),
                ]
            )
    together = []
    for search in dict.fromkeys(name for record in records for name in record["searches"]):
        found = [one for record in records for one in record["searches"].get(search, [])]
        regrets, volumes = [one["regret"] for one in found], [one["volume"] for one in found]
        together.append(
            [
                search,
                f"{median(regrets):.1%}",
                f"{max(regrets):.1%}",
                f"{median(volumes):.1%}",
                f"{min(volumes):.1%}",
            ]
        )
    sizes = Counter(f"{record['service']}: {record['configurations']} configurations" for record in records)
    return "\n".join(
        [
            _REGRET,
            f"{'; '.join(sizes)}. One value for each seed.\n",
            markdown_table(["search", "regret, median", "worst", "volume, median", "worst"], together),
            "",
            markdown_table(["truth", "search", "trials", "regret", "volume"], rows),
            "",
        ]
    )


def gains_section(records: Sequence[Record]) -> str:
    if not records:
        return _GAINS + "\n" + _MISSING
    rows = [_gain_row(record) for record in records]
    known = [record["same answers"] for record in records if "ratio" in record["same answers"]]
    good = sum(1 / side["ratio"]["estimate"] >= 0.85 for side in known)
    head = [
        "model",
        "SLO",
        "default",
        "same answers",
        "levers",
        "all variants",
        "levers",
        "accuracy",
        "default's accuracy",
    ]
    machines = ", ".join(sorted({record["machine"] for record in records}))
    return "\n".join(
        [
            _GAINS,
            f"On {machines}. Defaults at least 85 % of the best with the same answers: {good} of {len(known)}.\n",
            markdown_table(head, rows),
            "",
        ]
    )


def _gain_row(record: Record) -> list[str]:
    same, every = record["same answers"], record["all"]
    return [
        record["model"],
        f"{record['slo_ms']:g} ms",
        _figure(same.get("default"), "/s"),
        _figure(same.get("ratio"), " times") if "ratio" in same else same["why"],
        _levers(same),
        _figure(every.get("ratio"), " times") if "ratio" in every else every["why"],
        _levers(every),
        _figure(every.get("accuracy")),
        _figure(every.get("default_accuracy")),
    ]


def _levers(side: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in side.get("levers", {}).items()) or "none changed"


def _figure(told: Record | None, unit: str = "") -> str:
    if not told:
        return "–"
    low, high = (("?" if told.get(end) is None else f"{told[end]:,.4g}") for end in ("low", "high"))
    return f"{told['estimate']:,.4g}{unit} [{low}, {high}]"


def _is_inside(record: Record) -> bool:
    low, _, high = record["stated"]
    return (low is None or low <= record["true_rps"]) and (high is None or record["true_rps"] <= high)


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    ends = [form.format(min(values)), form.format(max(values))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _lines(name: str) -> list[Record]:
    path = FOLDER / name
    if not path.is_file():
        return []
    return [json.loads(line)[1] for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
