"""Rows answered through a runtime in this process, with as many on their way as keep its engines in full batches."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from trivet.errors import RefusedError, RequestError
from trivet.runtime.live import LiveService
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.runtime import Runtime
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage

# Nobody waits for any one of these answers.
_TIMEOUT_NS = 3_600_000_000_000

Inputs = Sequence[InferInput]
Outputs = Mapping[str, NDArray[Any]]


class RowAnswering:
    """The answers to some rows, in their order: outputs without the batch axis, or the row's error.

    Each row is a request of its own, so that one that fails fails alone. It is the `reply` of all of them.
    """

    def __init__(self, runtime: Runtime, live: LiveService, now_ns: Callable[[], int]) -> None:
        self._runtime = runtime
        self._live = live
        self._now_ns = now_ns
        self._most = 2 * max(
            model.scheduled.max_batch_size * model.scheduled.instances for model in live.models
        )
        self._place: dict[Request, int] = {}  # on their way
        self._waiting: deque[int] = deque()
        self._rows: Sequence[Inputs] = ()
        self._answers: list[Outputs | RequestError | None] = []
        self._done = asyncio.Event()
        self._is_submitting = False

    async def answer_all(self, rows: Sequence[Inputs]) -> list[Outputs | RequestError]:
        if not rows:
            return []
        self._rows = rows
        self._answers = [None] * len(rows)
        self._waiting = deque(range(len(rows)))
        self._done.clear()
        self._submit_next()
        await self._done.wait()
        return [answer for answer in self._answers if answer is not None]

    def _submit_next(self) -> None:
        if self._is_submitting:  # called by an answer that came at once: the loop below goes on
            return
        self._is_submitting = True
        while self._waiting and len(self._place) < self._most:
            self._submit(self._waiting.popleft())
        self._is_submitting = False
        if not self._waiting and not self._place:
            self._done.set()

    def _submit(self, place: int) -> None:
        message = InferMessage(list(self._rows[place]), "", None, None, True)
        now_ns = self._now_ns()
        try:
            request = self._live.request(message, now_ns, now_ns, _TIMEOUT_NS, 0, self)
        except RequestError as error:
            self._answers[place] = error
            return
        self._place[request] = place
        if self._live.fronts is None:
            self._runtime.submit(request)
        else:  # what features come from a store
            self._live.fronts.take(request)

    # --- as the requests' reply ---------------------------------------------------------------------------------

    def answer(self, request: Request, results: Results, start: int) -> None:
        outputs = results.part(start, request.rows)
        if self._live.signature.batch_axis:
            row = {name: array[0].copy() for name, array in outputs.items()}
        else:
            row = {name: array.copy() for name, array in outputs.items()}
        self._answers[self._place.pop(request)] = row
        self._submit_next()

    def fail(self, request: Request, error: RequestError) -> None:
        place = self._place.pop(request)
        if (
            isinstance(error, RefusedError) and self._place
        ):  # there is room again when those before it are done
            self._waiting.append(place)
            if self._is_submitting:
                return
        else:
            self._answers[place] = error
        self._submit_next()
