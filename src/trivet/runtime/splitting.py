"""A client's batch that is larger than the model takes: run in parts, answered as one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.runtime.fallbacks import rescue
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.schedule.queue import Queue
from trivet.wire.tensor import itemsize, num_elements
from trivet.wire.v2_input import InferInput

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.runtime import Runtime


class Split:
    """Runs one request in parts; it is their `reply`. The first error of a part is the request's.

    Few parts are on their way at a time, so that a large batch of one client stands in nobody's way, and a part
    exists only from its turn on.
    """

    __slots__ = ("_max_rows", "_model", "_outputs", "_runtime", "_started_rows", "_waiting", "ended", "whole")

    def __init__(self, runtime: "Runtime", whole: Request, model: "LiveModel") -> None:
        self.whole = whole
        self.ended = False  # answered, failed or cancelled as a whole
        self._runtime = runtime
        self._model = model
        self._max_rows = model.scheduled.max_batch_size
        self._started_rows = 0
        self._waiting: dict[int, Request] = {}  # parts that are not answered, by their first row
        self._outputs: dict[int, dict[str, NDArray[Any]]] = {}

    def predicted_ns(self) -> int:
        """Service time of all parts, on all instances of an idle machine."""
        return self.expected_ns(self.whole.queue, self.whole.rows)

    @staticmethod
    def expected_ns(queue: Queue, rows: int) -> int:
        """Service time of so many rows in the largest batches, likewise."""
        most = queue.model.max_batch_size
        num_parts = -(-rows // most)
        rounds = -(-num_parts // queue.model.instances)
        return rounds * queue.curve.mean[most]

    def submit_next(self) -> None:
        """Keep one part more on its way than there are instances."""
        most = self._model.scheduled.instances + 1
        while not self.ended and len(self._waiting) < most and self._started_rows < self.whole.rows:
            start = self._started_rows
            self._started_rows = min(self.whole.rows, start + self._max_rows)
            part = self._waiting[start] = self._part(start, self._started_rows)
            self._runtime.submit(part)

    def _part(self, start: int, stop: int) -> Request:
        whole = self.whole
        part = Request(
            whole.queue,
            stop - start,
            self._runtime.now_ns(),
            whole.deadline_ns,
            whole.received_ns,
            whole.live,
            whole.message,
            self,
        )
        part.inputs = cut_rows(self._model, whole.inputs, start, stop)
        part.end_by_ns = whole.end_by_ns
        part.answers_after = self._model  # its results come here, whatever stage follows
        part.first_row = start
        return part

    def answer(self, request: Request, results: Results, start: int) -> None:
        if self.ended:
            return
        del self._waiting[request.first_row]
        self._outputs[request.first_row] = dict(results.part(start, request.rows))
        whole = self.whole
        whole.formed_ns = whole.formed_ns or request.formed_ns
        whole.started_ns = whole.started_ns or request.started_ns
        whole.ended_ns, whole.batch_rows = request.ended_ns, request.batch_rows
        self.submit_next()
        if not self._waiting and not self.ended:
            ordered = [self._outputs[first] for first in sorted(self._outputs)]
            joined = {name: np.concatenate([outputs[name] for outputs in ordered]) for name in ordered[0]}
            self.end()
            self._runtime.stage_answered(whole, Results(joined, True, whole.rows), 0, self._model)

    def fail(self, request: Request, error: RequestError) -> None:
        if self.ended:  # another part failed before
            return
        self.cancel()
        whole = self.whole
        if not (self._model.fallbacks and rescue(self._runtime, self._model, whole, error, "BACKEND")):
            whole.reply.fail(whole, error)

    def cancel(self) -> None:
        """Take out what still waits; parts that run are thrown away when they end."""
        self.end()
        for part in self._waiting.values():
            self._runtime.withdraw(part)

    def end(self) -> None:
        self.ended = True
        self.whole.split = None


def cut_rows(model: "LiveModel", inputs: Sequence[InferInput], start: int, stop: int) -> list[InferInput]:
    """Rows `start` to `stop` of each input; views where the data is a buffer."""
    cut = []
    for spec, tensor in zip(model.signature.inputs, inputs, strict=True):
        shape = (stop - start, *tensor.shape[1:])
        if isinstance(tensor.data, np.ndarray):
            cut.append(InferInput(shape, tensor.data.reshape(tensor.shape)[start:stop]))
        else:
            row = itemsize(spec.datatype) * num_elements(tensor.shape[1:])
            cut.append(InferInput(shape, memoryview(tensor.data)[start * row : stop * row]))
    return cut
