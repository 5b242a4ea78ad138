"""From short runs of a live server to what its host takes beside the engines: by subtraction, one cost after the other.

Loop: its processor time a request was L1 with batches of one, and Lb with batches of b rows on average, awake in both.
With r for a request and t for a batch, L1 = r + t and Lb = r + t / b. Answers of one batch are written one after the
other, so that the k-th waits k answers: their mean gives what one answer takes. What is left of the latency of a user's
only request, when its phases and the loop's work are taken away, is the way there and back; what a request takes longer
that finds everybody asleep is the waking.

What a pause has made cold grows with the pause, as 1 - exp(-pause / cooling): requests that came after pauses of all lengths
tell how fast.

How much longer a batch takes in the server than alone is a ratio of two times, and a machine that is shared may change by
as much from one second to the next: both are measured in turn, in rounds, and the ratio is that of each round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.experiment.simulating.live_points import LivePoint, together
from trivet.simulate.profile import COOLING_NS, NO_LENGTH, HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.setup import Setup
from trivet.simulate.times import median_ns

Ints = NDArray[np.int64]
_MAX_KEPT = 1000  # samples of one cost
_COOLINGS = (1.0, 2.0, 0.5, 4.0, 0.25, 8.0)  # times the usual one, the likelier ones first
_LEAST_COLD = 0.2  # on average: of less nothing is told of what all would be
_LEAST_POWER = 1e-6
_MOST_HELD_UP = (
    0.1  # of the ways: on a machine that is held up for longer they say little, and the profile notes it
)
_TRAVEL = 0.05  # quantile of a request's rest that is the way itself; the others had to wake somebody
_FACTORS = (
    0.5,
    5.0,
)  # a server's engine beside the same engine alone: beyond it the machine changed, not the engine


@dataclass(frozen=True, slots=True)
class LivePoints:
    """One round. lone: each request finds the server asleep.  one: a user who waits for each answer.  full: many of them.
    alone: times of the engines just before and after, by key, as in ServiceProfile.models."""

    lone: LivePoint
    one: LivePoint
    full: LivePoint
    alone: Mapping[str, ModelTimes]


def costs_of(
    profile: ServiceProfile, setup: Setup, rounds: Sequence[LivePoints], held_up: float = 0.0
) -> HostCosts:
    """Rounds with a point that has nothing to say are left out; without any, costs are as they were.

    Args: held_up: share of the time in which a core did not run, the server's and the load generator's together: so many
        ways there and back, the longest, are no matter of waking, and hiccups have a record of their own.
    """
    rounds = [
        points
        for points in rounds
        if all(len(point.column("batch_size")) for point in (points.lone, points.one, points.full))
    ]
    if not rounds:
        return profile.host
    stage = next((one for one in setup.stages if one.kind == "model"), setup.stages[0])
    inline = stage.execution == "inline"
    lones, ones, fulls = zip(*((points.lone, points.one, points.full) for points in rounds), strict=True)
    one, full = together(ones), together(fulls)
    alone = [_alone(points.alone[stage.key], profile) for points in rounds]
    steps_ns = sum(_alone(profile.models[one.key], profile)(1) for one in setup.stages if one.kind == "step")
    request_ns, batch_ns = _loop_work(one, full, steps_ns, inline=inline)
    answer_ns = _answer_ns(full)
    hand_over = np.zeros(1, np.int64) if inline else _hand_over(one, batch_ns)
    known_ns = round(request_ns + batch_ns + steps_ns) + int(np.median(hand_over))
    waking = _waking(one, lones, known_ns)
    lone_ns = _loop_ns(together(lones), steps_ns, inline=inline)
    busy, idle = _factor(ones, alone, inline=inline), _factor(lones, alone, inline=True)
    return msgspec.structs.replace(
        profile.host,
        per_request_ns=[round(request_ns)],
        answer_share=float(np.clip(answer_ns / request_ns, 0.1, 0.9)) if answer_ns else 0.5,
        per_batch_ns=[round(batch_ns)],
        per_wake_ns=_kept(_calm(waking.long, held_up)),
        short_wake_ns=_kept(_calm(waking.short, held_up)),
        travel_ns=int(np.quantile(waking.short, _TRAVEL)),
        wake_core_ns=max(0, round((lone_ns - request_ns - batch_ns) / waking.cold)),
        cooling_ns=waking.cooling_ns,
        hand_over_ns=profile.host.hand_over_ns if inline else _kept(hand_over),
        idle_factor=float(np.clip(busy + max(0.0, idle - busy) / waking.cold, *_FACTORS)),
        busy_factors={
            _usual_rows(one): busy,
            _usual_rows(full): _factor(fulls, alone, inline=inline),
        },
    )


@dataclass(frozen=True, slots=True)
class _Waking:
    """short, long: what is left of a request's time beside its work, when everything is warm and when all is cold, in ns.
    cooling_ns: as in HostCosts.  cold: how cold the nearly idle server was on average, of 1."""

    short: Ints
    long: Ints
    cooling_ns: int
    cold: float


def _waking(one: LivePoint, lones: Sequence[LivePoint], known_ns: int) -> _Waking:
    """Args: known_ns: of the loop, in each request."""
    pauses = [_pauses(point) for point in lones]
    cooling_ns = _cooling_ns(lones, pauses)
    every = np.concatenate(pauses)
    found_idle = every > 0 if every.any() else np.ones(len(every), bool)  # the others waited for each other
    short, rest = (
        np.maximum(_latency(point) - point.column("compute_ns") - known_ns, 0)
        for point in (one, together(lones))
    )
    rest, cold = rest[found_idle], _cold(every[found_idle], cooling_ns)
    usual = max(_LEAST_COLD, float(cold.mean()))
    # Each of the nearly idle server's requests as it would have been after a pause that leaves nothing warm.
    colder_ns = max(0.0, float(np.median(rest) - np.median(short))) / usual
    return _Waking(short, np.asarray(rest + (1 - cold) * colder_ns, np.int64), cooling_ns, usual)


def _pauses(point: LivePoint) -> Ints:
    """For how long the server had nothing to do before each request; 0 where it had. Of the first nobody knows: the mean."""
    order = np.argsort(point.column("sent_ns"), kind="stable")
    sent, done = point.column("sent_ns")[order], np.maximum.accumulate(point.column("done_ns")[order])
    pauses = np.maximum(sent[1:] - done[:-1], 0)
    found = np.zeros(len(order), np.int64)
    found[order] = [round(float(pauses.mean())) if len(pauses) else COOLING_NS, *pauses]
    return found


def _cold(pauses_ns: Ints, cooling_ns: float) -> NDArray[np.float64]:
    return np.asarray(-np.expm1(-pauses_ns / cooling_ns), np.float64)


def _cooling_ns(points: Sequence[LivePoint], pauses: Sequence[Ints]) -> int:
    """The time that explains best how much longer requests took after longer pauses; each round has a level of its own."""
    latencies = [np.log(np.maximum(_latency(point), 1)) for point in points]
    # A hiccup is no matter of pauses.
    latencies = [np.minimum(one, np.median(one) + np.log(2)) for one in latencies]
    y = np.concatenate([one - one.mean() for one in latencies])

    def left(cooling_ns: float) -> float:
        x = np.concatenate([(cold := _cold(one, cooling_ns)) - cold.mean() for one in pauses])
        power = float(x @ x)
        slope = max(0.0, float(x @ y) / power) if power > _LEAST_POWER * len(x) else 0.0
        return float(np.sum((y - slope * x) ** 2))

    coolings = [factor * COOLING_NS for factor in _COOLINGS]
    best: float = min(coolings, key=left)
    return round(best)


def _loop_work(one: LivePoint, full: LivePoint, steps_ns: float, *, inline: bool) -> tuple[float, float]:
    """Core time of the loop for a request and for a batch, while it is awake."""
    single, shared = _loop_ns(one, steps_ns, inline=inline), _loop_ns(full, steps_ns, inline=inline)
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


def _loop_ns(point: LivePoint, steps_ns: float, *, inline: bool) -> float:
    """Processor time of the event loop for one request, without the steps and the batches that it ran itself."""
    compute = steps_ns
    if inline:
        compute += float((point.column("compute_ns") / point.column("batch_size")).mean())
    return max(1.0, point.loop_ns / max(1, point.num_done) - compute)


def _answer_ns(point: LivePoint) -> float:
    """What one answer takes: the k-th of a batch of b waits for k others, (b - 1) / 2 of them on average."""
    ahead = float((point.column("batch_size") - 1).mean()) / 2
    return float(np.maximum(point.column("encode_ns"), 0).mean()) / ahead if ahead > 0.5 else 0.0


def _usual_rows(point: LivePoint) -> int:
    """Rows of the server's usual batch."""
    return round(1 / float((1 / point.column("batch_size")).mean()))


def _factor(points: Sequence[LivePoint], alone: Sequence[Callable[[int], float]], *, inline: bool) -> float:
    """A batch's time in the server over that of the same batch of the engine alone: the geometric mean over rounds.

    Of an engine thread by its processor time, as the loop may interrupt it; of the inline ones by their median.
    """
    ratio = _inline_ratio if inline else _thread_ratio
    logs = [np.log(ratio(point, expected)) for point, expected in zip(points, alone, strict=True)]
    return float(np.clip(np.exp(np.mean(logs)), *_FACTORS))


def _inline_ratio(point: LivePoint, expected: Callable[[int], float]) -> float:
    times = np.maximum(point.column("compute_ns"), 1)
    return float(np.median(times / np.array([expected(int(rows)) for rows in point.column("batch_size")])))


def _thread_ratio(point: LivePoint, expected: Callable[[int], float]) -> float:
    rows = point.column("batch_size")
    alone_ns = float(np.array([expected(int(one)) / one for one in rows]).mean()) * point.num_done
    return max(1, point.engine_ns) / alone_ns


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


def _calm(values: Ints, held_up: float) -> Ints:
    """Without that share of them, the largest."""
    return values[values <= np.quantile(values, 1 - min(held_up, _MOST_HELD_UP), method="lower")]


def _kept(values: Ints) -> list[int]:
    return [int(value) for value in values[:_MAX_KEPT]]
