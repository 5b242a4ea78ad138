"""What requests bring to a service and get from it, once its stages are known."""

from collections.abc import Sequence
from typing import Any, Protocol

from trivet.errors import SpecError
from trivet.runtime.steps import StepStage
from trivet.spec.service import Service
from trivet.spec.signature import Signature


class ModelStage(Protocol):
    """A stage with a model, prepared or live."""

    @property
    def signature(self) -> Signature: ...

    @property
    def exit(self) -> Any: ...


def service_signature(service: Service, stages: Sequence[ModelStage | StepStage]) -> Signature:
    """Raises: SpecError: an end is Python code, and the service does not say what it takes or gives."""
    first, last = stages[0], stages[-1]
    inputs = service.inputs or (None if isinstance(first, StepStage) else first.signature.inputs)
    outputs = service.outputs or (None if isinstance(last, StepStage) else last.signature.outputs)
    if inputs is None or outputs is None:
        raise SpecError("a service whose ends are Python code declares `inputs:` and `outputs:` at the top")
    models = [stage for stage in stages if not isinstance(stage, StepStage)]
    # A model with exits looks to its clients as it did without.
    is_one = len(stages) == 1 or any(model.exit for model in models)
    batch_axis = is_one and len(models) == len(stages) and all(model.signature.batch_axis for model in models)
    return Signature(tuple(inputs), tuple(outputs), batch_axis)
