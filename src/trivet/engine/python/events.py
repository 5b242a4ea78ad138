"""What a python engine's process reports to whoever runs it."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from trivet.errors import BadRequestError, EngineError
from trivet.spec.signature import Signature

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Ready:
    """The target is loaded. `streams`: it is a generator, which answers streams only."""

    signature: Signature
    streams: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """A batch is answered. The arrays are the receiver's own."""

    batch_id: int
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class Failed:
    """A batch has no answer and will have none. A BadRequestError: the code says that the client is at fault."""

    batch_id: int
    error: EngineError | BadRequestError


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a stream. The arrays are the receiver's own."""

    stream_id: int
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Nothing more comes of this stream; without an error (as of `Failed`) its answer is complete, or was cancelled."""

    stream_id: int
    error: EngineError | BadRequestError | None


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone; the last event. `returncode` as in subprocess: negative for a signal."""

    returncode: int
    reason: str


Event = Ready | Finished | Failed | Chunk | StreamEnded | Exited
