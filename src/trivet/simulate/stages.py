"""The stages of a simulated worker: models as its scheduler knows them, and the short steps between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivet.pipeline.chain import Chain
from trivet.schedule import Job, Model, Queue, Scheduler, ServiceTime
from trivet.simulate.profile import NO_LENGTH, ServiceProfile
from trivet.simulate.remote import SimulatedRemote
from trivet.simulate.setup import LadderSetup, Setup, StageSetup
from trivet.simulate.times import BucketTimes, StageTimes, mean_ns, seeds

LOWEST = 100  # as in runtime/auditing.py


class SimulatedRequest(Job):
    """One request in virtual time. `place`: in the order of arrival; `stage`: index among the model stages."""

    __slots__ = ("end_by_ns", "place", "stage")

    def __init__(self, queue: Queue, arrival_ns: int, deadline_ns: int, place: int, end_by_ns: int) -> None:
        # Job.__init__, written out: a call less for every request
        self.queue = queue
        self.rows = 1
        self.arrival_ns = arrival_ns
        self.deadline_ns = deadline_ns
        self.state = 0
        self.place = place
        self.stage = 0
        self.end_by_ns = end_by_ns


@dataclass(frozen=True, slots=True)
class Step:
    """A short Python step in the event loop."""

    expected: int
    times: BucketTimes
    place: int  # in the pipeline

    def expected_ns(self) -> int:
        return self.expected


class ModelStage:
    """A model stage. `steps`: between it and the next model, or its answer.  spare_ns: kept for what follows it.
    known: times by queue.  busy_ns: of its engines, until now.  is_rung: one of a ladder (simulate/degrading.py).
    remote: calls to another server."""

    __slots__ = (
        "_scheduler",
        "_times",
        "busy_factors",
        "busy_ns",
        "expected",
        "inline",
        "is_last",
        "is_rung",
        "known",
        "model",
        "place",
        "queues",
        "remote",
        "spare_ns",
        "steps",
        "threads",
    )

    def __init__(
        self, scheduler: Scheduler, model: Model, times: StageTimes, setup: StageSetup, expected: int
    ) -> None:
        self._scheduler = scheduler
        self.model = model
        self.inline = setup.execution == "inline"
        self.threads = setup.threads
        self.expected = expected
        self.place = 0  # in the pipeline
        self.spare_ns = 0
        self.busy_ns = 0
        self.busy_factors: list[float] = []  # of the host, by rows
        self.is_last = False  # its results are the answer
        self.is_rung = False
        self.remote: SimulatedRemote | None = None
        self.steps: list[Step] = []
        self.queues: dict[int, Queue] = {}
        self.known: dict[Queue, BucketTimes] = {}
        self._times = times

    def expected_ns(self) -> int:
        return self.expected

    @property
    def has_lengths(self) -> bool:
        return self._times.has_lengths

    def low_queue(self, length: int) -> Queue:
        """Behind everything else: of audits."""
        queue = self._scheduler.queue(self.model, length or None, LOWEST)
        self.known.setdefault(queue, self._times.bucket(length))
        return queue

    def queue(self, length: int) -> Queue:
        queue = self.queues.get(length)
        if queue is None:
            queue = self.queues[length] = self._scheduler.queue(self.model, length or None)
            self.known[queue] = self._times.bucket(length)
        return queue


@dataclass(frozen=True, slots=True)
class StageUse:
    """What is paid of one model, by its place in the pipeline. core_ns: of its engines; calls elsewhere take none.

    num_tries: of its calls.  num_answered: calls that were answered.
    """

    place: int
    core_ns: int
    num_tries: int = 0
    num_answered: int = 0


@dataclass(frozen=True, slots=True)
class Stages:
    """`first`: steps before the first model.  rungs: who may answer for the last model, itself the first."""

    scheduler: Scheduler
    first: Sequence[Step]
    models: Sequence[ModelStage]
    rungs: Sequence[ModelStage] = ()
    ladder: LadderSetup | None = None

    def used(self) -> list[StageUse]:
        """What each model has taken until now, those that stand in included."""
        found = []
        for stage in dict.fromkeys((*self.models, *self.rungs)):
            remote = stage.remote
            if remote is None:
                found.append(StageUse(stage.place, stage.busy_ns * stage.threads))
            else:
                found.append(StageUse(stage.place, 0, remote.num_tries, remote.num_answered))
        return found


def stages_of(
    profile: ServiceProfile,
    setup: Setup,
    rng: np.random.Generator,
    *,
    resample: bool = False,
) -> Stages:
    """A worker's stages, its scheduler seeded as by the server's own profile at load.

    Args: resample: of the realised times, not of what the scheduler expects.
    """
    scheduler = Scheduler(setup.engine_cores)

    def make(stage: StageSetup, place: int) -> ModelStage | Step:
        times = StageTimes(profile.models[stage.key], stage.max_batch_size, rng, resample=resample)
        longest = max(profile.models[stage.key].samples)
        expected = round(mean_ns(profile.models[stage.key], 1, longest))
        if stage.kind == "step" and stage.execution == "inline":
            return Step(expected, times.bucket(NO_LENGTH), place)
        found = _model_stage(profile, stage, scheduler, times, expected)
        if stage.remote is not None:
            found.remote = SimulatedRemote(
                stage.remote, profile.remotes[stage.key], rng, setup.workers, stage.key
            )
        return found

    made = [make(stage, place) for place, stage in enumerate(setup.stages)]
    ladder_setup = setup.ladder
    rungs = (
        [] if ladder_setup is None else [make(one.stage, ladder_setup.place) for one in ladder_setup.rungs]
    )
    declared = None if setup.ladder is None else made[setup.ladder.place]
    # Before the ladder's stage only as much time is kept for it as the quickest there needs.
    quickest = min([declared, *rungs], key=lambda one: one.expected) if declared else None
    chain = Chain([quickest if quickest and one is declared else one for one in made])
    first: list[Step] = []
    models: list[ModelStage] = []
    for index, one in enumerate(made):
        if isinstance(one, ModelStage):
            one.place = index
            one.spare_ns = -chain.run(index, 0).deadline_ns
            if setup.exits:
                one.spare_ns = _rest_ns(made, index, setup.exits)
            elif setup.route is not None:  # whoever comes to the first model stays there
                way = setup.route.first if index <= setup.route.first else setup.route.last
                one.spare_ns = _rest_ns(made, index, [way])
            models.append(one)
        else:
            (models[-1].steps if models else first).append(one)
    models[-1].is_last = not models[-1].steps
    ladder = () if declared is None else _ladder(declared, rungs)
    return Stages(scheduler, first, models, ladder, setup.ladder)


def _ladder(declared: ModelStage | Step, stand_ins: Sequence[ModelStage | Step]) -> list[ModelStage]:
    """A model and what may stand in for it, with what follows that one."""
    found = [one for one in (declared, *stand_ins) if isinstance(one, ModelStage)]
    for rung in found:
        rung.place, rung.spare_ns = found[0].place, found[0].spare_ns
        rung.is_last, rung.steps, rung.is_rung = found[0].is_last, found[0].steps, True
    return found


def _rest_ns(made: Sequence[ModelStage | Step], index: int, exits: Sequence[int]) -> int:
    """What is kept for the stages behind `index`, each weighted by the share of those here that gets there.

    A server learns the shares from the rows that it decides; here they are those of the measured inputs.
    """
    last = max(place for place, one in enumerate(made) if isinstance(one, ModelStage))
    here = [place for place in exits if place >= index] or [last]
    rest_ns = 0.0
    for place in range(index + 1, len(made)):
        share = 1.0 if place > last else sum(one >= place for one in here) / len(here)
        rest_ns += share * made[place].expected_ns()
    return round(rest_ns)


def _model_stage(
    profile: ServiceProfile, stage: StageSetup, scheduler: Scheduler, times: StageTimes, expected: int
) -> ModelStage:
    service_time = ServiceTime(stage.max_batch_size)
    for length, samples in seeds(profile.models[stage.key], stage.max_batch_size).items():
        service_time.seed(length, samples)
    model = scheduler.add_model(
        stage.key,
        max_batch_size=stage.max_batch_size,
        service_time=service_time,
        cores=0 if stage.execution in ("inline", "remote") else min(stage.threads, scheduler.num_cores),
        instances=stage.instances,
        deferral_ns=stage.deferral_ns,
        max_queue_ns=stage.queue_ns,
        elsewhere=stage.remote is not None,
    )
    return ModelStage(scheduler, model, times, stage, expected)
