"""A whole server in virtual time: what is measured of a live one comes out, on arrivals that are given.

The scheduler, its service-time prediction and the chain of stages are the server's own; only time, engines and sockets are
made up, from the profile. Requests go to the workers in turn, as connections are spread over them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trivet.pipeline.degrading import DEGRADED
from trivet.simulate.asked import EVENLY, Asked, items_of
from trivet.simulate.auditing import SimulatedAudits
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.fronts import Costs, SimulatedFronts
from trivet.simulate.hiccups import HeldUp, Hiccups, drawn_again
from trivet.simulate.host import Host
from trivet.simulate.lateness import Lateness
from trivet.simulate.pace import Pace
from trivet.simulate.profile import HostCosts, ServiceProfile
from trivet.simulate.record import (
    DROPPED,
    FAILED,
    OK,
    REFUSED,
    UNANSWERED,
    UNAVAILABLE,
    UPSTREAM,
    Simulated,
    gathered,
)
from trivet.simulate.remote import NOTHING_TOLD, Told
from trivet.simulate.setup import Setup
from trivet.simulate.stages import StageUse, stages_of
from trivet.simulate.worker import Worker
from trivet.spec.row import ABSENT, CACHE_OUTCOMES, RowColumns, RowsHeader, Words

__all__ = ["NotProfiledError", "Slo", "drawn_lengths", "rows_of", "simulate_service", "simulated"]

Ints = NDArray[np.int64]

# What the live server answers: one that is ready after its deadline becomes an error.
_OUTCOMES = {
    OK: ("ok", 200, ""),
    REFUSED: ("refused", 429, "deadline"),
    DROPPED: ("dropped", 504, "deadline"),
    FAILED: ("failed", 504, "deadline"),
    UNANSWERED: ("unanswered", 0, ""),
    UPSTREAM: ("failed", 502, "upstream"),
    UNAVAILABLE: ("refused", 503, "unavailable"),
}


@dataclass(frozen=True, slots=True)
class Slo:
    """Of a run: of its requests from the `first` on so many, at most, may take longer than the budget."""

    budget_ns: int
    most_late: int
    first: int = 0


def simulate_service(
    profile: ServiceProfile,
    setup: Setup,
    arrivals_ns: Ints,
    lengths: Ints | None = None,
    *,
    seed: int,
    asked: Asked = EVENLY,
) -> RowColumns:
    """One run as rows, the same that a live run has.

    Args: arrivals_ns: shape (n,), ascending: when each request is sent.  lengths: the length bucket of each, where the
    first model has free sizes; None: drawn from the profile's.  asked: which inputs they carry.
    Raises: NotProfiledError: the profile does not cover it; says what is missing.
    """
    run = simulated(profile, setup, arrivals_ns, lengths, rng=np.random.default_rng(seed), asked=asked)
    return rows_of(run, setup)


def simulated(
    profile: ServiceProfile,
    setup: Setup,
    arrivals_ns: Ints,
    lengths: Ints | None = None,
    *,
    rng: np.random.Generator,
    resample: bool = False,
    most_waiting: int | None = None,
    slo: Slo | None = None,
    asked: Asked = EVENLY,
) -> Simulated:
    """The same as arrays.

    Args: resample: the profile is taken as the sample that it is, and drawn again.  most_waiting: a worker where more
    requests wait ends there: the others get no answer; None: all end.  slo: a run that can keep it no more ends likewise.
    asked: which of the measured inputs requests carry: what caches know, where exits stand and which way a route goes
        depend on it.
    """
    reason = profile.covers(setup, [] if lengths is None or not len(lengths) else [int(lengths.max())])
    if reason:
        raise NotProfiledError(f"not simulated: {reason}; profile it first")
    items = items_of(profile, setup, asked, len(arrivals_ns), rng)
    if lengths is None:
        lengths = drawn_lengths(profile, setup, len(arrivals_ns), rng, items)
    exits = np.array(setup.exits if setup.route is None else setup.route.ways, np.int64)
    inputs = _inputs(len(exits), asked.items if items is None else items, len(arrivals_ns), rng)
    exits_of = None if inputs is None else exits[inputs]
    host = Host(profile.host, rng, resample=resample)
    paces = _paces(profile.host, rng) if resample else profile.host.paces
    hiccups, generator = _hiccups(profile.host, rng, resample=resample)
    sent_ns = generator.in_turn(arrivals_ns)
    there_ns = host.travel_ns // 2
    lateness = None
    if slo is not None:
        from_ns = int(sent_ns[slo.first]) + there_ns if slo.first < len(arrivals_ns) else 0
        lateness = Lateness(slo.budget_ns - host.travel_ns, slo.most_late, from_ns)
    fronts_of = partial(_fronts, profile, setup, asked, items, sent_ns, host.answer_ns)
    records, guards, used, busy_ns = [], [], list[StageUse](), 0.0
    for index in range(setup.workers):
        mine = slice(index, None, setup.workers)
        guard = None if inputs is None else _audits(setup, inputs[mine])
        guards += [] if guard is None else [guard]
        stages = stages_of(profile, setup, rng, resample=resample)
        worker = Worker(
            stages,
            host,
            Pace(paces, profile.host.pace_ns, rng.spawn(1)[0]),
            Hiccups(hiccups, profile.host.observed_ns, rng),
            setup.cores / setup.workers,
            setup.deadline_ns,
            None if exits_of is None else exits_of[mine],
            setup.route,
            guard,
            fronts_of(mine),
        )
        arrived = (sent_ns[mine] + there_ns).tolist()
        its_lengths = None if lengths is None else lengths[mine].tolist()
        records.append(worker.run(arrived, its_lengths, most_waiting, lateness))
        busy_ns += worker.busy_ns
        used += stages.used()
    if len(arrivals_ns):
        busy_ns += profile.host.housekeeping * float(arrivals_ns[-1] - arrivals_ns[0])
    run = gathered(arrivals_ns, records, setup.workers, host.travel_ns - there_ns, busy_ns)
    read_ns = np.where(run.outcome == UNANSWERED, run.done_ns, generator.until(run.done_ns))
    return replace(run, done_ns=read_ns, guards=guards, used=used)


def _hiccups(
    costs: HostCosts, rng: np.random.Generator, *, resample: bool
) -> tuple[list[tuple[int, int]], HeldUp]:
    """Those of the server's core, and the core that sends and reads; how many were seen was chance."""
    server, generator, observed_ns = costs.hiccups, costs.generator_hiccups, costs.observed_ns
    if resample:
        server, generator = (drawn_again(record, observed_ns, rng) for record in (server, generator))
    return server, HeldUp(generator, observed_ns, rng)


def _paces(costs: HostCosts, rng: np.random.Generator) -> list[list[float]]:
    """Those of one run: its machine has a speed of its own, and which stretches were recorded was chance."""
    speed = float(rng.choice(costs.speeds)) if costs.speeds else 1.0
    drawn = rng.integers(len(costs.paces), size=len(costs.paces)).tolist() if costs.paces else []
    return [[speed * factor for factor in costs.paces[place]] for place in drawn] or [[speed]]


def _inputs(num_known: int, items: Ints | None, num: int, rng: np.random.Generator) -> Ints | None:
    """Which of the rows that exits or a route were measured with each request is; None: there are none."""
    if not num_known:
        return None
    found: Ints = items % num_known if items is not None else rng.integers(num_known, size=num)
    return found


def _audits(setup: Setup, inputs: Ints) -> SimulatedAudits | None:
    if setup.guard is None:
        return None
    last = max(place for place, stage in enumerate(setup.stages) if stage.kind != "step")
    first = min(place for place, stage in enumerate(setup.stages) if stage.kind != "step")
    return SimulatedAudits(setup.guard, inputs.tolist(), first, last)


def _fronts(
    profile: ServiceProfile,
    setup: Setup,
    asked: Asked,
    items: Ints | None,
    arrivals_ns: Ints,
    answer_ns: int,
    mine: slice,
) -> SimulatedFronts | None:
    """Of one worker. Args: mine: its requests."""
    if setup.fronts is None or profile.fronts is None or items is None:
        return None
    costs = Costs(profile.fronts, answer_ns)
    fronts = SimulatedFronts(setup.fronts, profile.fronts, costs, items[mine], arrivals_ns[mine])
    if setup.fronts.exact is not None:
        fronts.know(profile.fronts.keys[: asked.num_known][mine])
    return fronts


def drawn_lengths(
    profile: ServiceProfile, setup: Setup, num: int, rng: np.random.Generator, items: Ints | None = None
) -> Ints | None:
    """The length bucket of each request, as the measured inputs have them; None where the first model has none."""
    models = [stage for stage in setup.stages if stage.kind == "model"]
    known = sorted(profile.models[models[0].key].samples) if models else [0]
    if known == [0]:
        return None
    pool = np.array(profile.lengths or known, np.int64)
    return _of_items(pool, items, num, rng)


def _of_items(values: Ints, items: Ints | None, num: int, rng: np.random.Generator) -> Ints:
    """A measured value for each request: of its input, where that is known, else of one that is drawn."""
    found: Ints = (
        values[items % len(values)] if items is not None else values[rng.integers(len(values), size=num)]
    )
    return found


def rows_of(run: Simulated, setup: Setup) -> RowColumns:
    """One row for each request; the first byte of an answer is its last."""
    is_known, ran = run.outcome != UNANSWERED, run.batch_began_ns >= 0
    codes, is_hit = run.outcome.astype(np.int32), run.is_hit()
    words, statuses, reasons = zip(*(_OUTCOMES[code] for code in range(len(_OUTCOMES))), strict=True)
    num, calls = len(run.intended_ns), _calls(run)
    left_queue_ns = np.where(ran, run.batch_began_ns, run.done_ns)
    return RowColumns.of(
        RowsHeader(writer="trivet simulate", clock="virtual"),
        num,
        intended_ns=run.intended_ns,
        sent_ns=run.intended_ns,
        first_byte_ns=np.where(is_known, run.done_ns, ABSENT),
        done_ns=run.done_ns,
        status=np.array(statuses, np.int64)[codes],
        outcome=Words(codes, words),
        reason=Words(codes, reasons),
        parse_ns=ABSENT,
        queue_ns=np.where((run.offered_ns >= 0) & (codes != REFUSED), left_queue_ns - run.offered_ns, ABSENT),
        compute_ns=np.where(
            ran & (codes != DROPPED), run.batch_ended_ns - run.batch_began_ns, np.where(is_hit, 0, ABSENT)
        ),
        batch_size=np.where(ran & (codes != DROPPED), run.batch_rows, 0),
        cache=Words(run.cache.astype(np.int32), CACHE_OUTCOMES),
        service=setup.service,
        exit=_exits(run, setup),
        instead=Words.of([one.instead for one in calls], num)
        if calls
        else Words(np.where(ran & (codes == OK), run.rung, 0).astype(np.int32), _instead(setup)),
        upstream=Words.of([one.upstream for one in calls] if calls else "", num),
        attempts=np.array([one.attempts for one in calls], np.int64) if calls else ABSENT,
    )


def _calls(run: Simulated) -> list[Told]:
    """What is told of each request's call; nothing at all where no server was asked."""
    if not run.calls:
        return []
    return [run.calls.get(place, NOTHING_TOLD) for place in range(len(run.intended_ns))]


def _exits(run: Simulated, setup: Setup) -> Words:
    """Which model answered, where a route or an exit decides that."""
    if run.left is None or not setup.names:
        return Words(np.zeros(len(run.intended_ns), np.int32), ("",))
    return Words(np.where(run.outcome == OK, run.left + 1, 0).astype(np.int32), ("", *setup.names))


def _instead(setup: Setup) -> tuple[str, ...]:
    """What rows say of each rung; nothing of the model as declared."""
    rungs = () if setup.ladder is None else setup.ladder.rungs
    return ("", *(f"{DEGRADED}{rung.name}" for rung in rungs))
