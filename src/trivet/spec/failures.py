"""What happens when a stage fails: how long it may take, when it is tried again, and who answers instead.

All of it is part of the configuration's hash, but for addresses: a repair changes answers, or what they cost.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from trivet.spec.fields import FieldError
from trivet.spec.units import Duration, Percent

Count = Annotated[int, msgspec.Meta(ge=1)]
MS = 1_000_000


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """budget: retries, as a share of the requests; what is over it is not tried again, so that an upstream in trouble
        gets at most so much more to do.
    max: of one request.
    backoff_ns: the mean pause before the first retry; doubled for each one after it, and drawn anew each time.
    timeout_ns: what one try may take; None: as long as the stage may.
    """

    budget: Percent = 0.1
    max: Count = 2
    backoff_ns: Duration = msgspec.field(default=10 * MS, name="backoff")
    timeout_ns: Duration | None = msgspec.field(default=None, name="timeout")


class HedgeRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second try while the first one still runs; the first answer counts, and the other try is broken off.

    after: the percentile of recent answers' times after which the second one is sent, or a duration.
    budget: hedges, as a share of the requests.
    Source: Dean & Barroso, The Tail at Scale (2013).
    """

    after: Literal["p90", "p95", "p99"] | Duration = "p95"
    budget: Percent = 0.02


class BreakerRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an upstream is left alone, and for how long.

    failures: so many in a row open the breaker.
    rate: so does this share of failures among the latest `window` tries.
    open_ns: how long it gets nothing; then probes. Doubled each time that a probe fails, up to `max_open_ns`.
    probes: so many good probes, one at a time, close it again.
    """

    failures: Count = 5
    rate: Percent = 0.5
    window: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 50
    open_ns: Duration = msgspec.field(default=1000 * MS, name="open")
    max_open_ns: Duration = msgspec.field(default=30_000 * MS, name="max_open")
    probes: Count = 2


class Fallback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who answers instead: exactly one of these.

    upstream: the address of a server that is asked only when none of the model's own can be.
    model: another model, which takes inputs of the same names and gives the same outputs. An earlier one of the
        pipeline is not run again: what it gave is kept.
    stale: an older answer of a cache to the same request.
    answer: a fixed one: for each output of the stage one row's values, flat.
    """

    upstream: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    model: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    stale: bool = False
    answer: Mapping[str, tuple[int | float | str | bool, ...]] | None = None

    def __post_init__(self) -> None:
        if sum((self.upstream is not None, self.model is not None, self.stale, self.answer is not None)) != 1:
            raise FieldError((), "a fallback is exactly one of upstream, model, stale: true, answer")

    @property
    def name(self) -> str:
        """What answers, metrics and rows call it, behind `fallback:`."""
        return self.model or ("upstream" if self.upstream else "stale" if self.stale else "answer")


class Failures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one model stage.

    timeout_ns: what the stage may take, all tries together, inside the request's deadline; None: what that leaves.
    retry, hedge, breaker: of a remote model.
    fallback: who is asked when the stage has failed, one after the other.
    """

    timeout_ns: Duration | None = msgspec.field(default=None, name="timeout")
    retry: RetryRule | None = None
    hedge: HedgeRule | None = None
    breaker: BreakerRule | None = None
    fallback: tuple[Fallback, ...] = ()


def failures_content(failures: Failures, order: Sequence[str]) -> dict[str, Any]:
    """What the configuration's hash covers: not where a fallback's upstream is.

    Args: order: of the models, which are known by their places in it.
    """
    content: dict[str, Any] = msgspec.to_builtins(failures)
    for one in content["fallback"]:
        one["upstream"] = one["upstream"] is not None
        one["model"] = one["model"] and order.index(one["model"])
    return content
