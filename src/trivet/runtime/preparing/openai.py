"""A service that is asked in OpenAI's words, at load: its tensors can carry them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trivet.runtime.preparing.service_signature import service_signature
from trivet.runtime.steps import StepStage
from trivet.spec.fields import FieldError
from trivet.spec.openai import form_of
from trivet.spec.service import Service
from trivet.spec.signature import Signature

if TYPE_CHECKING:
    from trivet.runtime.preparing.preparing import PreparedModel


def check_openai(service: Service, stages: "Sequence[PreparedModel | StepStage]") -> None:
    """Raises: FieldError: what `spec.openai.form_of` finds, or embeddings in chunks."""
    if service.openai is None:
        return
    form_of(service.openai, service_signature(service, stages))
    last = stages[-1]
    if service.openai.kind == "embeddings" and not isinstance(last, StepStage) and last.streams:
        raise FieldError(("openai",), f"{last.name!r} answers in chunks; embeddings come whole")


def openai_sample(service: Service, index: int, signature: Signature) -> dict[str, NDArray[Any]] | None:
    """What the first model is profiled on where no data tells: random text is no message."""
    if service.openai is None or index:
        return None
    from trivet.wire.openai_input import sample_request

    return sample_request(service.openai.kind, signature)
