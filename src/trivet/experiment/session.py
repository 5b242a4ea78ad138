"""What the steps of a run share, and the offering of its load: block by block, or by a scenario."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.records import RunKind
from trivet.errors import UserError
from trivet.experiment.floor import Floor
from trivet.experiment.health import MAX_KEPT_BYTES, trouble
from trivet.experiment.interleave import interleave
from trivet.experiment.measured import Measured, measure_result
from trivet.experiment.offered import job
from trivet.experiment.placement import Placement
from trivet.experiment.recording import Recording
from trivet.experiment.scenario import OfScenario, run_scenario
from trivet.experiment.workload import Workload
from trivet.load.job import Job
from trivet.load.progress import Progress
from trivet.load.result import Result
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
    """The blocks of all sides, in turn.

    Raises: UserError: a side is in trouble; what was measured until then is kept.
    """
    by_key = {str(i): recording for i, recording in enumerate(session.recordings)}

    def measured(key: str, block: int) -> Measured:
        made = by_key[key].side
        settings = _job_settings(session, by_key[key])
        return _measured(
            session, by_key[key], job(session.workload, block, made.target, made.requests, **settings)
        )[0]

    interleave(
        list(by_key),
        measured,
        num_blocks=session.workload.num_blocks,
        seed=session.workload.seed,
        until_decided=session.workload.until_decided,
    )


def offer_scenario(session: Session) -> None:
    """The loads of a scenario, each a block of the only side. Raises: UserError: as `offer_blocks`; NoKneeError."""
    (recording,) = session.recordings
    made = recording.side
    any_load = msgspec.structs.replace(session.workload, rate_rps=1.0, arrivals="constant")
    base = job(any_load, 0, made.target, made.requests, **_job_settings(session, recording))

    def offer(wanted: Job) -> Result:
        measured, result = _measured(session, recording, wanted)
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


def _measured(session: Session, recording: Recording, wanted: Job) -> tuple[Measured, Result]:
    """One more block of a side. Raises: UserError: the side is in trouble; the block is kept."""
    made, block = recording.side, len(recording.blocks)
    measured, result = measure_result(
        wanted,
        block=block,
        processes=made.started.processes,
        is_pinned=made.started.server is not None,
        core=session.placement.generator,
        on_progress=lambda progress: session.on_progress(made.label, block, progress),
        labels={
            "service": made.name,
            "configuration": made.configuration.hash if made.configuration is not None else "",
        },
    )
    recording.blocks.append(measured)
    reason = trouble(made, measured)
    if reason:
        raise UserError(reason)
    return measured, result
