"""Where a batch runs: inline in the event loop, or on an engine thread. One instance runs one batch at a time."""

import asyncio
import os
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from trivet.engine.contract import Engine, Tensors
from trivet.errors import EngineError, RequestError
from trivet.runtime.notes import Notes

Work = Callable[[], Tensors]


class Outcome:
    """How a batch ended. Exactly one of `outputs` and `error` is set; instants are monotonic nanoseconds.

    `executor_lost`: the executor cannot take another batch yet; `when_back` tells when it can.
    """

    __slots__ = ("ended_ns", "error", "executor_lost", "notes", "outputs", "started_ns", "tokens")

    def __init__(
        self,
        outputs: dict[str, NDArray[Any]] | None,
        error: RequestError | None,
        started_ns: int,
        ended_ns: int,
        executor_lost: bool = False,
    ) -> None:
        self.outputs = outputs
        self.error = error
        self.started_ns = started_ns
        self.ended_ns = ended_ns
        self.executor_lost = executor_lost
        # Of a batch that ran on another server: what is told of it, and the tokens that were counted there.
        self.notes: Notes | None = None
        self.tokens = (0, 0)


Done = Callable[[Outcome], None]


class Executor(Protocol):
    """Carries out one batch at a time and calls `done` in the event loop, at once or later, exactly once."""

    def start(self, build: Work, done: Done, answer_by_ns: int) -> None:
        """Args: answer_by_ns: nobody waits for this batch after this instant."""

    def when_back(self, callback: Callable[[], None]) -> None:
        """Call `callback` once another batch can be taken."""

    def close(self) -> None: ...


def _run(engine: Engine, build: Work, now_ns: Callable[[], int]) -> Outcome:
    started_ns = now_ns()
    try:
        outputs = engine.run(build())
    except EngineError as error:
        return Outcome(None, error, started_ns, now_ns())
    except Exception as error:  # a mistake of ours: this batch fails, the executor and its instance live on
        return Outcome(None, unexpected(error), started_ns, now_ns())
    return Outcome(outputs, None, started_ns, now_ns())


def unexpected(error: Exception) -> EngineError:
    """What a request is told of a mistake of ours; the log is told the rest."""
    traceback.print_exception(error)
    return EngineError(f"unexpected {type(error).__name__}; the log has the details")


class InlineExecutor:
    """Runs in the event loop: right for models whose batch takes less than handing it to a thread and back."""

    def __init__(self, engine: Engine, now_ns: Callable[[], int]) -> None:
        self._engine = engine
        self._now_ns = now_ns

    def start(self, build: Work, done: Done, answer_by_ns: int) -> None:
        done(_run(self._engine, build, self._now_ns))

    def when_back(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self) -> None:
        self._engine.close()


# The loop's thread must win against engine threads for a core, or a busy model delays every refusal and every
# small model by a scheduler's time slice. Linux gives each thread its own niceness.
_ENGINE_NICENESS = 5


class ThreadExecutor:
    """Runs on a thread of its own; the native engine releases the interpreter lock meanwhile."""

    def __init__(
        self, engine: Engine, now_ns: Callable[[], int], loop: asyncio.AbstractEventLoop, name: str
    ) -> None:
        self._engine = engine
        self._now_ns = now_ns
        self._loop = loop
        self._work: queue.SimpleQueue[tuple[Work, Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"engine {name}", daemon=True)
        self._thread.start()

    def start(self, build: Work, done: Done, answer_by_ns: int) -> None:
        self._work.put((build, done))

    def when_back(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()
        self._engine.close()

    def _serve(self) -> None:
        os.setpriority(
            os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _ENGINE_NICENESS
        )
        while (item := self._work.get()) is not None:
            build, done = item
            outcome = _run(self._engine, build, self._now_ns)
            self._loop.call_soon_threadsafe(done, outcome)
