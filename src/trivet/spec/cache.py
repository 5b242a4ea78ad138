"""What is remembered of answers and of stages, so that the same is not computed twice."""

from typing import Annotated, Literal

import msgspec

from trivet.spec.units import Duration, Size

_DEFAULT_SIZE = 64 * 2**20
Text = Annotated[str, msgspec.Meta(min_length=1)]


class ExactCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers to equal requests: of one tenant, one configuration, with the same inputs and parameters, bit by bit.

    size_bytes: memory for kept answers and stages, of each worker; the least recently used go first.
    ttl_ns: how long an answer may be given again; none: as long as it is kept.
    single_flight: equal requests that come while the first of them is computed wait for its answer.
    """

    size_bytes: Size = msgspec.field(default=_DEFAULT_SIZE, name="size")
    ttl_ns: Literal["none"] | Duration = msgspec.field(default="none", name="ttl")
    single_flight: bool = True


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of the hash.

    exact: whole answers; None: only stages are remembered.
    stages: stages of the pipeline whose outputs are remembered by their inputs: names of models, or the Python targets
        of steps.
    """

    exact: ExactCache | None = None
    stages: tuple[Text, ...] = ()
