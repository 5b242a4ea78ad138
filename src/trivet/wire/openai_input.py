"""The texts of an OpenAI-compatible request as the inputs of a service."""

from collections.abc import Sequence

from trivet.spec.openai import OpenAIForm
from trivet.spec.signature import VARIABLE
from trivet.wire.openai_outputs import bytes_array
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage


def message_of(form: OpenAIForm, texts: Sequence[bytes], options: bytes) -> InferMessage:
    """One request for the service. Args: texts: several only where the form takes many."""
    inputs = []
    for spec in form.inputs:
        one = [*texts] if spec.name == form.text else [options]
        if spec.name != form.text and spec.shape[0] == VARIABLE:
            one *= len(texts)  # axis 0 counts rows, and each has its options
        inputs.append(InferInput((len(one),) + (1,) * (len(spec.shape) - 1), bytes_array(*one)))
    return InferMessage(inputs, "", None, None, False)
