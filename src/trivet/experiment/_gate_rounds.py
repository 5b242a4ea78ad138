"""One round of a gate: all sides started, offered interleaved blocks, judged on the labelled rows, and recorded."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.catalog.catalog import Catalog
from trivet.experiment._gate_decision import Finding, accuracy_finding
from trivet.experiment.gate import Round
from trivet.experiment.pairs import block_values
from trivet.experiment.passes import Judged
from trivet.experiment.run import Finished, Settings, run
from trivet.experiment.target import Subject
from trivet.experiment.workload import Workload
from trivet.spec.service import SMALLER_IS_BETTER
from trivet.stats.proportion import paired_difference

BASELINE, CANDIDATE = "baseline", "candidate"
NUM_PAIRS = 10  # of a round: a start of both servers is worth so many blocks
REQUESTS = 1000  # of a block: its p99 is the tenth worst
MIN_BLOCK_NS, MAX_BLOCK_NS = 500_000_000, 4_000_000_000
OVERHEAD_NS = 700_000_000  # of a block beside its load: warm-up, and the load generator's start


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
    load = round_workload(workload, len(sides), budget_ns)

    def measure(index: int) -> Round:
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
        return round_of(dict(zip(sides, finished, strict=True)))

    return measure


def round_workload(workload: Workload, num_sides: int, budget_ns: int) -> Workload:
    """The load in blocks long enough for a p99 and short enough for many pairs; at most half the budget a round."""
    rate_rps = workload.rate_rps or REQUESTS
    block_ns = round(min(MAX_BLOCK_NS, max(MIN_BLOCK_NS, REQUESTS / rate_rps * 1e9)))
    fits = budget_ns // 2 // (num_sides * (block_ns + OVERHEAD_NS))
    num_blocks = max(1, min(NUM_PAIRS, fits))
    return msgspec.structs.replace(
        workload, num_blocks=num_blocks, duration_ns=block_ns * num_blocks, until_decided=False
    )


def round_of(finished: Mapping[str, Finished]) -> Round:
    """The blocks by number, of those that are valid on every side."""
    runs = tuple(side.run_id for side in finished.values())
    first = finished[BASELINE]
    if first.state == "invalid":
        return Round((), runs, invalid=first.reason)
    if first.state != "complete":
        return Round((), runs, failed=(_culprit(finished), first.reason))
    blocks: dict[int, dict[str, Mapping[str, float]]] = {}
    for name, side in finished.items():
        for measured in side.blocks:
            if not measured.invalid:
                values = block_values(measured, side.workload.slo_latency_ns)
                blocks.setdefault(measured.record.block, {})[name] = values
    whole = [block for _, block in sorted(blocks.items()) if len(block) == len(finished)]
    return Round(whole, runs, settled=tuple(_accuracy(first, finished[CANDIDATE])))


def _culprit(finished: Mapping[str, Finished]) -> str:
    """The side that a failure names; the baseline where it names none: no one is blamed without reason."""
    reason = finished[BASELINE].reason
    named = [name for name, side in finished.items() if reason.startswith(f"{side.label}:")]
    return named[0] if named else BASELINE


def _accuracy(baseline: Finished, candidate: Finished) -> list[Finding]:
    first, second = baseline.judged, candidate.judged
    if first is None or second is None or first.metric != second.metric:
        return []
    hits = _hits(first), _hits(second)
    paired = first.metric == "accuracy" and len(hits[0]) == len(hits[1])
    return [
        accuracy_finding(
            first.metric,
            first.judgement.overall.estimate,
            second.judgement.overall.estimate,
            paired_difference(*hits) if paired else None,
            first.metric in SMALLER_IS_BETTER,
        )
    ]


def _hits(judged: Judged) -> NDArray[np.bool_]:
    """Which labelled rows were answered right."""
    kept = msgspec.json.decode(judged.predictions)
    pairs = zip(kept["predictions"], kept["labels"], strict=True)
    return np.array([str(prediction) == str(label) for prediction, label in pairs], np.bool_)
