"""What is sent to an upstream, what is read from its answer, and what a failed try was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.engine.contract import Tensors
from trivet.errors import TrivetError
from trivet.spec.signature import Signature
from trivet.wire.v2_client import error_text

Outputs = dict[str, NDArray[Any]]
Tokens = tuple[int, int]  # of the input and of the output
Why = Literal["timeout", "connection", "status", "refused", "rubbish", "request"]


class TryError(TrivetError):
    """A try failed; see `pipeline.tries.Failure` for the words.

    retry_after_ns: what the upstream asked for.
    """

    def __init__(self, why: Why, message: str, retry_after_ns: int | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.retry_after_ns = retry_after_ns


@dataclass(frozen=True, slots=True)
class Asking:
    """One request, whichever upstream gets it. path: behind its address.

    rows: that the answer must have; None: not counted in rows.
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    streams: bool = False
    rows: int | None = None


class Told(NamedTuple):
    """What an upstream has answered, or a part of it. tokens: as it counts them; 0 where it does not say."""

    outputs: Outputs
    tokens: Tokens = (0, 0)


class Dialect(Protocol):
    """One model, as an upstream's protocol speaks of it."""

    @property
    def signature(self) -> Signature: ...

    def asking(self, inputs: Tensors) -> Asking:
        """Raises: BadRequestError: what the client sent cannot be asked."""

    def told(self, asking: Asking, headers: Mapping[str, str], body: bytes) -> Told:
        """By a whole answer of status 200. Raises: TryError: rubbish."""

    def chunk(self, data: bytes) -> Told | None:
        """Of one event of a stream; None: the stream has ended, and is whole.

        Raises: TryError: rubbish, or the upstream tells of an error.
        """


def status_error(status: int, headers: Mapping[str, str], body: bytes) -> TryError:
    """What an answer of another status than 200 was."""
    message = f"status {status}: {error_text(body)}"
    if status in (429, 503):
        return TryError("refused", message, retry_after_ns(headers))
    if status in (400, 413, 415, 422):
        return TryError("request", message)
    return TryError("status", message)


def retry_after_ns(headers: Mapping[str, str]) -> int | None:
    """From `retry-after-ms` (OpenAI's) or `Retry-After`: seconds or a date; None: neither, or unreadable."""
    for name, unit_ns in (("retry-after-ms", 1_000_000), ("retry-after", 1_000_000_000)):
        text = headers.get(name, "").strip()
        if text.replace(".", "", 1).isdecimal() and len(text) < 16:
            return int(float(text) * unit_ns)
    return _until_date_ns(headers.get("retry-after", ""), headers.get("date", ""))


def _until_date_ns(text: str, now: str) -> int | None:
    """Both instants are the upstream's: no clock of ours is compared with its."""
    from email.utils import parsedate_to_datetime  # rare

    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(now)
    except (ValueError, TypeError):
        return None
    return max(0, int(wait.total_seconds() * 1e9))


def one_text(data: bytes) -> NDArray[Any]:
    """A BYTES tensor of shape [1]."""
    array = np.empty(1, object)
    array[0] = data
    return array
