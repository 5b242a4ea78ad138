"""From short runs of a live server to what its host takes beside the engines: by subtraction, one cost after the other.

Loop: its processor time a request was L1 with batches of one, and Lb with batches of b rows on average, awake in both.
With r for a request and t for a batch, L1 = r + t and Lb = r + t / b. Answers of one batch are written one after the
other, so that the k-th waits k answers: their mean gives what one answer takes. What is left of the latency of a user's
only request, when its phases and the loop's work are taken away, is the way there and back; what a request takes longer
that finds everybody asleep is the waking.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.experiment.simulating.live_points import LivePoint
from trivet.simulate.profile import NO_LENGTH, HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.setup import Setup
from trivet.simulate.times import median_ns

Ints = NDArray[np.int64]
_MAX_KEPT = 1000  # samples of one cost
_TRAVEL = 0.05  # quantile of a request's rest that is the way itself; the others had to wake somebody
_FACTORS = (
    0.5,
    5.0,
)  # a server's engine beside the same engine alone: beyond it the machine changed, not the engine


@dataclass(frozen=True, slots=True)
class LivePoints:
    """lone: each request finds the server asleep.  one: a user who waits for each answer.  full: many of them."""

    lone: LivePoint
    one: LivePoint
    full: LivePoint


def costs_of(profile: ServiceProfile, setup: Setup, points: LivePoints) -> HostCosts:
    """Points that have nothing to say leave the costs as they were."""
    stage = next((one for one in setup.stages if one.kind == "model"), setup.stages[0])
    times, inline = profile.models[stage.key], stage.execution == "inline"
    lone, one, full = points.lone, points.one, points.full
    if not all(len(point.column("batch_size")) for point in (lone, one, full)):
        return profile.host
    request_ns, batch_ns = _loop_work(one, full, inline=inline)
    answer_ns = _answer_ns(full)
    hand_over = np.zeros(1, np.int64) if inline else _hand_over(one, batch_ns)
    known_ns = round(request_ns + batch_ns) + int(np.median(hand_over))
    short, long = (
        np.maximum(_latency(point) - point.column("compute_ns") - known_ns, 0) for point in (one, lone)
    )
    return msgspec.structs.replace(
        profile.host,
        per_request_ns=[round(request_ns)],
        answer_share=float(np.clip(answer_ns / request_ns, 0.1, 0.9)) if answer_ns else 0.5,
        per_batch_ns=[round(batch_ns)],
        per_wake_ns=_kept(long),
        short_wake_ns=_kept(short),
        travel_ns=int(np.quantile(short, _TRAVEL)),
        wake_core_ns=max(0, round(_loop_ns(lone, inline=inline) - request_ns - batch_ns)),
        hand_over_ns=profile.host.hand_over_ns if inline else _kept(hand_over),
        idle_factor=_factor(lone, times, profile, inline=True)[1],
        busy_factors=dict(
            [_factor(one, times, profile, inline=inline), _factor(full, times, profile, inline=inline)]
        ),
    )


def _loop_work(one: LivePoint, full: LivePoint, *, inline: bool) -> tuple[float, float]:
    """Core time of the loop for a request and for a batch, while it is awake."""
    single, shared = _loop_ns(one, inline=inline), _loop_ns(full, inline=inline)
    # Rows of a batch as a request sees them are weighted by their number: the mean over batches is the harmonic one.
    mean_rows = 1 / float((1 / full.column("batch_size")).mean())
    batch_ns = 0.0
    if mean_rows > 1.2:
        batch_ns = min(max(0.0, (single - shared) / (1 - 1 / mean_rows)), 0.9 * single)
    return max(1.0, shared - batch_ns / mean_rows), batch_ns


def _hand_over(point: LivePoint, batch_ns: float) -> Ints:
    """From forming a batch to the beginning of the engine."""
    return np.maximum(point.column("queue_ns") - round(batch_ns), 0)


def _latency(point: LivePoint) -> Ints:
    return point.column("done_ns") - point.column("sent_ns")


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


def _factor(
    point: LivePoint, times: ModelTimes, profile: ServiceProfile, *, inline: bool
) -> tuple[int, float]:
    """Rows of the server's usual batch, and its time over that of the same batch of the engine alone.

    Of an engine thread by its processor time, as the loop may interrupt it; of the inline ones by their median.
    """
    rows, expected = point.column("batch_size"), _alone(times, profile)
    usual = round(1 / float((1 / rows).mean()))
    if inline:
        ratios = point.column("compute_ns") / np.array([expected(int(one)) for one in rows])
        return usual, float(np.clip(np.median(ratios), *_FACTORS))
    alone_ns = float(np.array([expected(int(one)) / one for one in rows]).mean()) * point.num_done
    return usual, float(np.clip(point.engine_ns / alone_ns, *_FACTORS))


def _alone(times: ModelTimes, profile: ServiceProfile) -> Callable[[int], float]:
    """Mean time of a batch of so many rows, over the lengths that requests have."""
    lengths = profile.lengths or sorted(times.samples)
    chosen = sorted(lengths)[:: max(1, len(lengths) // 32)] if lengths != [NO_LENGTH] else [NO_LENGTH]
    known: dict[int, float] = {}

    def expected(rows: int) -> float:
        if rows not in known:
            known[rows] = float(np.mean([median_ns(times, rows, length) for length in chosen]))
        return known[rows]

    return expected


def _kept(values: Ints) -> list[int]:
    return [int(value) for value in values[:_MAX_KEPT]]
