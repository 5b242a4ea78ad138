"""Counts and times of one model in one worker: plain integers and arrays, read when somebody asks."""

import time
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trivet.runtime.request import Request

# parse: first byte read -> offered to the scheduler; queue: -> its batch is formed; batch_wait: -> the engine starts
# (building the batch, handing it over); compute: -> the engine is done; encode: writing this answer.
PHASES = ("parse", "queue", "batch_wait", "compute", "encode")
# Upper bounds of the phase histograms in seconds: a factor of 2 from 10 us on, as tails need relative precision.
BOUNDS_S = tuple(1e-5 * 2**i for i in range(21))
_BOUNDS_NS: NDArray[np.float64] = np.array(BOUNDS_S) * 1e9
# Samples are kept as they come and counted many at a time: appending costs a tenth of finding a bucket.
_FLUSH_AT = 5 * 1024


class PhaseTimes:
    """Histograms of every phase, in `BOUNDS_S` buckets of which the last is +Inf, and the phases' sums.

    `pending`: one request's phases after the other, in the order of `PHASES`; whoever adds flushes in time.
    """

    __slots__ = ("_counts", "_sums_ns", "pending")

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros((len(PHASES), len(BOUNDS_S) + 1), np.int64)
        self._sums_ns: NDArray[np.int64] = np.zeros(len(PHASES), np.int64)
        self.pending = array("q")

    def snapshot(self) -> dict[str, Any]:
        self.flush()
        return {
            phase: {"counts": self._counts[i].tolist(), "sum_ns": int(self._sums_ns[i])}
            for i, phase in enumerate(PHASES)
        }

    def flush(self) -> None:
        if not self.pending:
            return
        values = np.array(self.pending, np.int64).reshape(-1, len(PHASES))
        self.pending = array("q")
        self._sums_ns += values.sum(axis=0)
        found = np.searchsorted(_BOUNDS_NS, values, side="left")
        for i in range(len(PHASES)):
            self._counts[i] += np.bincount(found[:, i], minlength=self._counts.shape[1])


class ModelCounters:
    """What the metrics and the statistics extension tell of one model."""

    def __init__(self) -> None:
        self.success = 0
        self.failed: dict[str, int] = {}
        self.rows = 0
        self.executions = 0
        self.retried = 0  # requests of failed batches, run a second time alone
        self.last_inference_ms = 0
        self.success_ns = 0
        self.fail_ns = 0
        self.compute_ns = 0
        self.phases = PhaseTimes()
        self.by_batch_size: dict[int, list[int]] = {}
        self.predicted_ns = 0
        self.actual_ns = 0
        self.first_chunks = 0
        self.first_chunk_ns = 0

    def answered(self, request: "Request", encode_from_ns: int, done_ns: int) -> None:
        self.success += 1
        self.success_ns += done_ns - request.received_ns
        pending = self.phases.pending
        pending.extend(
            (
                request.arrival_ns - request.received_ns,
                request.formed_ns - request.arrival_ns,
                request.started_ns - request.formed_ns,
                request.ended_ns - request.started_ns,
                done_ns - encode_from_ns,
            )
        )
        if len(pending) >= _FLUSH_AT:
            self.phases.flush()

    def fail(self, reason: str, duration_ns: int) -> None:
        self.failed[reason] = self.failed.get(reason, 0) + 1
        self.fail_ns += duration_ns

    def first_chunk(self, duration_ns: int) -> None:
        """A streaming answer began so long after its request's first byte."""
        self.first_chunks += 1
        self.first_chunk_ns += duration_ns

    def batch(self, rows: int, compute_ns: int, predicted_ns: int) -> None:
        self.executions += 1
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.rows += rows
        self.compute_ns += compute_ns
        self.predicted_ns += predicted_ns
        self.actual_ns += compute_ns
        sizes = self.by_batch_size.get(rows)
        if sizes is None:
            sizes = self.by_batch_size[rows] = [0, 0]
        sizes[0] += 1
        sizes[1] += compute_ns

    def snapshot(self) -> dict[str, Any]:
        return {
            "success": self.success,
            "failed": self.failed,
            "rows": self.rows,
            "executions": self.executions,
            "retried": self.retried,
            "last_inference_ms": self.last_inference_ms,
            "success_ns": self.success_ns,
            "fail_ns": self.fail_ns,
            "compute_ns": self.compute_ns,
            "phases": self.phases.snapshot(),
            "by_batch_size": self.by_batch_size,
            "predicted_ns": self.predicted_ns,
            "actual_ns": self.actual_ns,
            "first_chunks": self.first_chunks,
            "first_chunk_ns": self.first_chunk_ns,
        }
