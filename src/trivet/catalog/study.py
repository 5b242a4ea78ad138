"""What the catalog keeps of a study: a search over configurations that ends with a front and a recommendation.

Records accept unknown fields, and each new field has a default: old readers, new writers. A study is saved again after
every trial, so that whatever happens the trials before it are whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from trivet.catalog.environment import Environment
from trivet.catalog.records import Figure, RunState

Objective = Literal["rate", "latency", "cost"]
TrialStage = Literal["default", "screened", "verified", "failed"]
BlockKind = Literal["reference", "limit", "promise"]
Matters = Literal["yes", "no", "cannot tell"]


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for, and what must hold.

    objective: rate: the largest rate within the SLO; latency: the least at the reference rate; cost: the least processor
        time a request there, or the least price where calls to other servers are paid.
    accuracy_floor: the worst acceptable value of `metric` (for mae and rmse a ceiling).
    accuracy_drop: how much worse it may get than the default's, on the same rows.
    throughput_rps: that must be answered within the SLO.
    safety_margin: the share of the largest rate that is kept free: a configuration promises (1 - margin) of it.
    currency: of paid calls to other servers; empty: there are none.
    """

    objective: Objective = "rate"
    slo_latency_ns: int
    slo_percentile: float = 99.0
    accuracy_floor: float | None = None
    accuracy_drop: float | None = None
    metric: str | None = None
    throughput_rps: float | None = None
    safety_margin: float = 0.1
    currency: str = ""


class LeverRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A lever that was searched. name: `threads`, or `model.threads` where a service has several models.

    kind: serving: the same answers whatever its value; answers: its values change answers.
    """

    name: str
    values: list[Any]
    default: Any
    kind: Literal["serving", "answers"]
    why: str = ""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A lever, or one of its values, that was not searched, and why."""

    name: str
    why: str


class TrialBlock(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one live block.

    kind: reference: at the study's reference rate; limit: near the largest rate within the SLO; promise: at the rate that
        would be promised.
    rate_rps: offered.  values: by figure name; `slo_latency_ms` is the latency at the SLO's percentile.
    invalid: why it says nothing of the configuration.
    at_limit_ms: what a block of this length sees of that latency at the largest rate, as simulated; slope: how far the
        largest rate is when it sees another, both on a log scale. None: the SLO's, and the slope of a long run.
    limit_error: standard error of the log of the largest rate, from that simulation.
    """

    block: int
    kind: BlockKind = "limit"
    rate_rps: float
    values: dict[str, float]
    run: str = ""
    invalid: str = ""
    at_limit_ms: float | None = None
    slope: float | None = None
    limit_error: float = 0.0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration. predicted: by simulation, corrected by what live runs showed when it was last looked at.

    Figures: max_rate_rps, latency_p50_ms and latency_p99_ms (at the study's reference rate), accuracy,
    accuracy_difference (minus the default's, on the same rows), cpu_ms_per_request, memory_mib, and
    cost_per_million where calls to other servers are paid.
    """

    id: int
    levers: dict[str, Any]
    variant: str
    configuration_hash: str
    workers: int
    stage: TrialStage
    predicted: dict[str, Figure] = {}
    measured: dict[str, Figure] = {}
    runs: list[str] = []
    reason: str = ""
    blocks: list[TrialBlock] = []


class LeverEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What changing one lever, or two together, does to a figure: effect is a ratio. from_to: [from, to] of each lever."""

    levers: tuple[str, ...]
    from_to: list[Any]
    figure: str
    effect: Figure
    matters: Matters


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen trial.

    binding: the constraint that decides where nothing meets all.  yaml: the text of configuration.yaml.
    """

    trial: int
    meets: bool
    binding: str = ""
    reasons: list[str] = []
    uncertainty: str = ""
    runner_up: int | None = None
    would_change: list[str] = []
    not_tried: list[str] = []
    yaml: str = ""


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a study. Dates: ISO 8601, UTC. `id` and `begun` are given by the catalog.

    base: the declared service, as builtins; base_hash: its configuration's.  reference_rate_rps: where latencies are
    compared; 0 until it is known.  trials: the default (id 0), all that ran, and the best that were only screened.
    front: ids.  variants: as they were judged, as builtins.  profile: service times, as builtins.
    spent_ns: by stage.  num_screened: configurations that were simulated.
    """

    id: str = ""
    service: str
    state: RunState = "running"
    begun: str = ""
    ended: str | None = None
    reason: str = ""
    seed: int = 0
    budget_ns: int
    spent_ns: dict[str, int] = {}
    goal: Goal
    reference_rate_rps: float = 0.0
    environment: Environment = Environment()
    dataset: dict[str, Any] = {}
    base: dict[str, Any] = {}
    base_hash: str = ""
    levers: list[LeverRecord] = []
    left_out: list[LeftOut] = []
    trials: list[Trial] = []
    num_screened: int = 0
    front: list[int] = []
    hypervolume: Figure | None = None
    effects: list[LeverEffect] = []
    recommendation: Recommendation | None = None
    variants: list[dict[str, Any]] = []
    profile: dict[str, Any] = {}
    notes: list[str] = []
    command: list[str] = []
    writer: str = ""


class StudySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A study as a list shows it."""

    id: str
    service: str
    state: RunState
    begun: str
    ended: str | None
    reason: str
    objective: Objective
    num_trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFilter:
    """Which studies; every condition that is given must hold. Newest first. limit: None: all."""

    service: str | None = None
    states: Sequence[RunState] = ()
    limit: int | None = None


EVERY_STUDY = StudyFilter()
