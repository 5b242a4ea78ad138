"""Runs batches of a python engine, in its own process. Whatever that process does, each batch is answered once.

A batch that comes while the process is starting again waits for it. One that is not done when its last request's
deadline has passed is answered as late; the process keeps its time until `hang_ns`, since slow is not dead, and is
then killed. A process that ended is started again: at once the first time, later with growing pauses, so that one
that cannot start does not take the core from the others.
"""

import asyncio
from collections.abc import Callable

from trivet.engine.python.events import Event, Exited, Failed, Finished, Ready
from trivet.engine.python.process import PythonProcess
from trivet.errors import DeadlineError, EngineError
from trivet.runtime.executors import Done, Outcome, Work, unexpected

_RESTART_DELAYS_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
# So many batches answered in a row earn a restart without delay.
_STEADY_BATCHES = 100


class ProcessExecutor:
    """One process, one batch at a time.

    Args: process: loaded and ready.  spawn: makes another like it, not started.  hang_ns: a batch that takes longer
    hangs.
    """

    def __init__(
        self,
        process: PythonProcess,
        spawn: Callable[[], PythonProcess],
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        hang_ns: int,
        say: Callable[[str], None],
    ) -> None:
        self._process = process
        self._spawn = spawn
        self._loop = loop
        self._now_ns = now_ns
        self._hang_ns = hang_ns
        self._say = say
        self._batch_id = 0
        self._started_ns = 0
        self._done: Done | None = None  # of the batch that is not answered yet
        self._held: Work | None = None  # of a batch that waits for the process to be ready
        self._sent_id = 0  # of the batch that the process works on, or last did
        self._deadline: asyncio.TimerHandle | None = None
        self._hang: asyncio.TimerHandle | None = None
        self._back: list[Callable[[], None]] = []
        self._ready = True
        self._loading = False  # a process that has ended is being replaced by another
        self._num_failures = 0
        self._num_answered = 0
        self._closed = False
        loop.add_reader(process.fileno(), self._on_readable)

    def start(self, build: Work, done: Done, answer_by_ns: int) -> None:
        self._started_ns = now_ns = self._now_ns()
        self._batch_id += 1
        self._done = done
        wait_s = max(0, answer_by_ns - now_ns) / 1e9
        self._deadline = self._loop.call_later(wait_s, self._on_deadline, self._batch_id)
        if self._ready:
            self._send(build)
        else:
            self._held = build

    def _send(self, build: Work) -> None:
        self._sent_id = self._batch_id
        self._ready = False
        try:
            self._process.send(self._sent_id, build())
        except EngineError as error:
            self._end_batch(Outcome(None, error, self._started_ns, self._now_ns()))
        except Exception as error:  # a mistake of ours, in building it: the process lives on
            self._end_batch(Outcome(None, unexpected(error), self._started_ns, self._now_ns()))
        else:
            self._hang = self._loop.call_later(self._hang_ns / 1e9, self._on_hang, self._sent_id)

    def when_back(self, callback: Callable[[], None]) -> None:
        if self._ready:
            callback()
        else:
            self._back.append(callback)

    def close(self) -> None:
        self._closed = True
        self._cancel(self._deadline)
        self._cancel(self._hang)
        self._forget_process()
        self._process.close()

    # --- events -------------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        for event in self._process.receive():
            self._on_event(event)

    def _on_event(self, event: Event) -> None:
        match event:
            case Finished(batch_id=batch_id, outputs=outputs) if batch_id == self._batch_id:
                self._count_answer()
                self._end_batch(Outcome(outputs, None, self._started_ns, self._now_ns()))
            case Failed(batch_id=batch_id, error=error) if batch_id == self._batch_id:
                self._end_batch(Outcome(None, error, self._started_ns, self._now_ns()))
            case Ready():
                self._become_ready()
            case Exited(reason=reason):
                self._on_exit(reason)

    def _count_answer(self) -> None:
        self._num_answered += 1
        if self._num_answered >= _STEADY_BATCHES:
            self._num_failures = 0

    def _end_batch(self, outcome: Outcome) -> None:
        """The process is done with the batch that it was sent."""
        self._cancel(self._hang)
        outcome.executor_lost = self._process.has_exited
        self._ready = not outcome.executor_lost
        if self._sent_id == self._batch_id and self._done is not None:
            self._answer(outcome)
        elif self._ready:  # it was answered as late before
            self._become_ready()

    def _answer(self, outcome: Outcome) -> None:
        self._cancel(self._deadline)
        done, self._done, self._held = self._done, None, None
        if done is not None:
            done(outcome)

    def _on_deadline(self, batch_id: int) -> None:
        """The last deadline has passed: whoever waits is told now; the process may still be working."""
        if batch_id == self._batch_id and self._done is not None:
            doing = "running" if self._held is None else "not ready"
            error = DeadlineError(f"the deadline passed while the model was {doing}")
            self._answer(Outcome(None, error, self._started_ns, self._now_ns(), executor_lost=True))

    def _on_hang(self, batch_id: int) -> None:
        if batch_id == self._sent_id and not self._ready and not self._loading:
            self._process.kill(f"a batch took longer than {self._hang_ns / 1e9:g} s")

    def _on_exit(self, reason: str) -> None:
        self._forget_process()
        self._process.close()
        self._num_failures += 1
        self._num_answered = 0
        delay_s = _RESTART_DELAYS_S[min(self._num_failures, len(_RESTART_DELAYS_S)) - 1]
        self._say(f"{reason}; starting another" + (f" in {delay_s:g} s" if delay_s else ""))
        self._ready = False
        self._cancel(self._hang)
        # A batch that is held was none of the process that has ended; but one that cannot load helps nobody.
        if self._held is None or self._loading:
            error = EngineError(reason)
            self._answer(Outcome(None, error, self._started_ns, self._now_ns(), executor_lost=True))
        self._loading = True
        self._loop.call_later(delay_s, self._restart)

    def _restart(self) -> None:
        if self._closed:
            return
        self._process = self._spawn()
        try:
            self._process.start()
        except EngineError as error:
            self._say(str(error))
            self._loop.call_later(_RESTART_DELAYS_S[-1], self._restart)
            return
        self._loop.add_reader(self._process.fileno(), self._on_readable)

    def _become_ready(self) -> None:
        self._ready = True
        self._loading = False
        held, self._held = self._held, None
        if held is not None:
            self._started_ns = self._now_ns()
            self._send(held)
            return
        callbacks, self._back = self._back, []
        for callback in callbacks:
            callback()

    def _forget_process(self) -> None:
        self._loop.remove_reader(self._process.fileno())

    def _cancel(self, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
