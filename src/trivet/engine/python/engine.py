"""A python engine as the contract has it: calls that wait. For batch jobs, profiling and tests; servers use
`PythonProcess`, which never waits.
"""

import select
from collections import deque
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from trivet.engine.contract import Tensors
from trivet.engine.python.events import Chunk, Event, Exited, Failed, Finished, Ready, StreamEnded
from trivet.engine.python.process import PythonProcess, PythonSpec
from trivet.errors import EngineError
from trivet.spec.signature import Signature

# Chunks that may be ready before they are asked for: the next one is made while the last is used.
CHUNKS_AHEAD = 2


class PythonEngine:
    """One process. Not thread-safe."""

    def __init__(
        self,
        spec: PythonSpec,
        *,
        load_timeout_ns: int | None = None,
        timeout_ns: int | None = None,
        close_grace_ns: int = 1_000_000_000,
    ) -> None:
        """Start the process and wait until the target is loaded.

        Args: timeout_ns: a process that owes an answer and says nothing for so long is killed; None: never.
        Raises: EngineError: the target cannot be loaded; says why.
        """
        self._process = PythonProcess(spec)
        self._timeout_ns = timeout_ns
        self._close_grace_ns = close_grace_ns
        self._num_answers = 0
        self._events: dict[int, deque[Event]] = {}
        self._exited: Exited | None = None
        self._closed = False
        self._process.start()
        try:
            ready = self._wait_ready(load_timeout_ns)
        except BaseException:
            self.close()
            raise
        self._signature = ready.signature
        self.streams = ready.streams

    @property
    def signature(self) -> Signature:
        return self._signature

    @property
    def process(self) -> PythonProcess:
        """The process behind it, for an owner that goes on without waiting calls."""
        return self._process

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        answer_id = self._new_answer()
        try:
            self._process.send(answer_id, inputs)
            match self._wait_event(answer_id):
                case Finished(outputs=outputs):
                    return outputs
                case Failed(error=error):
                    raise error
                case other:
                    raise EngineError(f"{self._process.spec.target} answered a batch with {other}")
        finally:
            del self._events[answer_id]

    def stream(self, inputs: Tensors) -> Iterator[dict[str, NDArray[Any]]]:
        answer_id = self._new_answer()
        ended = True
        try:
            self._process.open_stream(answer_id, inputs, CHUNKS_AHEAD)
            ended = False
            while not ended:
                match self._wait_event(answer_id):
                    case Chunk(outputs=outputs):
                        yield outputs
                        self._process.grant(answer_id, 1)
                    case StreamEnded(error=error):
                        ended = True
                        if error is not None:
                            raise error
        finally:
            if not (ended or self._closed):
                self._process.cancel(answer_id)
                while not isinstance(self._wait_event(answer_id), StreamEnded):
                    pass
            del self._events[answer_id]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._process.close(self._close_grace_ns)

    def _new_answer(self) -> int:
        if self._exited is not None:
            raise EngineError(self._exited.reason)
        self._num_answers += 1
        self._events[self._num_answers] = deque()
        return self._num_answers

    def _wait_ready(self, timeout_ns: int | None) -> Ready:
        while True:
            for event in self._wait(timeout_ns):
                if isinstance(event, Ready):
                    return event
                if isinstance(event, Exited):
                    raise EngineError(event.reason)

    def _wait_event(self, answer_id: int) -> Event:
        """The next event of one answer; those of others wait for whoever asks for them."""
        while not self._events[answer_id]:
            for event in self._wait(self._timeout_ns):
                match event:
                    case Finished(batch_id=owner) | Failed(batch_id=owner):
                        self._events[owner].append(event)
                    case Chunk(stream_id=owner) | StreamEnded(stream_id=owner):
                        self._events[owner].append(event)
                    case Exited():
                        self._exited = event
        return self._events[answer_id].popleft()

    def _wait(self, timeout_ns: int | None) -> list[Event]:
        if self._closed:
            raise EngineError(f"{self._process.spec.target}: the engine is closed")
        poll = select.poll()
        poll.register(self._process.fileno(), select.POLLIN)
        if timeout_ns is not None and not poll.poll(timeout_ns / 1e6):
            self._process.kill(f"it said nothing for {timeout_ns / 1e9:g} s")
        poll.poll()
        return self._process.receive()
