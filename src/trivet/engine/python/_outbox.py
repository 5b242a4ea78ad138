"""Child: writes answers into the output slab, sends word of them, and knows which the parent has copied."""

import sys
import traceback
from collections import deque

import numpy as np
from numpy.typing import NDArray

from trivet.engine.python.channel import Channel
from trivet.engine.python.layout import OverLimitError, write
from trivet.engine.python.messages import Chunk, Done, End, Error, ToChild
from trivet.engine.python.slab import Regions, Slab
from trivet.errors import BadRequestError, EngineError, TrivetError

MAX_ERROR_CHARS = 2000
STOPPED = EngineError("the engine was stopped before the stream's end")


class Outbox:
    """Everything that the child says after it has loaded."""

    def __init__(self, channel: Channel[ToChild], slab: Slab, target: str, limit_bytes: int) -> None:
        self._channel = channel
        self._slab = slab
        self._regions = Regions()
        self._unread: deque[int] = deque()  # starts of regions, oldest first
        self._num_read = 0
        self._target = target
        self._limit_bytes = limit_bytes

    def done(self, batch_id: int, arrays: list[NDArray[np.generic]]) -> None:
        self._tensors(Done, batch_id, arrays)

    def chunk(self, stream_id: int, arrays: list[NDArray[np.generic]]) -> None:
        self._tensors(Chunk, stream_id, arrays)

    def _tensors(
        self, message: type[Done] | type[Chunk], answer_id: int, arrays: list[NDArray[np.generic]]
    ) -> None:
        try:
            start, places = write(self._slab, self._regions, arrays, self._limit_bytes)
        except OverLimitError as error:
            raise EngineError(f"outputs of {error} (max_output_bytes)") from None
        self._unread.append(start)
        self._channel.send(message(answer_id, places))

    def error(self, batch_id: int, error: BaseException) -> None:
        if isinstance(error, BadRequestError):  # a word to the client: no fault, and nothing for the log
            self._channel.send(Error(batch_id, describe(error), bad_request=True))
        else:
            self._channel.send(Error(batch_id, self.told(error, f"batch {batch_id}")))

    def end(self, stream_id: int, error: BaseException | None = None) -> None:
        if isinstance(error, BadRequestError):  # as above
            self._channel.send(End(stream_id, describe(error), bad_request=True))
            return
        text = None if error is None else self.told(error, f"stream {stream_id}")
        self._channel.send(End(stream_id, text))

    def acknowledge(self, received: int) -> None:
        """The parent has copied the first `received` answers: their regions may be written over."""
        while self._num_read < received:
            self._regions.free(self._unread.popleft())
            self._num_read += 1

    def told(self, error: BaseException, about: str) -> str:
        """Type and message for the client; the traceback goes to the log (standard error) only."""
        text = describe(error)
        sys.stderr.write(f"trivet: python engine {self._target}, {about}: {text}\n")
        log_traceback(error)
        return f"{self._target}: {text}"


def describe(error: BaseException) -> str:
    """What failed in one line, which any encoder takes."""
    if isinstance(error, TrivetError):
        text = str(error)
    else:
        try:
            message = str(error)
        except Exception as second:  # the user's own __str__
            message = f"(its message cannot be shown: {type(second).__name__})"
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if len(text) > MAX_ERROR_CHARS:
        text = text[:MAX_ERROR_CHARS] + " …"
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate would fail on its way


def log_traceback(error: BaseException) -> None:
    """The user's frames on standard error. Our own complaints about an answer have no frame of theirs."""
    if isinstance(error, TrivetError):
        return
    frames = error.__traceback__
    while frames is not None and "trivet.engine.python" in frames.tb_frame.f_globals.get("__package__", ""):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames or error.__traceback__)
