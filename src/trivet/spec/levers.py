"""The levers of one model, the goals and rules of one service. `auto` is decided on the host that serves."""

from typing import Annotated, Literal

import msgspec

from trivet.errors import SpecError
from trivet.spec.accuracy_drop import parse_drop
from trivet.spec.fields import FieldError
from trivet.spec.units import Duration

Auto = Literal["auto"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Levers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one model is run. Every lever can be pinned; left alone, it is decided from a profile.

    threads: cores that one batch uses inside the engine.
    instances: copies of the engine that run at the same time and share one queue.
    execution: where a batch runs: in the event loop, in a thread, or (Python code only) in its own process.
    max_batch_size: rows of the largest batch that is run; a client's larger batch is split.
    deferral_ns: longest wait on purpose for a larger batch; used only where service times say that it pays.
    graph_optimization: how far onnxruntime rewrites the graph at load.
    spinning: engine threads burn a core while they wait for work: lower latency, all of the core.
    queue_ns: longest time that a request may wait before it is refused; auto: as its deadline allows.
    """

    threads: Auto | Count = "auto"
    instances: Auto | Count = "auto"
    execution: Literal["auto", "inline", "thread", "process"] = "auto"
    max_batch_size: Auto | Count = "auto"
    deferral_ns: Duration = msgspec.field(default=0, name="deferral")
    graph_optimization: Literal["all", "extended", "basic", "off"] = "all"
    spinning: bool = False
    queue_ns: Auto | Duration = msgspec.field(default="auto", name="queue")


class Slo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the service promises.

    percentile: the share of requests, in percent, that must be answered within `latency_ns`.
    latency_ns: the budget at that percentile, from the intended send to the last byte.
    deadline_ns: after this a request is worthless: it is refused or dropped, never answered late. A
        request's own timeout comes first. auto: max(100 ms, 4 times the profiled time of a batch of one).
    accuracy: the worst acceptable value of `metric`: a floor; for mae and rmse, where less is better, a
        ceiling.
    accuracy_drop: how much worse `metric` may get than that of the service as declared, on the same rows: `2 points`.
    throughput: requests a second that must be answered within the budget.
    """

    percentile: Annotated[float, msgspec.Meta(gt=0, lt=100)] = 99.0
    latency_ns: Duration | None = msgspec.field(default=None, name="latency")
    deadline_ns: Auto | Duration = msgspec.field(default="auto", name="deadline")
    accuracy: float | None = None
    accuracy_drop: float | str | None = None
    throughput: Annotated[float, msgspec.Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        if self.accuracy_drop is not None:
            try:
                msgspec.structs.force_setattr(self, "accuracy_drop", parse_drop(self.accuracy_drop))
            except SpecError as error:
                raise FieldError(("accuracy_drop",), str(error)) from None

    @property
    def most_drop(self) -> float | None:
        return None if self.accuracy_drop is None else float(self.accuracy_drop)


class Priorities(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Classes of requests: 1 is the most urgent, `levels` the least; a request that names none has `default`.

    min_share: the share of the service's capacity that each class keeps while others crowd it out.
    """

    default: Count = 2
    levels: Count = 3
    min_share: Share = 0.05
