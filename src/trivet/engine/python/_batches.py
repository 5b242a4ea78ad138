"""Child: what the loop for sync code and the loop for async code share: inputs read, answers checked."""

from typing import Any

from numpy.typing import NDArray

from trivet.engine.python._answer import Answers
from trivet.engine.python._target import Target
from trivet.engine.python.layout import named_dtypes, read
from trivet.engine.python.messages import Open, Run
from trivet.engine.python.slab import Slab
from trivet.errors import EngineError


class Batches:
    """One target, and the shared memory that its inputs lie in."""

    def __init__(self, inputs: Slab, target: Target) -> None:
        self.target = target
        self._slab = inputs
        self._tensors = named_dtypes(target.signature.inputs)
        self._answers = Answers(target.signature)
        self._batch_axis = target.signature.batch_axis

    def call(self, message: Run | Open) -> Any:
        """What the user's code returns. It gets read-only views into shared memory, good until it answers.

        Raises: EngineError: a generator was asked for a single answer. Whatever the user's code raises.
        """
        if self.target.streams and isinstance(message, Run):
            raise EngineError("it is a generator, which answers as a stream only")
        return self.target.call(read(self._slab, self._tensors, message.places))

    def answer(self, message: Run, returned: Any) -> list[NDArray[Any]]:
        """The outputs of a batch, each with as many rows as the inputs have.

        Raises: EngineError: they are not what the signature says.
        """
        num_rows = message.places[0][2][0] if self._batch_axis and message.places else None
        return self._answers.arrays(returned, num_rows)

    def chunk(self, returned: Any) -> list[NDArray[Any]]:
        """The outputs of one chunk of a stream, with any number of rows.

        Raises: EngineError: they are not what the signature says.
        """
        return self._answers.arrays(returned, None)
