"""What a simulation runs: the stages of one service as a server would have them, and the cores that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trivet.host import engine_cores
from trivet.pipeline.degrading import EASE
from trivet.spec.certified import CertifiedPoint
from trivet.spec.failures import Failures


@dataclass(frozen=True, slots=True)
class RemoteSetup:
    """How a remote model is called, by the names of its upstreams.

    upstreams: with their weights.  rules: without fallbacks.  last: upstreams of the fallback.  instead: who answers at once
    when the call has failed; empty: nobody.  unknown: what of it is not
    simulated.
    """

    upstreams: tuple[tuple[str, float], ...]
    rules: Failures
    last: tuple[str, ...] = ()
    instead: str = ""
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class StageSetup:
    """One stage with every lever settled. `key`: of its times in the profile.

    threads: cores that one batch uses.  deferral_ns: the longest wait on purpose.  queue_ns: the longest queueing
    time; None: as deadlines allow.  remote: of a model that another server runs: `instances` calls at once, of one row.
    """

    key: str
    kind: Literal["model", "step", "remote"] = "model"
    execution: Literal["inline", "thread", "process", "remote"] = "inline"
    instances: int = 1
    threads: int = 1
    max_batch_size: int = 1
    deferral_ns: int = 0
    queue_ns: int | None = None
    remote: RemoteSetup | None = None


@dataclass(frozen=True, slots=True)
class RungSetup:
    """A model that stands in under load. `loss`: against the one that it stands in for."""

    name: str
    stage: StageSetup
    loss: float


@dataclass(frozen=True, slots=True)
class LadderSetup:
    """What may stand in for the model at one place of the pipeline, the most accurate first: as spec/degrade.py has it."""

    place: int
    rungs: tuple[RungSetup, ...]
    max_loss: float
    window: int
    latency_ns: int | None = None  # of the SLO
    ease: float = EASE


@dataclass(frozen=True, slots=True)
class RouteSetup:
    """Two models, one of which answers a request: by their places in the pipeline.

    ways: of each of the measured inputs the place of the model that answers; empty: not measured.  decide_ns: of the event
    loop, for the router.
    """

    first: int
    last: int
    ways: tuple[int, ...]
    decide_ns: int = 0


@dataclass(frozen=True, slots=True)
class GuardSetup:
    """Of a certified cascade, one entry for each certified point, the safest first.

    exits: the place of the model behind which each measured input is answered.  lost: whether its answer there is
    another than the last model's.  delta, audit_share, seed: as of pipeline/certified.py.
    """

    points: tuple[CertifiedPoint, ...]
    exits: tuple[tuple[int, ...], ...]
    lost: tuple[tuple[bool, ...], ...]
    max_loss: float
    delta: float = 0.05
    audit_share: float = 0.02
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ExactSetup:
    """A cache of whole answers. ttl_ns: None: as long as an answer is kept."""

    ttl_ns: int | None = None
    single_flight: bool = True


@dataclass(frozen=True, slots=True)
class SemanticSetup:
    """As spec/semantic.py has it. ttl_ns: None: as long as an entry is kept."""

    max_wrong: float
    audit: float
    seed: int = 0
    size: int = 100_000
    ttl_ns: int | None = None


@dataclass(frozen=True, slots=True)
class FrontsSetup:
    """What may answer a request before its pipeline, in each worker.

    stages: places of the pipeline whose outputs are remembered, for stage_ttl_ns.
    size_bytes: of all that the exact cache and the stages keep.
    tabled: for each measured input whether a table of precomputed answers has it; empty: there is no table.
    """

    exact: ExactSetup | None = None
    semantic: SemanticSetup | None = None
    stages: tuple[int, ...] = ()
    stage_ttl_ns: int | None = None
    size_bytes: int = 0
    tabled: tuple[bool, ...] = ()

    @property
    def has_caches(self) -> bool:
        """Whether rows say that an answer was, or was not, in a cache."""
        return self.exact is not None or self.semantic is not None or bool(self.tabled)


@dataclass(frozen=True, slots=True)
class Setup:
    """A service on a server. `cores`: that the server's processes may use, all workers together.

    slo_latency_ns: None where the service promises none.
    exits: for each of the measured inputs the stage after which it was answered; empty: all pass every stage.
    ladder: what stands in for the last model under load.
    route: which of two models answers, decided before either runs; without exits.
    guard: of a certified cascade; `exits` are those of its last point.
    names: of the stages, as rows say who answered; empty: rows say nothing of it.
    fronts: what may answer before the pipeline; None: nothing.
    """

    service: str
    stages: tuple[StageSetup, ...]
    workers: int
    cores: int
    deadline_ns: int
    slo_latency_ns: int | None = None
    slo_percentile: float = 99.0
    exits: tuple[int, ...] = ()
    ladder: LadderSetup | None = None
    route: RouteSetup | None = None
    guard: GuardSetup | None = None
    names: tuple[str, ...] = ()
    fronts: FrontsSetup | None = None

    @property
    def engine_cores(self) -> int:
        """Cores that the engines of one worker may use: each worker's event loop has one; at least 1."""
        return engine_cores(self.workers, self.cores)


def passing(setup: Setup, place: int) -> float:
    """The share of requests that pass the stage at a place of the pipeline."""
    last = max((index for index, stage in enumerate(setup.stages) if stage.kind != "step"), default=-1)
    if setup.route is not None and setup.route.ways and place <= last:
        easy = setup.route.ways.count(setup.route.first) / len(setup.route.ways)
        return easy if place <= setup.route.first else 1 - easy
    if not setup.exits or place > last:
        return 1.0
    return sum(left >= place for left in setup.exits) / len(setup.exits)
