"""One request on its way past the fronts of its service."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError, UnsupportedError
from trivet.runtime.results import Results

if TYPE_CHECKING:
    from trivet.runtime.fronts.front import Front, Fronts
    from trivet.runtime.request import Reply, Request, StreamReply

# Of an answer in chunks: what fronts are told of as a whole. Longer ones are passed on and not kept.
_MAX_CHUNKS = 4096


class Asked:
    """One request on its way past the fronts: its reply from the first question on, and `Held` while a front has it."""

    __slots__ = ("_chunks", "_fronts", "_is_held", "_is_over", "_num_asked", "_reply", "_request")

    def __init__(self, fronts: "Fronts", request: "Request") -> None:
        self._fronts = fronts
        self._request = request
        self._reply: Reply = request.reply
        self._num_asked = 0  # fronts that know nothing
        self._is_held = False
        self._is_over = False
        self._chunks: list[Mapping[str, NDArray[Any]]] | None = []

    def ask_next(self) -> None:
        while (front := self._fronts.front(self._num_asked)) is not None:
            place = self._num_asked
            if front.ask(self._request, self._go_on):
                if not self._is_over and self._num_asked == place:
                    self._hold()
                return
            self._num_asked += 1
        self._fronts.submit(self, self._request)

    def _hold(self) -> None:
        self._is_held = True
        self._request.split = self
        self._fronts.num_held += 1

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._request.split = None
            self._fronts.released()

    def _go_on(self) -> None:
        if self._is_over:  # its client left
            return
        self._num_asked += 1
        if self._is_held:
            self._request.arrival_ns = self._fronts.now_ns()
        self._is_held, was_held = False, self._is_held
        self._request.split = None
        self.ask_next()
        if was_held:  # now that the scheduler counts it, or nobody needs to
            self._fronts.released()

    def cancel(self) -> None:
        """Nobody waits for a request that a front holds."""
        self._num_asked += 1  # the one that holds it hears of it too
        self.leave()

    def leave(self) -> None:
        """Its reply is not called any more, whatever a front that has not heard of it may do."""
        self._is_over = True
        self._release()
        for front in self._heard():
            front.failed(self._request, self._fronts.client_left)

    def _heard(self) -> "Sequence[Front]":
        found = [self._fronts.front(place) for place in range(self._num_asked)]
        return [front for front in found if front is not None]

    def _end(self) -> None:
        self._is_over = True
        self._release()
        self._fronts.forget(self._request)
        self._request.reply = self._reply

    # --- as the request's reply ---------------------------------------------------------------------------------

    def answer(self, request: "Request", results: Results, start: int) -> None:
        if self._is_over:
            return
        self._end()
        self._reply.answer(request, results, start)
        for front in self._heard():
            front.answered(request, results, start)

    def fail(self, request: "Request", error: RequestError) -> None:
        if self._is_over:
            return
        self._end()
        self._reply.fail(request, error)
        for front in self._heard():
            front.failed(request, error)

    def chunk(self, request: "Request", results: Results) -> None:
        if self._is_over:
            return
        if self._chunks is not None:
            self._chunks.append(results.outputs)
            if len(self._chunks) > _MAX_CHUNKS:
                self._chunks = None
        reply: StreamReply = self._reply  # type: ignore[assignment]  # who sends to a streaming model takes chunks
        reply.chunk(request, results)

    def ended(self, request: "Request", error: RequestError | None) -> None:
        if self._is_over:
            return
        self._end()
        reply: StreamReply = self._reply  # type: ignore[assignment]  # as above
        reply.ended(request, error)
        whole = None if error is not None else _stacked(self._chunks)
        if whole is None:
            error = error or UnsupportedError("the answer's chunks are too many, or not of one kind")
            for front in self._heard():
                front.failed(request, error)
            return
        request.rows = whole.batch_rows
        for front in self._heard():
            front.answered(request, whole, 0)


def _stacked(chunks: Sequence[Mapping[str, NDArray[Any]]] | None) -> Results | None:
    """All chunks as one; None where they do not fit together."""
    if not chunks:
        return None
    first = chunks[0]
    for chunk in chunks:
        if chunk.keys() != first.keys() or any(chunk[name].shape != first[name].shape for name in first):
            return None
    outputs = {name: np.stack([chunk[name] for chunk in chunks]) for name in first}
    return Results(outputs, True, len(chunks))
