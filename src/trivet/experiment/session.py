"""What the steps of a run share, and the offering of its load: block by block, or by a scenario."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from trivet.catalog.catalog import Catalog
from trivet.catalog.core_speed import CORE_SPEED, encode, watching
from trivet.catalog.environment import Environment
from trivet.catalog.records import RunKind
from trivet.errors import UserError
from trivet.experiment.floor import Floor
from trivet.experiment.health import MAX_KEPT_BYTES, trouble
from trivet.experiment.interleave import interleave
from trivet.experiment.measured import Measured, Weighed, measure_together
from trivet.experiment.offered import job
from trivet.experiment.passes import ask_alone
from trivet.experiment.placement import Placement
from trivet.experiment.processes import StartError
from trivet.experiment.recording import Recording
from trivet.experiment.scenario import OfScenario, run_scenario
from trivet.experiment.workload import Workload
from trivet.load.job import Job
from trivet.load.progress import Progress
from trivet.load.result import Result
from trivet.load.turns import deal
from trivet.simulate.profile import ServiceProfile

Say = Callable[[str], None]
Progressed = Callable[[str, int, Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a run is made, beside its workload.

    num_alone: inputs that are asked alone; max_labelled: rows of labelled data that are judged; 0: none.
    measure_floor: the null target is measured, too: what of a latency is the generator's own.
    profile: of the service: p99 then has a second interval, with the simulator as control variate.
    """

    command: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    kind: RunKind = "bench"
    num_alone: int = 32
    max_labelled: int = 1000
    measure_floor: bool = True
    probe_noise: bool = True
    group: str = ""
    profile: ServiceProfile | None = None


DEFAULTS = Settings()
MAX_WATCHED = 3  # of a server's cores: they share a package, and mostly a mood
NUM_WARMING = 4  # requests to a server that was started again: what only a first request pays for


@dataclass(slots=True)
class Session:
    """What the steps of a run share."""

    workload: Workload
    settings: Settings
    placement: Placement
    catalog: Catalog | None
    on_progress: Progressed
    say: Say
    environment: Environment = field(default_factory=Environment)
    recordings: list[Recording] = field(default_factory=list)
    floor: Floor | None = None
    highest_rps: float = 0.0  # of the slowest side, where it was tried
    of_scenario: OfScenario = field(default_factory=lambda: OfScenario({}))


def offer_blocks(session: Session) -> None:
    """The blocks of all sides, in turn. Of a side alone it is kept how fast the cores were meanwhile.

    Raises: UserError: a side is in trouble; what was measured until then is kept.
    """
    with _core_speed_kept(session):
        _offer_blocks(session)


def _offer_blocks(session: Session) -> None:
    by_key = {str(i): recording for i, recording in enumerate(session.recordings)}
    interleave(
        list(by_key),
        lambda order, block: dict(
            zip(order, _measured_block(session, [by_key[key] for key in order], block), strict=False)
        ),
        num_blocks=session.workload.num_blocks,
        seed=session.workload.seed,
        until_decided=session.workload.until_decided,
        num_starts=session.workload.num_starts or 1,
        restart=lambda key: _start_again(by_key[key]),
        slo_latency_ns=session.workload.slo_latency_ns,
    )


@contextlib.contextmanager
def _core_speed_kept(session: Session) -> Iterator[None]:
    """A later run of the same can then be compared with it. Sides that take turns are compared with each other."""
    is_alone_here = len(session.recordings) == 1 and session.recordings[0].side.started.server is not None
    if session.catalog is None or not is_alone_here:
        yield
        return
    placement = session.placement
    with watching({placement.generator, *spread_out(placement.server, MAX_WATCHED)}) as speeds:
        yield
    session.recordings[0].keep(CORE_SPEED, encode(speeds))


def spread_out(cores: Sequence[int], most: int) -> list[int]:
    """At most so many of the cores, from the first to the last."""
    places = np.linspace(0, len(cores) - 1, min(most, len(cores))).round().astype(int)
    return [cores[place] for place in places]


def _measured_block(session: Session, recordings: Sequence[Recording], block: int) -> list[Measured]:
    """Every side's block: in turns, or one after the other; one that was cut off is the last."""
    workload = session.workload
    jobs = [
        job(workload, block, one.side.target, one.side.requests, **_job_settings(session, one))
        for one in recordings
    ]
    if workload.turn_ns:
        duration_ns = workload.warmup_ns + workload.block_ns
        turns = deal(len(jobs), duration_ns, workload.turn_ns, workload.block_seed(block))
        jobs = [msgspec.structs.replace(one, turns=its) for one, its in zip(jobs, turns, strict=True)]
        return [measured for measured, _ in _measured(session, recordings, jobs)]
    found = []
    for recording, one in zip(recordings, jobs, strict=True):
        found.append(_measured(session, [recording], [one])[0][0])
        if found[-1].record.partial:
            break
    return found


def _start_again(recording: Recording) -> None:
    """The next start of a side, which the blocks that follow are of."""
    restart(recording)
    recording.start += 1


def restart(recording: Recording) -> None:
    """A side's server once more, in new processes that have answered a few requests.

    Raises: UserError: it does not start again, or gives no answer; names the side.
    """
    made = recording.side
    try:
        made.started.restart()
    except StartError as error:
        raise UserError(f"{made.label}: {error}") from None
    ask_alone(made, NUM_WARMING)


def offer_scenario(session: Session) -> None:
    """The loads of a scenario, each a block of the only side. Raises: UserError: as `offer_blocks`; NoKneeError."""
    (recording,) = session.recordings
    made = recording.side
    any_load = msgspec.structs.replace(session.workload, rate_rps=1.0, arrivals="constant")
    base = job(any_load, 0, made.target, made.requests, **_job_settings(session, recording))

    def offer(wanted: Job) -> Result:
        ((measured, result),) = _measured(session, [recording], [wanted])
        if measured.record.partial:
            raise KeyboardInterrupt
        return result

    session.of_scenario = run_scenario(session.workload, base, session.highest_rps, offer)


def _job_settings(session: Session, recording: Recording) -> dict[str, Any]:
    made, workload = recording.side, session.workload
    num_expected = (workload.rate_rps or 0) * (workload.block_ns + workload.warmup_ns) / 1e9
    is_kept = 0 < num_expected * recording.answer_bytes <= MAX_KEPT_BYTES
    return {
        "keep_answers": is_kept or made.streams,
        "keep_chunks": made.streams,
        "server_cores": session.placement.server if made.started.server is not None else (),
    }


def _measured(
    session: Session, recordings: Sequence[Recording], jobs: Sequence[Job]
) -> list[tuple[Measured, Result]]:
    """One more block of each side. Raises: UserError: a side is in trouble; the blocks are kept."""
    sides = [_weighed(session, recording, one) for recording, one in zip(recordings, jobs, strict=True)]
    found = measure_together(sides, session.placement.generator)
    for recording, (measured, _) in zip(recordings, found, strict=True):
        recording.blocks.append(measured)
    for recording, (measured, _) in zip(recordings, found, strict=True):
        if reason := trouble(recording.side, measured):
            raise UserError(reason)
    return found


def _weighed(session: Session, recording: Recording, wanted: Job) -> Weighed:
    made, block = recording.side, len(recording.blocks)
    return Weighed(
        job=wanted,
        processes=made.started.processes,
        on_progress=lambda progress: session.on_progress(made.label, block, progress),
        labels={
            "service": made.name,
            "configuration": made.configuration.hash if made.configuration is not None else "",
        },
        is_pinned=made.started.server is not None,
        block=block,
        start=recording.start,
    )
