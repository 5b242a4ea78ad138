"""Figures of a run, each with its interval, or with the reason why it has none. All of them come from the rows.

A figure without an interval is never hidden and never made up: `verdict` says what is missing.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.experiment.making_figures import CONFIDENCE, MIN_PARTS, interval_figure, mean_figure, plain_figure
from trivet.experiment.measured import Measured
from trivet.experiment.sections import rates, sections_of, shares
from trivet.spec.row import ABSENT
from trivet.stats.errors import TooFewError
from trivet.stats.interval import Interval
from trivet.stats.percentile import percentile_ns
from trivet.stats.quantile_interval import quantile_interval
from trivet.stats.steady_state import mser5

PERCENTILES = {
    "latency_p50_ms": 0.5,
    "latency_p95_ms": 0.95,
    "latency_p99_ms": 0.99,
    "latency_p999_ms": 0.999,
}
NS_PER_S, NS_PER_MS, MIB = 1e9, 1e6, 2**20
_NANO, _MILLION = 1e9, 1e6


def figures(
    blocks: Sequence[Measured], *, slo_latency_ns: int | None = None, confidence: float = CONFIDENCE
) -> dict[str, Figure]:
    """The figures of one side's blocks together: latency, rates, shares, processor time, memory.

    Args: slo_latency_ns: what goodput and attainment are counted by; None: every result counts.
    """
    found = latency_figures(blocks, confidence)
    sections = [part for measured in blocks for part in sections_of(measured, len(blocks), slo_latency_ns)]
    if sections:
        found |= rates(sections, confidence) | shares(sections, confidence)
    found |= _processor(blocks, confidence)
    found |= _memory(blocks, confidence)
    found |= _cost(blocks, confidence)
    found |= _hits(blocks, confidence)
    return found


def latency_figures(blocks: Sequence[Measured], confidence: float = CONFIDENCE) -> dict[str, Figure]:
    """Percentiles of the latencies of results, warm-up cut off; of all blocks one after the other."""
    # Blocks that were interleaved are short, and each has a warm-up of its own: cutting them again by a rule that
    # needs a long series would only throw some of them away.
    cut = steady_part if len(blocks) < MIN_PARTS else whole_part
    steady = [cut(measured) for measured in blocks]
    latencies = np.concatenate([part.latencies_ns for part in steady]) if steady else np.array([], np.int64)
    intended = np.concatenate([part.intended_ns for part in steady]) if steady else np.array([], np.int64)
    if not len(latencies):
        return {}
    is_steady = all(part.reached for part in steady)
    note = _note(blocks, is_steady)
    return {
        name: percentile_figure(latencies, intended, p, confidence=confidence, note=note, is_steady=is_steady)
        for name, p in PERCENTILES.items()
    }


class Steady:
    """Latencies of results after the warm-up, in the order of intended times; `reached`: they settled."""

    __slots__ = ("intended_ns", "latencies_ns", "reached")

    def __init__(
        self, latencies_ns: NDArray[np.int64], intended_ns: NDArray[np.int64], reached: bool
    ) -> None:
        self.latencies_ns, self.intended_ns, self.reached = latencies_ns, intended_ns, reached


def whole_part(measured: Measured) -> Steady:
    """The results of a block after the warm-up that was declared."""
    window = measured.window
    answered = window.words["outcome"].equal("ok", "late")
    return Steady(window.latency_ns()[answered], window["intended_ns"][answered], reached=True)


def steady_part(measured: Measured) -> Steady:
    """What is left of a block when MSER-5 has cut its warm-up; all of it where latencies never settled."""
    whole = whole_part(measured)
    if not len(whole.latencies_ns):
        return whole
    try:
        state = mser5(np.log(np.maximum(whole.latencies_ns, 1)))
    except TooFewError:
        return whole  # so few that no interval is promised either
    start = state.start if state.reached else 0
    return Steady(whole.latencies_ns[start:], whole.intended_ns[start:], state.reached)


def percentile_figure(
    latencies_ns: NDArray[np.int64],
    intended_ns: NDArray[np.int64] | None,
    p: float,
    *,
    confidence: float = CONFIDENCE,
    note: str = "",
    is_steady: bool = True,
) -> Figure:
    """In milliseconds, of at least one time in the order of sends; without an interval where that is refused."""
    estimate = percentile_ns(latencies_ns, p) / NS_PER_MS
    if not is_steady:
        return plain_figure(estimate, "ms", note)
    try:
        found = quantile_interval(latencies_ns, p, confidence=confidence, intended_ns=intended_ns)
    except TooFewError as error:
        return plain_figure(estimate, "ms", "; ".join(filter(None, (f"no interval: {error}", note))))
    scaled = Interval(found.estimate / NS_PER_MS, found.low / NS_PER_MS, found.high / NS_PER_MS)
    return interval_figure(scaled, "ms", note)


def _note(blocks: Sequence[Measured], is_steady: bool) -> str:
    notes = []
    if not is_steady:
        notes.append(
            "no interval: latencies did not settle within the first half; measure longer or offer less"
        )
    windows = [measured.window for measured in blocks]
    num = sum(window.num_rows for window in windows)
    failed = num - sum(int(window.words["outcome"].equal("ok", "late").sum()) for window in windows)
    if failed:
        notes.append(f"of results only: {failed} of {num} requests got none")
    return "; ".join(notes)


def _processor(blocks: Sequence[Measured], confidence: float) -> dict[str, Figure]:
    """Processor time of the server a request; its spread from blocks, or from the moments of one block."""
    known = [measured.record for measured in blocks if measured.record.cpu_ns is not None]
    num_sent = sum(record.generator.num_sent for record in known)
    if not num_sent:
        return {}
    total = sum(record.cpu_ns or 0 for record in known) / num_sent / NS_PER_MS
    parts = [
        (record.cpu_ns or 0) / record.generator.num_sent / NS_PER_MS
        for record in known
        if record.generator.num_sent
    ]
    if len(known) < MIN_PARTS:
        parts = [
            cost for record in known for cost in _costs([(s.num_done, s.cpu_ns) for s in record.cpu_samples])
        ]
    return {"cpu_ms_per_request": mean_figure(parts, "ms", confidence, low=0.0, estimate=total)}


def _costs(samples: Sequence[tuple[int, int]]) -> list[float]:
    """Milliseconds a request between each two moments in which something was answered."""
    steps = [(n2 - n1, c2 - c1) for (n1, c1), (n2, c2) in pairwise(samples)]
    return [cpu_ns / num / NS_PER_MS for num, cpu_ns in steps if num > 0]


def _cost(blocks: Sequence[Measured], confidence: float) -> dict[str, Figure]:
    """What a million results cost by the service's prices, where it has any: engines' time and calls."""
    parts = []
    for measured in blocks:
        nano = measured.window["cost_nano"]
        known = nano[nano != ABSENT]
        if len(known):
            parts.append(float(known.mean()) / _NANO * _MILLION)
    return {"cost_per_million": mean_figure(parts, "", confidence, low=0.0)} if parts else {}


def _hits(blocks: Sequence[Measured], confidence: float) -> dict[str, Figure]:
    """The share of requests that a cache or table answered; nothing where none was asked."""
    outcomes = [measured.window.words["cache"] for measured in blocks if measured.window.num_rows]
    if all(words.equal("").all() for words in outcomes):
        return {}
    shares = [float((~words.equal("", "miss")).mean()) for words in outcomes]
    return {"hit_share": mean_figure(shares, "share", confidence, low=0.0)}


def _memory(blocks: Sequence[Measured], confidence: float) -> dict[str, Figure]:
    """Memory of the server's processes, what they share counted once (PSS)."""
    readings = [
        record.pss_bytes / MIB for record in (m.record for m in blocks) if record.pss_bytes is not None
    ]
    if not readings:
        return {}
    if len(readings) < MIN_PARTS:
        return {"memory_mib": plain_figure(max(readings), "MiB", "read once, at the end")}
    return {"memory_mib": mean_figure(readings, "MiB", confidence, low=0.0)}
