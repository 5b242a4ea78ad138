"""One row of data on its way through the prepared stages of a pipeline, outside of any server."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from trivet.pipeline.wiring import Wiring
from trivet.runtime.conversion import as_arrays
from trivet.runtime.preparing.preparing import Prepared, PreparedModel
from trivet.runtime.steps import call_step
from trivet.spec.signature import Signature

Arrays = Mapping[str, NDArray[Any]]


class StageWalk:
    """Args: last: place of the last model.  signature: of the request."""

    def __init__(self, prepared: Prepared, last: int, signature: Signature) -> None:
        self._stages, self._last = prepared.stages, last
        self.wiring = Wiring(prepared.takings, [spec.name for spec in signature.inputs])
        model = self._stages[last]
        assert isinstance(model, PreparedModel)  # by its name
        self._promised = [spec.name for spec in model.signature.outputs]

    def run(self, index: int, inputs: Arrays) -> Arrays:
        """Raises: RequestError: the stage does not take them, or fails."""
        stage = self._stages[index]
        if isinstance(stage, PreparedModel):
            return stage.engines[0].run(as_arrays(inputs, stage.name, stage.signature))
        return call_step(stage, inputs)

    def left(self, index: int, outputs: Arrays, carried: Mapping[str, NDArray[Any]]) -> Arrays:
        """The service's answer where the model at `index` gave these outputs in the last one's place."""
        kept = dict(carried)
        self.wiring.keep(index, outputs, kept)
        return self.ended({name: outputs[name] for name in self._promised}, kept)

    def ended(self, outputs: Arrays, carried: Mapping[str, NDArray[Any]]) -> Arrays:
        """The service's answer where the last model gave these outputs."""
        kept = dict(carried)
        for index in range(self._last, len(self._stages) - 1):
            outputs = self.run(index + 1, self.wiring.hand_over(index, outputs, kept))
        return outputs
