"""Two runs beside each other: how much each figure differs, how sure that is, and what else differs between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Difference, differences
from trivet.catalog.records import Figure, Run
from trivet.experiment.measured import Measured, unpack
from trivet.experiment.pairs import (
    ALPHA,
    LARGER_IS_BETTER,
    MEMORY_MIN_EFFECT,
    margins_of,
    observations,
    timed_family,
    valid_pairs,
)
from trivet.load.popularity import EVEN
from trivet.spec.service import SMALLER_IS_BETTER
from trivet.stats.interval import Interval, Ratio
from trivet.stats.mean import mean_of_blocks
from trivet.stats.proportion import paired_difference
from trivet.stats.sequential import PairedSequence
from trivet.stats.shift import Shift, shift_function
from trivet.stats.verdict import Effect, verdict_of_difference, verdict_of_ratio

FIGURES = (
    "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_p999_ms",
    "throughput_rps", "goodput_rps", "accuracy", "cpu_ms_per_request", "memory_mib",
)  # fmt: skip
USABLE = {"complete", "partial"}  # of others no figure is a claim
SHARES = {"accuracy", "f1", "auc", "cosine"}
ACCURACY_MARGIN = 0.005  # half a point of a share
ERROR_MARGIN = 0.01  # of an error such as mae, as a part of it
MIN_ROWS = 10  # of labelled rows, to be compared one by one
MIN_PAIRS_OF_SHIFT = 5
MAX_SHIFTED = 20_000  # latencies of a side that the shift function looks at: it sorts them 400 times


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of both runs. `effect` is about the second run beside the first; None where `note` says why."""

    name: str
    a: Figure
    b: Figure
    effect: Effect | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second run beside the first.

    paired: blocks were interleaved, so that they share the machine's mood; `num_pairs` of them were valid on both sides.
    num_starts: of each side, in those pairs; of several, each is one observation.
    notes: what a reader must know before the figures.
    """

    a: Run
    b: Run
    paired: bool
    num_pairs: int
    num_starts: int
    figures: tuple[Compared, ...]
    differences: tuple[Difference, ...]
    shifts: tuple[Shift, ...]
    latencies_ms: tuple[NDArray[np.float64], NDArray[np.float64]]
    notes: tuple[str, ...]

    @property
    def verdicts(self) -> dict[str, str]:
        return {figure.name: figure.effect.verdict for figure in self.figures if figure.effect is not None}


def compare(
    catalog: Catalog, a: Run, b: Run, *, margin: float | None = None, alpha: float = ALPHA
) -> Comparison:
    """Args: margin: ratios within it make no difference that matters; None: each figure has its own, `MARGINS`.
    alpha: of any wrong better or worse.

    Raises: UserError: the rows of a run are not in the catalog.
    """
    blocks_a, blocks_b = blocks_of(catalog, a), blocks_of(catalog, b)
    pairs = valid_pairs(blocks_a, blocks_b)
    paired = bool(a.group) and a.group == b.group and a.id != b.id and len(pairs) > 1
    effects: dict[str, Effect] = {}
    if {a.state, b.state} <= USABLE:
        effects = (
            paired_effects(pairs, _slo_latency_ns(a), margin=margin, alpha=alpha)
            if paired
            else unpaired_effects(a, b, margin=margin)
        ) | _accuracy_effect(catalog, a, b)
    num_starts = len({first.record.start for first, _ in pairs}) if paired else 0
    return Comparison(
        a,
        b,
        paired,
        len(pairs) if paired else 0,
        num_starts,
        tuple(_compared(name, a, b, effects) for name in _names(a, b)),
        tuple(differences(a.environment, b.environment)),
        tuple(_shifts(pairs)) if paired else (),
        (_latencies_ms(blocks_a), _latencies_ms(blocks_b)),
        tuple(_notes(a, b, paired, num_starts)),
    )


def blocks_of(catalog: Catalog, run: Run) -> list[Measured]:
    """The blocks of a recorded run, with their rows; none where nothing was measured."""
    if "rows" not in run.artifacts or "blocks" not in run.artifacts:
        return []
    return unpack(catalog.rows(run.artifacts["rows"]), catalog.get(run.artifacts["blocks"]))


def paired_effects(
    pairs: Sequence[tuple[Measured, Measured]],
    slo_latency_ns: int | None,
    *,
    margin: float | None = None,
    alpha: float = ALPHA,
) -> dict[str, Effect]:
    """Of every figure that all blocks of both sides have.

    One promise for all of them together, and valid too where the run ended because its pairs had decided.
    """
    ratios = observations(pairs, slo_latency_ns)
    family = timed_family(ratios, margin=margin, alpha=alpha)
    effects = {} if family is None else family.effects()
    if "throughput_rps" in effects and all("goodput_rps" in ratio for ratio in ratios):
        effects.setdefault("goodput_rps", effects["throughput_rps"])
    if ratios and all("memory_mib" in ratio for ratio in ratios):
        allowed = margins_of(["memory_mib"], margin)["memory_mib"]
        memory = PairedSequence(allowed, alpha=alpha, min_effect=min(MEMORY_MIN_EFFECT, allowed / 2))
        for ratio in ratios:
            memory.add(ratio["memory_mib"])
        effects["memory_mib"] = memory.effect()
    return effects


def unpaired_effects(a: Run, b: Run, *, margin: float | None = None) -> dict[str, Effect]:
    """From the intervals of two runs at different times: what the ratio can be if each truth lies in its interval.

    Wider than the truth where both are independent, and widened once more by how much faster or slower the machine
    itself was: by the noise probes around each run. A run without an interval gives no effect.
    """
    drift = _drift(a, b)
    found = {}
    for name in FIGURES:
        first, second = a.figures.get(name), b.figures.get(name)
        if first is None or second is None or name == "accuracy" or not first.estimate > 0:
            continue
        bounds = (first.low, first.high, second.low, second.high)
        low_a, high_a, low_b, high_b = (0.0 if bound is None else bound for bound in bounds)
        if None in bounds or not low_a > 0:
            continue
        ratio = Ratio(second.estimate / first.estimate, low_b / high_a / drift, high_b / low_a * drift, 1)
        allowed = margins_of([name], margin)[name]
        verdict = verdict_of_ratio(ratio, ratio, allowed, name not in LARGER_IS_BETTER)
        found[name] = Effect(ratio, verdict, allowed)
    return found


def _drift(a: Run, b: Run) -> float:
    """How many times slower the machine's slowest probe of both runs was than its fastest; 1 where none is known."""
    probes = [
        probe.piece_us
        for run in (a, b)
        for probe in (run.environment.noise_before, run.environment.noise_after)
        if probe is not None and probe.piece_us > 0
    ]
    return max(probes) / min(probes) if probes else 1.0


def _accuracy_effect(catalog: Catalog, a: Run, b: Run) -> dict[str, Effect]:
    """Of the same rows row by row where each is right or wrong; else from the two intervals."""
    first, second = a.figures.get("accuracy"), b.figures.get("accuracy")
    if first is None or second is None or first.unit != second.unit or not first.estimate > 0:
        return {}
    smaller_is_better = first.unit in SMALLER_IS_BETTER
    difference = _difference_of_rows(catalog, a, b)
    if difference is None:
        if None in (first.low, first.high, second.low, second.high):
            return {}
        difference = Interval(
            second.estimate - first.estimate,
            (second.low or 0.0) - (first.high or 0.0),
            (second.high or 0.0) - (first.low or 0.0),
        )
    margin = ACCURACY_MARGIN if first.unit in SHARES else ERROR_MARGIN * first.estimate
    low, high = (1 + bound / first.estimate for bound in (difference.low, difference.high))
    ratio = Ratio(1 + difference.estimate / first.estimate, low, high, 1)
    return {
        "accuracy": Effect(
            ratio,
            verdict_of_difference(difference, difference, margin, smaller_is_better),
            margin,
        )
    }


def _difference_of_rows(catalog: Catalog, a: Run, b: Run) -> Interval | None:
    """How much higher the metric of B is on the same rows; None where the metric has no values of rows, or they differ."""
    kept = [_judged_rows(catalog, run) for run in (a, b)]
    if not kept[0] or not kept[1] or kept[0]["labels"] != kept[1]["labels"]:
        return None
    metric = a.figures["accuracy"].unit
    if metric == "rmse":  # its rows are squared errors, and its figure no mean of them
        return None
    pairs = [(x, y) for x, y in zip(*(rows["values"] for rows in kept), strict=True) if None not in (x, y)]
    if len(pairs) < MIN_ROWS:
        return None
    first, second = np.array(pairs, np.float64).T
    if metric == "accuracy":
        return paired_difference(first == 1, second == 1)
    return mean_of_blocks(second - first)


def _judged_rows(catalog: Catalog, run: Run) -> dict[str, Any]:
    """Labels and values of the labelled rows; empty where the run keeps none."""
    if "predictions" not in run.artifacts:
        return {}
    found: dict[str, Any] = msgspec.json.decode(catalog.get(run.artifacts["predictions"]))
    return found if found["values"] else {}


def _names(a: Run, b: Run) -> list[str]:
    return [name for name in FIGURES if name in a.figures and name in b.figures]


def _compared(name: str, a: Run, b: Run, effects: Mapping[str, Effect]) -> Compared:
    first, second = a.figures[name], b.figures[name]
    effect = effects.get(name)
    return Compared(name, first, second, effect, "" if effect else _missing(a, b, first, second))


def _missing(a: Run, b: Run, first: Figure, second: Figure) -> str:
    """Why a figure that both runs have has no effect."""
    for run in (a, b):
        if run.state not in USABLE:
            return f"{run.id} is {run.state}"
    verdicts = (figure.verdict for figure in (first, second) if figure.low is None and figure.verdict)
    return "; ".join(dict.fromkeys(verdicts)) or "not in every block of both runs"


def _shifts(pairs: Sequence[tuple[Measured, Measured]]) -> list[Shift]:
    """Quantile by quantile, from at most MAX_SHIFTED latencies of a side: every k-th of each block."""
    sides = [[measured.answered_ns() for measured in side] for side in zip(*pairs, strict=True)]
    if len(pairs) < MIN_PAIRS_OF_SHIFT or not all(len(block) for side in sides for block in side):
        return []
    step = max(1, max(sum(map(len, side)) for side in sides) // MAX_SHIFTED)
    first, second = [[block[::step] for block in side] for side in sides]
    return shift_function(first, second, np.random.default_rng(0))


def _latencies_ms(blocks: Sequence[Measured]) -> NDArray[np.float64]:
    """Of valid blocks; of all where none is valid: a picture is no claim, and the notes say what the run is."""
    used = [measured for measured in blocks if not measured.invalid] or blocks
    return np.concatenate([np.array([], np.int64), *(measured.answered_ns() for measured in used)]) / 1e6


def _slo_latency_ns(run: Run) -> int | None:
    value = run.workload.get("slo_latency_ns")
    return None if value is None else int(value)


def _notes(a: Run, b: Run, paired: bool, num_starts: int) -> list[str]:
    notes = []
    if num_starts == 1:
        notes.append(
            "each side is one start, and what is particular to that one is not told apart: see --starts of bench"
        )
    if not paired and a.group and a.group == b.group:
        notes.append(
            "these runs were interleaved, but fewer than two pairs of blocks are valid on both sides"
        )
    elif not paired:
        notes.append(
            "these runs were not interleaved: what differs between them may be the machine's mood, and the intervals "
            "are as wide as that makes them; `trivet bench A B` measures both in turn"
        )
    notes += [
        f"{run.id} is {run.state}: {run.reason or 'see trivet show'}"
        for run in (a, b)
        if run.state != "complete"
    ]
    keys = ("rate_rps", "arrivals", "duration_ns", "users", "scenario", "slo_latency_ns")
    other = [key for key in keys if a.workload.get(key) != b.workload.get(key)]
    other += ["popularity"] if len({one.workload.get("popularity", EVEN) for one in (a, b)}) > 1 else []
    if other:
        notes.append(f"their workloads differ in {', '.join(other)}")
    if a.configuration_hash == b.configuration_hash:
        notes.append("both ran the same configuration")
    return notes
