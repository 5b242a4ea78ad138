"""One job of the load generator: what to offer to whom. It crosses a process as JSON."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from trivet.errors import SpecError
from trivet.load.arrivals import Arrivals
from trivet.load.seeds import check_purposes
from trivet.load.turns import Turns

NS_PER_MS = 1_000_000

Count = Annotated[int, Meta(ge=1)]
Duration = Annotated[int, Meta(ge=0)]


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One payload. In JSON, `body` is base64."""

    path: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: bytes = b""


class OpenLoop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="open"):
    """Requests leave when the arrival process says, whatever comes back: the loop for latency claims."""

    arrivals: Arrivals


class ClosedLoop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="closed"):
    """Users who wait for their answers: the loop for maxima.

    Each sends `group` requests at once, and waits for the answers to all of them. It ends with the time, but not
    before `min_requests`, or with `max_requests`.
    """

    num_users: Count
    duration_ns: Annotated[int, Meta(gt=0)]
    think_ns: Duration = 0
    min_requests: Annotated[int, Meta(ge=0)] = 0
    max_requests: Count = 2_000_000
    group: Count = 1

    def __post_init__(self) -> None:
        if self.min_requests > self.max_requests:
            raise SpecError(f"min_requests {self.min_requests} is over max_requests {self.max_requests}")


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to offer to whom.

    `order`: payloads drawn at random, or one after the other. `zipf`: the exponent of their popularity where they are
    drawn; 0: each is as popular as any other (popularity.py). `warmup_ns`: requests intended before it has
    passed are recorded, and not measured. `deadline_ns`: after the intended time; an answer past it is late.
    `max_send_lag_ns`: a run whose sends left later than this at the 99th percentile is invalid.
    `seeds`: by purpose (see seeds.py), instead of what follows from `seed`. `server_cores`: of a server on this
    machine; a run whose generator may run on one of them is invalid. `keep_answers`: their bodies, in the rows.
    `server_processes`: ids of those whose processor time is told with the progress.
    `keep_chunks`: when how much of each body was there, in the result: the times of an answer that is a stream.
    `turns`: of an open loop that is offered beside others (turns.py): all instants in the result are those of the load by
    itself, without the others' turns.
    """

    target: str
    requests: Annotated[list[HttpRequest], Meta(min_length=1)]
    load: OpenLoop | ClosedLoop
    seed: Annotated[int, Meta(ge=0)]
    order: Literal["random", "sequence"] = "random"
    zipf: Annotated[float, Meta(ge=0)] = 0.0
    warmup_ns: Duration = 0
    timeout_ns: Annotated[int, Meta(gt=0)] = 5000 * NS_PER_MS
    deadline_ns: Annotated[int, Meta(gt=0)] | None = None
    min_connections: Count = 32
    max_connections: Count = 512
    keep_answers: bool = False
    max_send_lag_ns: Annotated[int, Meta(gt=0)] = NS_PER_MS
    seeds: dict[str, Annotated[int, Meta(ge=0)]] = {}
    server_cores: tuple[int, ...] = ()
    server_processes: tuple[int, ...] = ()
    keep_chunks: bool = False
    turns: Turns | None = None

    def __post_init__(self) -> None:
        check_purposes(list(self.seeds))
        if self.turns is not None and not isinstance(self.load, OpenLoop):
            raise SpecError("users who wait for their answers cannot be offered in turns: an open loop can")
        if self.min_connections > self.max_connections:
            raise SpecError(
                f"min_connections {self.min_connections} is over max_connections {self.max_connections}"
            )
