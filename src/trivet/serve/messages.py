"""What supervisor and workers say to each other: tagged structs in MessagePack, over a socket pair."""

from typing import Any, Literal

import msgspec

from trivet.spec.configuration import Configuration
from trivet.spec.deployment import Limits, Statuses


class Served(msgspec.Struct, frozen=True):
    """One configuration's share of the traffic of a service version."""

    configuration: Configuration
    share: float = 1.0


class ServedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service version and its live configurations. `default_version`: it also answers the path without a version."""

    name: str
    version: str
    entries: tuple[Served, ...]
    default_version: bool = True


# --- supervisor to worker ---


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests get rows: the drawn `share`, slow and failed ones, and with `traces` those whose caller has one."""

    share: float
    traces: bool


class KnownTenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as workers know it: of its key only the digest. Budgets in 1e-9 of the currency; None: no such one."""

    name: str
    key_sha256: str
    soft_nano: int | None = None
    hard_nano: int | None = None

    @property
    def has_budget(self) -> bool:
        return self.soft_nano is not None or self.hard_nano is not None


class Start(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """The first message: load these, then open the sockets."""

    services: tuple[ServedService, ...]
    limits: Limits
    statuses: Statuses
    default_deadline_ns: Literal["auto"] | int
    drain_timeout_ns: int
    sampling: Sampling | None = None
    tenants: tuple[KnownTenant, ...] = ()
    cache_url: str | None = None


class SetLive(msgspec.Struct, tag=True, frozen=True):
    """Replace the live configurations of a service version; those that are not live yet are loaded first."""

    id: int
    service: ServedService


class Remove(msgspec.Struct, tag=True, frozen=True):
    """Stop serving a service version; requests that wait are answered first."""

    id: int
    name: str
    version: str


class AskSnapshot(msgspec.Struct, tag=True, frozen=True):
    """Answer with a `Reply` that holds counters and state."""

    id: int


class Forwarded(msgspec.Struct, tag=True, frozen=True):
    """The supervisor's answer to a `Forward`."""

    id: int
    status: int
    body: bytes


class Drain(msgspec.Struct, tag=True, frozen=True):
    """Answer what has been accepted, then exit."""


ToWorker = Start | SetLive | Remove | AskSnapshot | Forwarded | Drain

# --- worker to supervisor ---


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The sockets are open. `summaries`: a line for each service."""

    summaries: tuple[str, ...]


class StartFailed(msgspec.Struct, tag=True, frozen=True):
    """The worker cannot serve what it was given; it exits."""

    error: str


class Said(msgspec.Struct, tag=True, frozen=True):
    """A line for the log."""

    text: str


class Reply(msgspec.Struct, tag=True, frozen=True):
    """The answer to a message with an id; `error` is empty where it was carried out."""

    id: int
    result: Any = None
    error: str = ""


class Forward(msgspec.Struct, tag=True, frozen=True):
    """A client's request on the data plane that only the supervisor can answer for all workers."""

    id: int
    method: str
    path: tuple[str, ...]
    body: bytes


ToSupervisor = Ready | StartFailed | Said | Reply | Forward
