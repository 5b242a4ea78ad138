"""One round of a gate: all sides started, offered interleaved blocks, judged on the labelled rows, and recorded."""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from trivet.catalog.catalog import Catalog
from trivet.experiment.alternation import can_start_often
from trivet.experiment.gate.decision import Finding, accuracy_finding
from trivet.experiment.gate.gate import Round
from trivet.experiment.pairs import block_values, mean_of
from trivet.experiment.replay.check_answers import MIN_ANSWERED
from trivet.experiment.run import Finished, Settings, run
from trivet.experiment.target import Subject
from trivet.experiment.workload import Workload
from trivet.stats.proportion import paired_difference

BASELINE, CANDIDATE = "baseline", "candidate"
NUM_STARTS = 5  # of each side in a round, with a block for each
REQUESTS = 1000  # of a block: its p99 is the tenth worst
MIN_BLOCK_NS, MAX_BLOCK_NS = 500_000_000, 2_000_000_000
SHORTEST_NS = 100_000_000  # where the budget has no room for more: it will decide nothing, and says so soon
OVERHEAD_NS = (
    1_500_000_000  # of a block beside its load: starts of the server and of the load generator, warm-up
)


def rounds(
    sides: Mapping[str, Subject],
    workload: Workload,
    catalog: Catalog,
    *,
    budget_ns: int,
    command: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Callable[[int], Round]:
    """What `gate` calls. Args: sides: by their names in the rounds' blocks: baseline, candidate, and earlier ones."""
    often = can_start_often([subject.configuration for subject in sides.values()])
    load = round_workload(workload, len(sides), budget_ns, starts_often=often)

    def measure(index: int) -> Round:
        nonlocal load
        # Accuracy does not depend on the round: once is enough.
        settings = Settings(
            command=tuple(command),
            tags=dict(tags or {}),
            kind="gate",
            measure_floor=False,
            max_labelled=1000 if index == 0 else 0,
        )
        seeded = msgspec.structs.replace(load, seed=load.seed + index)
        finished = run(list(sides.values()), seeded, catalog=catalog, settings=settings, say=say)
        load = msgspec.structs.replace(load, turn_ns=finished[0].workload.turn_ns)  # found once
        return round_of(dict(zip(sides, finished, strict=True)))

    return measure


def round_workload(
    workload: Workload, num_sides: int, budget_ns: int, *, starts_often: bool = True
) -> Workload:
    """The load in blocks long enough for a p99, and shorter where half the budget would not hold a round of them.

    Args: starts_often: each block has servers of its own; else a round is one start, and one observation.
    """
    rate_rps = workload.rate_rps or REQUESTS
    wanted_ns = round(min(MAX_BLOCK_NS, max(MIN_BLOCK_NS, REQUESTS / rate_rps * 1e9)))
    room_ns = budget_ns // 2 // (NUM_STARTS * num_sides) - OVERHEAD_NS
    block_ns = max(SHORTEST_NS, min(wanted_ns, room_ns))
    fits = budget_ns // 2 // (num_sides * (block_ns + OVERHEAD_NS))
    num_blocks = max(1, min(NUM_STARTS, fits))
    return msgspec.structs.replace(
        workload,
        num_blocks=num_blocks,
        duration_ns=block_ns * num_blocks,
        until_decided=False,
        num_starts=num_blocks if starts_often else 1,
        turn_ns=None,  # whatever it was when the baseline was measured, alone or not
        scenario="steady",
    )


def round_of(finished: Mapping[str, Finished]) -> Round:
    """What each start gave, from the blocks that are valid on every side."""
    runs = tuple(side.run_id for side in finished.values())
    first = finished[BASELINE]
    if first.state == "invalid":
        return Round((), runs, invalid=first.reason)
    if first.state != "complete":
        return Round((), runs, failed=(_culprit(finished), first.reason))
    valid = [
        {m.record.block: m for m in side.blocks if not m.invalid and not m.record.partial}
        for side in finished.values()
    ]
    common = sorted(set.intersection(*map(set, valid)))
    starts: dict[int, list[dict[str, Mapping[str, float]]]] = {}
    for block in common:
        values: dict[str, Mapping[str, float]] = {
            name: block_values(blocks[block], side.workload.slo_latency_ns)
            for (name, side), blocks in zip(finished.items(), valid, strict=True)
        }
        starts.setdefault(valid[0][block].record.start, []).append(values)
    return Round(
        [_geometric_means(blocks) for _, blocks in sorted(starts.items())],
        runs,
        settled=tuple(_accuracy(first, finished[CANDIDATE])),
    )


def _geometric_means(blocks: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Of the blocks of one start: by side, of every figure that is positive in each."""
    means: dict[str, dict[str, float]] = {}
    for side in blocks[0]:
        logs = [
            {name: math.log(value) for name, value in block[side].items() if value > 0} for block in blocks
        ]
        means[side] = {name: math.exp(mean) for name, mean in mean_of(logs).items()}
    return means


def _culprit(finished: Mapping[str, Finished]) -> str:
    """The side that a failure names; the baseline where it names none: no one is blamed without reason."""
    reason = finished[BASELINE].reason
    named = [name for name, side in finished.items() if reason.startswith(f"{side.label}:")]
    return named[0] if named else BASELINE


def _accuracy(baseline: Finished, candidate: Finished) -> list[Finding]:
    if (
        baseline.judged is None
        or candidate.judged is None
        or baseline.judged.metric != candidate.judged.metric
    ):
        return []
    first, second = baseline.judged.judgement, candidate.judged.judgement
    metric, estimates = baseline.judged.metric, (first.overall.estimate, second.overall.estimate)
    pairs = zip(first.predictions, second.predictions, strict=True)
    both = np.array([a is not None and b is not None for a, b in pairs], np.bool_)
    if both.mean() < MIN_ANSWERED:
        detail = f"only {both.sum()} of {len(both)} labelled rows were answered by both sides"
        return [Finding("accuracy", "not enough data", detail, None, *estimates, metric)]
    difference = None
    if metric == "accuracy" and first.values is not None and second.values is not None:
        difference = paired_difference(first.values[both] == 1, second.values[both] == 1)
    return [accuracy_finding(metric, *estimates, difference, first.smaller_is_better)]
