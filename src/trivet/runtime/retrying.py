"""A batch that failed is tried again request by request, once: one poisoned request must not fail its neighbours.

On the same executor, one after the other, in the time that the scheduler has given to the batch: nothing overtakes
it, and no other batch is formed meanwhile. Who has no time left is told the batch's error. An engine process that is
lost counts: once with the batch and once more with the culprit alone is what one poisoned request costs; at the third
loss the rest of the batch is given up, as more of it would keep the engine from everyone else.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from trivet.errors import BadRequestError, EngineError
from trivet.runtime.executors import Executor, Outcome
from trivet.runtime.request import Request

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel

_MAX_LOSSES = 2


def may_retry(outcome: Outcome, num_requests: int) -> bool:
    """Whether the engine failed a batch of several: a deadline that has passed is nobody's poison."""
    return num_requests > 1 and isinstance(outcome.error, EngineError | BadRequestError)


class Retry:
    """Tries the requests of one failed batch.

    Args: later: calls back at the loop's next turn, so that others get theirs between two tries.  answered: is told
    each request's own outcome.  ended: is told once, after the last.
    """

    def __init__(
        self,
        model: "LiveModel",
        executor: Executor,
        requests: list[Request],
        failed: Outcome,
        now_ns: Callable[[], int],
        later: Callable[[Callable[[], None]], object],
        answered: Callable[[Request, Outcome], None],
        ended: Callable[[], None],
    ) -> None:
        assert failed.error is not None  # may_retry has seen it
        self._model = model
        self._executor = executor
        self._waiting = requests[::-1]
        self._error = failed.error
        self._num_losses = int(failed.executor_lost)
        self._now_ns = now_ns
        self._later = later
        self._answered = answered
        self._ended = ended

    def next(self) -> None:
        """Try the next request that has time left; the others are told the batch's error."""
        while self._waiting:
            request = self._waiting.pop()
            now_ns = self._now_ns()
            end_ns = now_ns + request.queue.curve.mean[request.rows]
            if end_ns <= request.deadline_ns and self._num_losses <= _MAX_LOSSES:
                self._model.counters.retried += 1
                build = partial(self._model.builder.build, [request.inputs], request.rows)
                self._executor.start(build, partial(self._done, request), request.end_by_ns)
                return
            self._answered(request, Outcome(None, self._error, now_ns, now_ns))
        self._ended()

    def _done(self, request: Request, outcome: Outcome) -> None:
        if outcome.executor_lost and isinstance(outcome.error, EngineError):
            self._num_losses += 1
        elif outcome.outputs is not None:
            compute_ns = outcome.ended_ns - outcome.started_ns
            self._model.counters.batch(request.rows, compute_ns, request.queue.curve.mean[request.rows])
        self._answered(request, outcome)
        self._later(self.next)
