"""`tune:` and `deployment:` of a service file: what the tuner may set, and what a server of its own should be started with.

    tune:
      levers: {threads: 1, max_batch_size: {at_most: 16}, deferral: default, instances: [1, 2]}
      variants: [original, int8-dynamic]
      objective: rate
      safety_margin: 10%
    deployment: {workers: 2}

Neither is a lever of the service itself, so neither is part of the hash.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from trivet.spec.fields import FieldError
from trivet.spec.levers import Count
from trivet.spec.units import Percent

Value = bool | int | float | str
Objective = Literal["rate", "latency", "cost"]

KEPT = "default"  # of a lever: not searched, kept as declared
MAX_MARGIN = 0.9


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The range of a lever, ends included. Durations as text: `at_most: 5ms`."""

    at_least: int | float | str | None = None
    at_most: int | float | str | None = None

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise FieldError((), "give `at_least`, `at_most`, or both")


LeverRule = Value | tuple[Value, ...] | Bounds


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tuner may do with a service.

    levers: by name: one value: fixed; a list: these values only; `at_least`, `at_most`: bounded; `default`: kept as
        declared. In a service of several models also `model.lever`, for one of them.
    variants: names of those that may be chosen; None: all that were built and judged.
    objective: rate: the largest within the SLO; latency: the least; cost: the least processor time a request.
    popularity: how often the service's inputs are asked for again: `even`, or `zipf:1.0` (docs/bench.md). Caches are levers
        only where it is said.
    calls: how many calls of servers elsewhere live blocks may make, all together; to be said where calls have a price.
    safety_margin: the share of the largest rate that a recommendation keeps free: `10%` or 0.1.
    """

    levers: Mapping[str, LeverRule] = {}
    variants: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] | None = None
    objective: Objective = "rate"
    safety_margin: Percent = 0.1
    popularity: str = "even"
    calls: Count | None = None

    def __post_init__(self) -> None:
        if self.safety_margin > MAX_MARGIN:
            raise FieldError(
                ("safety_margin",),
                f"safety_margin: expected a share from 0% to {MAX_MARGIN:.0%}, such as 10%, got {self.safety_margin:g}",
            )
        for name, rule in self.levers.items():
            if rule == ():
                raise FieldError(
                    ("levers", name), f"levers.{name}: an empty list; name values, or leave it out"
                )


class DeploymentHint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a server of this service is started with, where its command says nothing else.

    workers: processes that own requests; as measured by the tuner.
    """

    workers: Count
