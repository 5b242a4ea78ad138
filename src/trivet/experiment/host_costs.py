"""From two short runs of a live server to what its host takes beside the engines: by subtraction, one cost after the other.

Loop: its processor time a request was L1 with batches of one, and Lb with batches of b rows on average. With r for a
request and t for a batch, L1 = r + t and Lb = r + t / b. Answers of one batch are written one after the other, so that
the k-th waits k answers: their mean gives what one answer takes. What is left of a lone request's latency, when its
phases and the loop's work are taken away, is the way and the waking.
"""

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.experiment.live_points import LivePoint
from trivet.simulate.profile import NO_LENGTH, HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.setup import Setup
from trivet.simulate.times import mean_ns

Ints = NDArray[np.int64]
_MAX_KEPT = 1000  # samples of one cost
_TRAVEL = 0.05  # quantile of a lone request's rest that is the way itself; the others had to wake somebody
_FACTORS = (
    0.8,
    1.5,
)  # a server's engine beside the same engine alone: beyond it the machine changed, not the engine


def costs_of(profile: ServiceProfile, setup: Setup, lone: LivePoint, busy: LivePoint) -> HostCosts:
    """Args: lone, busy: the nearly idle run and the full one. Points that have nothing to say leave the cost as it was."""
    stage = next((one for one in setup.stages if one.kind == "model"), setup.stages[0])
    times = profile.models[stage.key]
    inline = stage.execution == "inline"
    rows_busy, rows_lone = busy.column("batch_size"), lone.column("batch_size")
    if not len(rows_busy) or not len(rows_lone):
        return profile.host
    lone_loop = _loop_ns(lone, inline=inline)
    busy_loop = _loop_ns(busy, inline=inline)
    # Rows of a batch as a request sees them are weighted by their number: the mean over batches is the harmonic one.
    mean_rows = 1 / float((1 / rows_busy).mean())
    batch_ns = max(0.0, (lone_loop - busy_loop) / max(0.05, 1 - 1 / mean_rows)) if mean_rows > 1.2 else 0.0
    batch_ns = min(batch_ns, 0.9 * lone_loop)
    request_ns = max(1.0, busy_loop - batch_ns / mean_rows)
    answer_ns = _answer_ns(busy)
    compute = lone.column("compute_ns")
    queue = np.maximum(lone.column("queue_ns"), 0)
    hand_over = np.maximum(queue - round(batch_ns / 2), 0)
    latency = lone.column("done_ns") - lone.column("sent_ns")
    known = compute + round(request_ns + batch_ns) + (0 if inline else 1) * hand_over
    wake = np.maximum(latency - known, 0)
    return msgspec.structs.replace(
        profile.host,
        per_request_ns=[round(request_ns)],
        answer_share=float(np.clip(answer_ns / request_ns, 0.1, 0.9)) if answer_ns else 0.5,
        per_batch_ns=[round(batch_ns)],
        per_wake_ns=_kept(wake),
        travel_ns=int(np.quantile(wake, _TRAVEL)),
        hand_over_ns=_kept(hand_over) if not inline else profile.host.hand_over_ns,
        idle_factor=_factor(compute, rows_lone, times, profile),
        busy_factor=_busy_factor(busy, times, profile, inline=inline),
    )


def _loop_ns(point: LivePoint, *, inline: bool) -> float:
    """Processor time of the event loop for one request, without the batches that it ran itself."""
    compute = 0.0
    if inline:
        compute = float((point.column("compute_ns") / point.column("batch_size")).mean())
    return max(1.0, point.loop_ns / max(1, point.num_done) - compute)


def _answer_ns(point: LivePoint) -> float:
    """What one answer takes: the k-th of a batch of b waits for k others, (b - 1) / 2 of them on average."""
    ahead = float((point.column("batch_size") - 1).mean()) / 2
    return float(np.maximum(point.column("encode_ns"), 0).mean()) / ahead if ahead > 0.5 else 0.0


def _factor(compute: Ints, rows: Ints, times: ModelTimes, profile: ServiceProfile) -> float:
    """Median time of a server's batches over that of the same batches of the engine alone."""
    expected = _alone(times, profile)
    found = np.median(compute / np.array([expected(int(one)) for one in rows]))
    return float(np.clip(found, *_FACTORS))


def _busy_factor(point: LivePoint, times: ModelTimes, profile: ServiceProfile, *, inline: bool) -> float:
    """The same while requests come and go; of an engine thread by its processor time, as the loop may interrupt it."""
    rows = point.column("batch_size")
    if inline:
        return _factor(point.column("compute_ns"), rows, times, profile)
    expected = _alone(times, profile)
    alone_ns = float(np.array([expected(int(one)) / one for one in rows]).mean()) * point.num_done
    return float(np.clip(point.engine_ns / alone_ns, *_FACTORS)) if alone_ns else 1.0


def _alone(times: ModelTimes, profile: ServiceProfile) -> Callable[[int], float]:
    """Mean time of a batch of so many rows, over the lengths that requests have."""
    lengths = profile.lengths or sorted(times.samples)
    chosen = sorted(lengths)[:: max(1, len(lengths) // 32)] if lengths != [NO_LENGTH] else [NO_LENGTH]
    known: dict[int, float] = {}

    def expected(rows: int) -> float:
        if rows not in known:
            known[rows] = float(np.mean([mean_ns(times, rows, length) for length in chosen]))
        return known[rows]

    return expected


def _kept(values: Ints) -> list[int]:
    return [int(value) for value in values[:_MAX_KEPT]]
