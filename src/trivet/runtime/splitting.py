"""A client's batch that is larger than the model takes: run in parts, answered as one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.wire.tensor import itemsize, num_elements
from trivet.wire.v2_request import InferInput

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.runtime import Runtime


class Split:
    """Collects the parts of one request; it is their `reply`. The first error of a part is the request's."""

    __slots__ = ("_left", "_model", "_outputs", "_runtime", "ended", "parts", "whole")

    def __init__(self, runtime: "Runtime", whole: Request, model: "LiveModel", max_rows: int) -> None:
        self.whole = whole
        self.ended = False  # answered, failed or cancelled as a whole
        self._runtime = runtime
        self._model = model
        self.parts = [
            self._part(start, min(whole.rows, start + max_rows)) for start in range(0, whole.rows, max_rows)
        ]
        self._left = len(self.parts)
        self._outputs: list[dict[str, NDArray[Any]]] = [{} for _ in self.parts]

    def _part(self, start: int, stop: int) -> Request:
        whole = self.whole
        part = Request(
            whole.queue,
            stop - start,
            whole.arrival_ns,
            whole.deadline_ns,
            whole.received_ns,
            whole.live,
            whole.message,
            self,
        )
        part.inputs = cut_rows(self._model, whole.inputs, start, stop)
        part.end_by_ns = whole.end_by_ns
        part.answers_after = self._model  # its results come here, whatever stage follows
        return part

    def answer(self, request: Request, results: Results, start: int) -> None:
        if self.ended:
            return
        self._outputs[self.parts.index(request)] = dict(results.part(start, request.rows))
        self._left -= 1
        whole = self.whole
        whole.formed_ns = whole.formed_ns or request.formed_ns
        whole.started_ns = whole.started_ns or request.started_ns
        whole.ended_ns, whole.batch_rows = request.ended_ns, request.batch_rows
        if self._left == 0:
            names = self._outputs[0]
            joined = {name: np.concatenate([outputs[name] for outputs in self._outputs]) for name in names}
            self.end()
            self._runtime.stage_answered(whole, Results(joined, True, whole.rows), 0, self._model)

    def fail(self, request: Request, error: RequestError) -> None:
        if self.ended:  # another part failed before
            return
        self.cancel()
        self.whole.reply.fail(self.whole, error)

    def cancel(self) -> None:
        """Take out what still waits; parts that run are thrown away when they end."""
        self.end()
        for part in self.parts:
            self._runtime.scheduler.cancel(part, self._runtime.now_ns())

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
