"""A try at an upstream, what becomes of it, and the commands of a call: the words of `attempts.py`."""

from dataclasses import dataclass
from typing import Literal

from trivet.pipeline.upstreams import Upstream

Why = Literal["timeout", "connection", "status", "refused", "rubbish", "request", "unavailable"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What became of a try.

    why: timeout; connection (refused, reset, closed early); status (5xx); refused (429 or 503: it is busy); rubbish (an
        answer that is none); request (4xx: any upstream would say so); unavailable: nobody could be asked.
    retry_after_ns: what it asked for, or when there is somebody again.
    """

    why: Why
    message: str
    retry_after_ns: int | None = None


@dataclass(slots=True, eq=False)
class Try:
    """One request to one upstream. `is_last`: it was asked because no own upstream could answer."""

    upstream: Upstream
    sent_ns: int
    end_ns: int
    is_probe: bool
    is_hedge: bool = False
    is_last: bool = False
    is_running: bool = True


@dataclass(frozen=True, slots=True)
class Send:
    """Command: send the request to `attempt.upstream`."""

    attempt: Try


@dataclass(frozen=True, slots=True)
class Break:
    """Command: nobody wants this try's answer any more; the driver reports nothing of it."""

    attempt: Try


@dataclass(frozen=True, slots=True)
class Answered:
    """Command: this try's answer is the call's."""

    attempt: Try


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Command: the call has failed, for this reason."""

    failure: Failure


Command = Send | Break | Answered | GaveUp
