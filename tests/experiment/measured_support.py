"""Blocks made by hand: rows whose figures can be counted on paper."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from trivet.experiment.measured import BlockRecord, CpuSample, Measured
from trivet.load.result import Generator
from trivet.spec.row import ABSENT, RowColumns, RowsHeader

MS = 1_000_000
S = 1_000_000_000


def block(
    latencies_ms: ArrayLike,
    *,
    number: int = 0,
    gap_ms: float = 1.0,
    warmup_rows: int = 0,
    outcomes: str | Sequence[str] = "ok",
    statuses: ArrayLike = 200,
    reasons: str | Sequence[str] = "",
    caches: str | Sequence[str] = "",
    answers: Sequence[bytes] | None = None,
    cpu_ns: int | None = None,
    cpu_samples: Sequence[tuple[int, int]] = (),
    pss_bytes: int | None = None,
    cost_nano: ArrayLike = ABSENT,
    invalid: str = "",
    partial: bool = False,
    start: int = 0,
) -> Measured:
    """Requests intended every `gap_ms`, the first at 1 s, each answered after its latency."""
    latencies = np.asarray(latencies_ms, np.float64)
    num = len(latencies)
    intended = S + np.round(np.arange(num) * gap_ms * MS).astype(np.int64)
    columns = {"answer": list(answers)} if answers is not None else {}
    rows = RowColumns.of(
        RowsHeader(writer="load"),
        num,
        intended_ns=intended,
        sent_ns=intended,
        done_ns=intended + np.round(latencies * MS).astype(np.int64),
        status=np.broadcast_to(np.asarray(statuses, np.int64), num).copy(),
        outcome=outcomes,
        reason=reasons,
        cache=caches,
        cost_nano=np.broadcast_to(np.asarray(cost_nano, np.int64), num).copy(),
        **columns,
    )
    measured_from = int(intended[warmup_rows]) if num > warmup_rows else S
    record = BlockRecord(
        block=number,
        seed=number,
        measured_from_ns=measured_from,
        end_ns=int(rows["done_ns"].max()) if num else S,
        generator=generator(num, invalid),
        num_rows=num,
        cpu_ns=cpu_ns,
        cpu_samples=[CpuSample(*sample) for sample in cpu_samples],
        pss_bytes=pss_bytes,
        partial=partial,
        start=start,
    )
    return Measured(record, rows)


def generator(num_sent: int, invalid: str = "") -> Generator:
    return Generator(
        num_sent=num_sent,
        num_waited=0,
        send_lag_p50_ns=0,
        send_lag_p99_ns=0,
        send_lag_max_ns=0,
        busy_share=0.1,
        cpu_share=1.0,
        invalid=invalid,
    )
