"""Pairs of blocks that were measured in turn: which figures of theirs are compared, and when they have decided."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trivet.experiment.figures import MIB, NS_PER_MS, NS_PER_S, PERCENTILES
from trivet.experiment.measured import Measured
from trivet.stats.family import PairedFamily
from trivet.stats.percentile import percentile_ns

LARGER_IS_BETTER = frozenset({"throughput_rps", "goodput_rps"})
# Ratios within it make no difference that matters. Of a median that is less than what 5 % more work shows from outside,
# where a part of each request is not the engine's; a tail needs more room.
MARGINS: Mapping[str, float] = {
    "latency_p50_ms": 0.03,
    "latency_p95_ms": 0.05,
    "latency_p99_ms": 0.10,
    "latency_p999_ms": 0.10,
    "throughput_rps": 0.03,
    "goodput_rps": 0.03,
    "cpu_ms_per_request": 0.03,
    "memory_mib": 0.05,
}
# What a figure is given of the chance to err: what blocks of some hundred requests can tell has most of it. Median and
# processor time are of all requests, a tail is of a few.
WEIGHTS: Mapping[str, float] = {
    "latency_p50_ms": 0.3,
    "latency_p95_ms": 0.1,
    "latency_p99_ms": 0.15,
    "latency_p999_ms": 0.05,
    "throughput_rps": 0.05,
    "goodput_rps": 0.05,
    "cpu_ms_per_request": 0.3,
}
MIN_EFFECT = 0.01  # below nothing is called better or worse: however sure it is, nobody acts on it
# Memory is one reading of one process, repeated: its blocks tell how steady that is, not how the next start would be.
MEMORY_MIN_EFFECT = 0.02
ALPHA = 0.01  # of any wrong "better" or "worse", over all figures and looks together
MIN_OF_P999 = 1000  # answers of a block: of fewer it is the slowest one, which says no more than its p99
DECIDING = ("latency_p50_ms", "latency_p99_ms")  # equivalent in both is an end


def block_values(measured: Measured, slo_latency_ns: int | None) -> dict[str, float]:
    """The figures of one block that can be paired with another's; none where nothing was answered."""
    window = measured.window
    answered = window.words["outcome"].equal("ok", "late")
    if not answered.any():
        return {}
    latencies = window.latency_ns()
    values = {
        name: percentile_ns(latencies[answered], p) / NS_PER_MS
        for name, p in PERCENTILES.items()
        if name != "latency_p999_ms" or answered.sum() >= MIN_OF_P999
    }
    begin, end = measured.record.measured_from_ns, int(window["intended_ns"].max()) + 1
    in_time = answered & (window["done_ns"] <= end)
    within = in_time if slo_latency_ns is None else in_time & (latencies <= slo_latency_ns)
    seconds = (end - begin) / NS_PER_S
    values["throughput_rps"] = float(in_time.sum()) / seconds
    values["goodput_rps"] = float(within.sum()) / seconds
    record = measured.record
    if record.cpu_ns is not None and record.generator.num_sent:
        values["cpu_ms_per_request"] = record.cpu_ns / record.generator.num_sent / NS_PER_MS
    if record.pss_bytes is not None:
        values["memory_mib"] = record.pss_bytes / MIB
    return values


def valid_pairs(a: Sequence[Measured], b: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    """Blocks by their number that both sides have, whole, and valid on both."""
    others = {measured.record.block: measured for measured in b}
    pairs = [(m, others[m.record.block]) for m in a if m.record.block in others]
    return [pair for pair in pairs if all(not m.invalid and not m.record.partial for m in pair)]


def observations(
    pairs: Sequence[tuple[Measured, Measured]], slo_latency_ns: int | None
) -> list[dict[str, float]]:
    """What a test counts: log(b / a) by figure, of each start where the sides were started several times, else of each pair.

    Blocks of one start have in common what is particular to it, which no number of them shows: the mean over them is one
    observation. It has the figures that all of its blocks have.
    """
    ratios = [pair_ratios(a, b, slo_latency_ns) for a, b in pairs]
    by_start: dict[int, list[dict[str, float]]] = {}
    for (a, _), ratio in zip(pairs, ratios, strict=True):
        by_start.setdefault(a.record.start, []).append(ratio)
    return ratios if len(by_start) < 2 else [mean_of(blocks) for blocks in by_start.values()]


def pair_ratios(a: Measured, b: Measured, slo_latency_ns: int | None) -> dict[str, float]:
    """log(b / a) of every figure of a pair of blocks."""
    return log_ratios(block_values(a, slo_latency_ns), block_values(b, slo_latency_ns))


def mean_of(ratios: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of every figure that all of them have. Args: at least one."""
    names = [name for name in ratios[0] if all(name in ratio for ratio in ratios)]
    return {name: sum(ratio[name] for ratio in ratios) / len(ratios) for name in names}


def log_ratios(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """log(b / a) of every figure that both have and that is positive on both."""
    return {name: math.log(b[name] / a[name]) for name in a if name in b and a[name] > 0 and b[name] > 0}


def timed_family(
    ratios: Sequence[Mapping[str, float]], *, margin: float | None = None, alpha: float = ALPHA
) -> PairedFamily | None:
    """The figures but memory that all observations have, tested together; None: there is none.

    Each one more makes it harder for all: where every answer is in time, goodput is throughput, and is left out.

    Args: margin: of every figure; None: each has its own.
    """
    names = [name for name in WEIGHTS if all(name in ratio for ratio in ratios)]
    if not ratios or not names:
        return None
    if all(ratio.get("goodput_rps") == ratio.get("throughput_rps") for ratio in ratios):
        names = [name for name in names if name != "goodput_rps"]
    margins = margins_of(names, margin)
    family = PairedFamily(
        margins,
        alpha=alpha,
        smaller_is_better={name: name not in LARGER_IS_BETTER for name in names},
        min_effect=min(MIN_EFFECT, min(margins.values()) / 2),
        weights=WEIGHTS,
    )
    for ratio in ratios:
        family.add({name: ratio[name] for name in names})
    return family


def margins_of(names: Iterable[str], margin: float | None) -> dict[str, float]:
    """Each its own. Args: margin: of all, if not None."""
    return {name: MARGINS[name] if margin is None else margin for name in names}


@dataclass(slots=True)
class Deciding:
    """Looks at each observation, and says when they have decided: by the test that `paired_effects` makes of them.

    So the comparison that is printed says what ended it. Valid however often it is asked.
    """

    slo_latency_ns: int | None = None
    _ratios: list[dict[str, float]] = field(default_factory=list)

    def add(self, pairs: Sequence[tuple[Measured, Measured]]) -> None:
        """All pairs of blocks of one observation; a pair that was invalid, or without a result, counts for neither side."""
        valid = [pair for pair in pairs if not any(measured.invalid for measured in pair)]
        ratios = [ratio for a, b in valid if (ratio := pair_ratios(a, b, self.slo_latency_ns))]
        if ratios:
            self._ratios.append(mean_of(ratios))

    def is_decided(self) -> bool:
        """A figure is better or worse, or the latencies are equivalent."""
        family = timed_family(self._ratios)
        if family is None:
            return False
        verdicts = family.verdicts()
        return bool({"better", "worse"} & set(verdicts.values())) or all(
            verdicts.get(name) == "equivalent" for name in DECIDING
        )
