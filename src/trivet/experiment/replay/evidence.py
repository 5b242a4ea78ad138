"""What a recorded run left behind that a replay compares: rows, answers, decisions, the machine's speed around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from trivet.catalog.core_speed import CORE_SPEED, decode
from trivet.catalog.environment import Environment
from trivet.catalog.records import Run
from trivet.errors import UserError
from trivet.experiment.answers import read_tensors
from trivet.experiment.measured import unpack
from trivet.experiment.replay.check_answers import Answer
from trivet.experiment.replay.check_timing import Speed, Timed
from trivet.experiment.replay.steadying import Pace, pace
from trivet.spec.row import RowColumns, concatenate

MAX_STEAL = 0.02  # of the watched cores' time, given by the host to others
MAX_OTHERS = 0.3  # cores that other programs used


class RecordStore(Protocol):
    """Artifacts and rows by digest: a catalog, or a bundle."""

    def has(self, digest: str) -> bool: ...

    def get(self, digest: str) -> bytes: ...

    def rows(self, digest: str) -> RowColumns: ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run as checks see it. `timed` is None where no valid block was measured; None elsewhere: not kept."""

    run: Run
    timed: Timed | None
    answers: Sequence[Answer] | None
    decisions: Sequence[Any] | None


def evidence(run: Run, store: RecordStore) -> Evidence:
    """Raises: UserError: an artifact is missing or damaged; names it."""
    kept = run.artifacts
    return Evidence(
        run,
        _timed(run, store),
        read_tensors(store.get(kept["answers"])) if "answers" in kept else None,
        msgspec.json.decode(store.get(kept["predictions"]))["predictions"] if "predictions" in kept else None,
    )


def _timed(run: Run, store: RecordStore) -> Timed | None:
    if "rows" not in run.artifacts or "blocks" not in run.artifacts:
        return None
    blocks = unpack(store.rows(run.artifacts["rows"]), store.get(run.artifacts["blocks"]))
    measured = [block for block in blocks if not block.invalid and block.window.num_rows]
    if not measured:
        return None
    rows = concatenate([block.window for block in measured])
    nums = [block.window.num_rows for block in measured]
    return Timed(
        rows,
        speed_of(run.environment),
        _pace(run, store, rows),
        blocks=np.repeat([block.record.block for block in measured], nums),
        starts=np.repeat([block.record.start for block in measured], nums),
    )


def _pace(run: Run, store: RecordStore, rows: RowColumns) -> Pace | None:
    """None: the run does not remember its cores' speed, or not of both sides.

    Raises: UserError: what it remembers is damaged.
    """
    if CORE_SPEED not in run.artifacts:
        return None
    try:
        speeds = decode(store.get(run.artifacts[CORE_SPEED]))
    except ValueError as error:
        raise UserError(
            f"run {run.id}: {error}; put its artifact {CORE_SPEED} back, or record the run again"
        ) from None
    pinning = run.environment.pinning
    return pace(rows, speeds, server=pinning.get("server", ()), generator=pinning.get("generator", ()))


def speed_of(environment: Environment) -> Speed | None:
    """Pieces of the probes' fixed work a second; None where the run was not probed on both sides."""
    before, after = environment.noise_before, environment.noise_after
    if before is None or after is None or not min(before.piece_us, after.piece_us) > 0:
        return None
    return Speed(1e6 / before.piece_us, 1e6 / after.piece_us)


def unrest(environment: Environment) -> str:
    """Why a difference in times may be somebody else's doing; empty where nobody was seen."""
    seen = environment.conditions
    if seen is None:
        return ""
    words = []
    if seen.steal_share > MAX_STEAL:
        words.append(f"the host gave {seen.steal_share:.1%} of the cores' time to others")
    if (used := sum(seen.others.values())) > MAX_OTHERS:
        words.append(f"other programs used {used:.1f} cores ({', '.join(list(seen.others)[:3])})")
    if seen.throttled_ms > 0:
        words.append(f"the control group was held back for {seen.throttled_ms:g} ms")
    return "; ".join(words)
