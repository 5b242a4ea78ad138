"""A service that is asked in OpenAI's words, at load: its tensors can carry them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trivet.runtime.steps import StepStage
from trivet.spec.fields import FieldError
from trivet.spec.openai import form_of
from trivet.spec.service import Service
from trivet.spec.signature import Signature
from trivet.wire.openai_input import sample_request

if TYPE_CHECKING:
    from trivet.runtime.preparing import PreparedModel


def check_openai(service: Service, stages: "Sequence[PreparedModel | StepStage]") -> None:
    """Raises: FieldError: what `spec.openai.form_of` finds, or embeddings in chunks."""
    if service.openai is None:
        return
    first, last = stages[0], stages[-1]
    inputs = service.inputs or (None if isinstance(first, StepStage) else first.signature.inputs)
    outputs = service.outputs or (None if isinstance(last, StepStage) else last.signature.outputs)
    if inputs is None or outputs is None:
        raise FieldError(
            (), "a service whose ends are Python code declares `inputs:` and `outputs:` at the top"
        )
    form_of(service.openai, Signature(inputs, outputs))
    if service.openai.kind == "embeddings" and not isinstance(last, StepStage) and last.streams:
        raise FieldError(("openai",), f"{last.name!r} answers in chunks; embeddings come whole")


def openai_sample(service: Service, index: int, signature: Signature) -> dict[str, NDArray[Any]] | None:
    """What the first model is profiled on where no data tells: random text is no message."""
    if service.openai is None or index:
        return None
    return sample_request(service.openai.kind, signature)
