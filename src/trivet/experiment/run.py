"""One honest measurement of one side or of several in turn: started, asked, loaded, judged and recorded.

The order: sides start, a rate is found where none is given, the machine is probed, the run is on disk; each input is asked
alone (which warms everything up), load is offered block by block, labelled data is judged, the machine is probed again.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from trivet.catalog.catalog import Catalog
from trivet.catalog.conditions import HostWatch
from trivet.catalog.environment import Environment, fingerprint, finished
from trivet.catalog.noise import probe
from trivet.catalog.records import Figure, RunState
from trivet.errors import TrivetError
from trivet.experiment.alternation import (
    alternation_text,
    may_take_turns,
    remembers,
    settled_starts,
    settled_turn_ns,
)
from trivet.experiment.figures import figures
from trivet.experiment.floor import floor_figures, floor_of
from trivet.experiment.measured import Measured, measure
from trivet.experiment.offered import needs_rate, trace_in_words
from trivet.experiment.passes import Judged, accuracy_figures, ask_alone, judge_labelled
from trivet.experiment.placement import Placement, place
from trivet.experiment.probe import NUM_USERS, comfortable_rate_rps, highest_rate_rps
from trivet.experiment.recording import Recording, draft_of
from trivet.experiment.scenario import ONE_RATE, check_scenario
from trivet.experiment.session import (
    DEFAULTS,
    Progressed,
    Say,
    Session,
    Settings,
    offer_blocks,
    offer_scenario,
)
from trivet.experiment.side import Side, side
from trivet.experiment.simulating.controlled import controlled_figure
from trivet.experiment.streams import token_figures
from trivet.experiment.target import Subject
from trivet.experiment.workload import Workload
from trivet.experiment.yardstick import is_yardstick_service, workload_of_side
from trivet.host import affinity
from trivet.load.interrupt import wish_to_stop
from trivet.load.process import offer_from

__all__ = ["Finished", "Measured", "Settings", "measure", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One side's run at its end. `run_id` is empty where nothing was kept."""

    label: str
    name: str
    run_id: str
    state: RunState
    reason: str
    figures: Mapping[str, Figure]
    blocks: Sequence[Measured]
    judged: Judged | None
    workload: Workload


def run(
    subjects: Sequence[Subject],
    workload: Workload,
    *,
    catalog: Catalog | None = None,
    settings: Settings = DEFAULTS,
    placement: Placement | None = None,
    on_progress: Progressed = lambda label, block, progress: None,
    say: Say = lambda text: None,
) -> list[Finished]:
    """Measure each subject under the workload, several in interleaved blocks; each is a run of its own in one group.

    Args: catalog: None: nothing is kept.  on_progress: is given the side's label and the block's number.
    Raises: UserError: nothing was begun: a subject that does not start, a target that is not there. What goes wrong
    later is in the state and reason of what is returned.
    """
    session = Session(workload, settings, placement or place(), catalog, on_progress, say)
    for line in trace_in_words(
        workload
    ):  # before anything is started: a trace that cannot be read is told at once
        say(line)
    with contextlib.ExitStack() as stack:
        for subject in subjects:
            if subject.is_ours:
                say(
                    f"starting {subject.text}"
                )  # takes seconds where its models are profiled for the first time
            offered = workload_of_side(workload, subject.configuration)
            made = stack.enter_context(side(subject, offered, session.placement))
            session.recordings.append(Recording(made, catalog))
        _settle_workload(session)
        _begin(session)
        watch = HostWatch((session.placement.generator, *session.placement.server), own=os.getpid())
        state, reason = _carry_out(session)
        return _finish(session, watch, state, reason)


def _settle_workload(session: Session) -> None:
    """What was left open: a rate, and what the first service promises."""
    workload, sides = session.workload, [recording.side for recording in session.recordings]
    configuration = sides[0].configuration
    if workload.slo_latency_ns is None and configuration is not None:
        slo = configuration.service.slo
        workload = msgspec.structs.replace(
            workload, slo_latency_ns=slo.latency_ns, slo_percentile=slo.percentile
        )
    check_scenario(workload, len(sides))
    if needs_rate(workload) or workload.scenario != "steady" or may_take_turns(workload, sides):
        session.highest_rps = min(_highest_rps(session, made) for made in sides)
        session.say(f"{NUM_USERS} users get {session.highest_rps:,.0f}/s")
    if needs_rate(workload) and workload.scenario == "steady":
        rate = comfortable_rate_rps(session.highest_rps)
        session.say(f"no --rate: half of that, {rate:g}/s")
        workload = msgspec.structs.replace(workload, rate_rps=rate)
    num_starts = settled_starts(workload, session.recordings)
    turn_ns = settled_turn_ns(workload, sides, session.highest_rps)
    if len(sides) > 1:
        session.say(alternation_text(num_starts, turn_ns))
    session.workload = msgspec.structs.replace(workload, num_starts=num_starts, turn_ns=turn_ns)


def _highest_rps(session: Session, made: Side) -> float:
    core = session.placement.generator
    with wish_to_stop() as wish:
        found = highest_rate_rps(
            lambda job: offer_from(core, job, stop=wish), made.target, made.requests, session.workload.seed
        )
    if wish.is_set():
        raise KeyboardInterrupt
    return found


def _begin(session: Session) -> None:
    """Look at the machine, and put the runs on disk."""
    core = session.placement.generator
    noise = probe(core) if session.settings.probe_noise else None
    keep = session.catalog.put if session.catalog is not None else None
    session.environment = fingerprint(pinning=_pinning(session), noise=noise, keep=keep)
    group = session.settings.group or (secrets.token_hex(6) if len(session.recordings) > 1 else "")
    # The yardstick first, so that the last run is what was measured by it.
    for recording in sorted(
        session.recordings, key=lambda one: not is_yardstick_service(one.side.configuration)
    ):
        recording.begin(
            draft_of(
                recording.side,
                workload_of_side(session.workload, recording.side.configuration),
                session.environment,
                command=session.settings.command,
                group=group,
                tags=session.settings.tags,
                kind=session.settings.kind,
            )
        )


def _pinning(session: Session) -> dict[str, tuple[int, ...]]:
    """Where the load generator and the servers may run; of a server elsewhere nothing is known."""
    started = [recording.side.started for recording in session.recordings]
    cores = {core for one in started if one.processes is not None for core in one.processes.cores()}
    return {
        "generator": (session.placement.generator,),
        **({"server": tuple(sorted(cores))} if cores else {}),
    }


def _carry_out(session: Session) -> tuple[RunState, str]:
    """All that is measured; how it ended, and why."""
    try:
        for recording in session.recordings:
            recording.keep_configuration()
            recording.keep_sources(workload_of_side(session.workload, recording.side.configuration))
            _ask(session, recording)
            if not remembers(recording.side.configuration):
                _judge(session, recording)
        if session.settings.measure_floor:
            with wish_to_stop() as wish:  # it takes a second or two: to the end, and no further
                session.floor = floor_of(session.recordings[0].side, session.workload, session.placement)
            if wish.is_set():
                raise KeyboardInterrupt
            session.say(str(session.floor))
        # This process waits and shows progress: not on the server's cores.
        with affinity([session.placement.generator] if not session.placement.invalid else []):
            if session.workload.scenario == "steady":
                offer_blocks(session)
            else:
                offer_scenario(session)
        for recording in session.recordings:
            if remembers(
                recording.side.configuration
            ):  # its cache would know the rows of the load from this pass
                _judge(session, recording)
    except KeyboardInterrupt:
        return "partial", "stopped with Ctrl-C"
    except TrivetError as error:
        return "failed", str(error)
    except BaseException as error:
        for recording in session.recordings:
            recording.finish("failed", {}, f"{type(error).__name__}: {error}")
        raise
    if any(measured.record.partial for recording in session.recordings for measured in recording.blocks):
        return "partial", "stopped with Ctrl-C"
    return "complete", ""


def _ask(session: Session, recording: Recording) -> None:
    """Before the load, so that whatever is wrong with the answers is known early, and everything is warm."""
    alone = ask_alone(recording.side, session.settings.num_alone)
    recording.keep("inputs", alone.inputs)
    recording.keep("answers", alone.answers)
    recording.answer_bytes = alone.mean_bytes


def _judge(session: Session, recording: Recording) -> None:
    if session.settings.max_labelled:
        recording.judged = judge_labelled(
            recording.side, session.settings.max_labelled, session.workload.split
        )
    if recording.judged is not None:
        recording.keep("predictions", recording.judged.predictions)


def _finish(session: Session, watch: HostWatch, state: RunState, reason: str) -> list[Finished]:
    noise = probe(session.placement.generator) if session.settings.probe_noise else None
    environment = finished(session.environment, watch.conditions(), noise)
    return [_finished(session, recording, environment, state, reason) for recording in session.recordings]


def _finished(
    session: Session, recording: Recording, environment: Environment, state: RunState, reason: str
) -> Finished:
    """One side's figures and its last word in the catalog."""
    valid = [measured for measured in recording.blocks if not measured.invalid]
    if state == "complete" and (why := _invalid(session, recording, len(valid))):
        state, reason = "invalid", why
    used = valid or recording.blocks
    found = {}
    if session.workload.scenario in ONE_RATE:
        found = figures(used, slo_latency_ns=session.workload.slo_latency_ns)
        found |= _controlled(session, recording, used, state)
    if recording.judged is not None:
        found |= accuracy_figures(recording.judged)
    found |= token_figures(recording.side, used)
    found |= session.of_scenario.figures
    if session.floor is not None:
        found |= floor_figures(session.floor)
    recording.finish(state, found, reason, environment)
    return Finished(
        label=recording.side.label,
        name=recording.side.name,
        run_id=recording.run_id,
        state=state,
        reason=reason,
        figures=found,
        blocks=recording.blocks,
        judged=recording.judged,
        workload=session.workload,
    )


def _controlled(
    session: Session, recording: Recording, used: Sequence[Measured], state: RunState
) -> dict[str, Figure]:
    """p99 with the simulator beside it, where that was asked for."""
    profile, configuration = session.settings.profile, recording.side.configuration
    if profile is None or configuration is None or state != "complete":
        return {}
    session.say("simulating the run's arrivals, and fresh ones")
    return controlled_figure(used[0], session.workload, configuration, profile)


def _invalid(session: Session, recording: Recording, num_valid: int) -> str:
    """Why the figures mean nothing; empty where they do. Of several blocks some may be invalid: they are left out."""
    num = len(recording.blocks)
    is_here = recording.side.started.processes is not None  # a server elsewhere shares no core with us
    if (is_here and session.placement.invalid) or session.of_scenario.invalid:
        return session.placement.invalid or session.of_scenario.invalid
    if num_valid * 2 >= max(2, num) or session.workload.scenario not in ONE_RATE:
        return ""
    reasons = [measured.invalid for measured in recording.blocks if measured.invalid]
    where = f"{num - num_valid} of {num} blocks: " if num > 1 else ""
    return where + (reasons[0] if reasons else "nothing was measured")
