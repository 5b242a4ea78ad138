"""Carries out what an exit decides: rows of which it is sure are answered, the others go on; one request's may part ways.

A batch is decided as a whole, once; each of its requests then takes its way. Nothing is copied for rows that stay
together: their tensors are views of the batch's. Only where rows of one request part are those that go on picked out, and
put together with the others again at the end of the last model.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError, RequestError
from trivet.pipeline.chain import Run
from trivet.pipeline.exits import ExitPoint
from trivet.runtime.conversion import as_arrays
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.wire.v2_input import InferInput

if TYPE_CHECKING:
    from trivet.runtime.live_exits import LiveExits
    from trivet.runtime.runtime import Runtime


class Decided:
    """What an exit made of the results of one batch.

    sure: of each row.  answers: the outputs that stand for the last model's, rows as in the batch.
    """

    __slots__ = ("answers", "sure")

    def __init__(self, sure: NDArray[np.bool_], answers: Results) -> None:
        self.sure = sure
        self.answers = answers


def part_ways(runtime: "Runtime", exits: "LiveExits", request: Request, results: Results, start: int) -> None:
    """A stage with an exit is done with a request: answer it, send it on, or some of its rows each way.

    Raises: RequestError: nothing has become of the request yet.
    """
    point = exits.points[request.stage]
    decided = results.decided
    if decided is None:
        decided = results.decided = _decide(exits, point, results)
    sure = decided.sure[start : start + request.rows] if results.batch_axis else decided.sure
    num_left = int(np.count_nonzero(sure))
    if num_left == len(sure):
        point.learn(request.rows, 0)
        _leave(runtime, exits, request, point, results, decided.answers, start)
    elif num_left == 0 or not exits.may_part[request.stage]:
        point.learn(0, request.rows)
        request.exit = exits.last_model.name
        runtime.go_on(request, results, start)
    else:
        point.learn(num_left, request.rows - num_left)
        left = decided.answers.part(start, request.rows)
        Parting(runtime, exits, request, sure, left).start(results.part(start, request.rows))


def _decide(exits: "LiveExits", point: ExitPoint, results: Results) -> Decided:
    sure = point.sure(results.outputs)
    if results.batch_axis and len(sure) != results.batch_rows:
        raise EngineError(
            f"model {point.name!r} gave {len(sure)} rows of {point.rule.output!r} for a batch of {results.batch_rows}"
        )
    outputs = {spec.name: results.outputs[spec.name] for spec in exits.last_model.signature.outputs}
    return Decided(sure, Results(outputs, results.batch_axis, results.batch_rows))


def _leave(
    runtime: "Runtime",
    exits: "LiveExits",
    request: Request,
    point: ExitPoint,
    results: Results,
    answers: Results,
    start: int,
) -> None:
    """All rows are answered here: the request is where the last model would have left it."""
    request.live.wiring.keep(request.stage, results.part(start, request.rows), request.carried)
    request.exit = point.name
    request.stage = exits.last
    runtime.stage_answered(request, answers, start, exits.last_model)


class Parting:
    """The rows of one request that go on, as a request of their own; `reply` of that one.

    Invariant: the whole gets one answer or failure, unless it is cancelled before.

    Args: left: what the exit gives for each row of the whole, by name; wanted where `sure`.
    """

    __slots__ = ("_exits", "_left", "_name", "_on", "_runtime", "_stage", "_sure", "_whole", "ended")

    def __init__(
        self,
        runtime: "Runtime",
        exits: "LiveExits",
        whole: Request,
        sure: NDArray[np.bool_],
        left: Mapping[str, NDArray[Any]],
    ) -> None:
        self.ended = False
        self._runtime = runtime
        self._exits = exits
        self._whole = whole
        self._stage = whole.stage
        self._name = exits.points[whole.stage].name
        self._sure = sure
        self._left = left
        self._on = Request(
            whole.queue,
            int(np.count_nonzero(~sure)),
            whole.arrival_ns,
            whole.end_by_ns,
            whole.received_ns,
            whole.live,
            whole.message,
            self,
        )

    def start(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Args: outputs: of the stage, of all rows of the whole.

        Raises: RequestError: a tensor that the next model does not take, or with other rows than the request.
        """
        whole, on, exits = self._whole, self._on, self._exits
        live = whole.live
        command, inputs = live.run_steps(self._stage, outputs, whole.carried, whole.end_by_ns)
        assert isinstance(
            command, Run
        )  # only models stand between an exit whose rows may part and the last one
        model = live.stages[command.index]
        taken = as_arrays(inputs, model.name, live.models_by_place[command.index].signature)
        cut = [self._going_on(name, array) for name, array in taken.items()]
        on.priority = whole.priority
        on.answers_after = exits.last_model
        on.exit = exits.last_model.name
        on.carried = {
            name: self._going_on(name, array)
            for name, array in whole.carried.items()
            if name in exits.later[self._stage]
        }
        whole.split = self
        try:
            self._runtime.offer_inputs(on, command, [InferInput(array.shape, array) for array in cut])
        except RequestError:
            self._end()
            raise

    def _going_on(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if not array.ndim or len(array) != len(self._sure):
            raise EngineError(
                f"{name!r} has the shape {list(array.shape)}; its {len(self._sure)} rows part ways at exit {self._name!r}"
            )
        return array[~self._sure]

    @property
    def whole(self) -> Request:
        """Who pays for the rows that go on."""
        return self._whole

    # --- as the reply of the rows that go on --------------------------------------------------------------------

    def answer(self, request: Request, results: Results, start: int) -> None:
        if self.ended:
            return
        self._end()
        whole = self._whole
        try:
            merged = self._merged(results.part(start, request.rows))
        except EngineError as error:
            self._runtime.fail(whole, error, "BACKEND")
            return
        whole.arrival_ns, whole.formed_ns = request.arrival_ns, request.formed_ns
        whole.started_ns, whole.ended_ns = request.started_ns, request.ended_ns
        whole.batch_rows = request.batch_rows
        whole.exit = self._names(request.exit)
        whole.stage = self._exits.last
        self._runtime.stage_answered(whole, Results(merged, True, whole.rows), 0, self._exits.last_model)

    def fail(self, request: Request, error: RequestError) -> None:
        if not self.ended:
            self._end()
            self._whole.state, self._whole.arrival_ns = request.state, request.arrival_ns
            self._whole.reply.fail(self._whole, error)

    def cancel(self) -> None:
        """Nobody waits for the whole any more."""
        self._end()
        self._runtime.withdraw(self._on)

    def _end(self) -> None:
        self.ended = True
        self._whole.split = None

    def _names(self, later: str | list[str]) -> list[str]:
        """Who answered each row of the whole."""
        others = iter([later] * self._on.rows if isinstance(later, str) else later)
        return [self._name if is_sure else next(others) for is_sure in self._sure]

    def _merged(self, later: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        merged = {}
        for name, left in self._left.items():
            on = later[name]
            if on.shape[1:] != left.shape[1:]:
                raise EngineError(
                    f"a row of output {name!r} has the shape {list(left.shape[1:])} at exit {self._name!r} and "
                    f"{list(on.shape[1:])} further on: the rows of one request need one shape"
                )
            merged[name] = left.copy()
            merged[name][~self._sure] = on
        return merged
