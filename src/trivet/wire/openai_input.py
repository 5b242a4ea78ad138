"""The texts of an OpenAI-compatible request as the inputs of a service."""

from collections.abc import Sequence
from typing import Any

import msgspec
from numpy.typing import NDArray

from trivet.spec.openai import OPTIONS, Kind, OpenAIForm
from trivet.spec.signature import VARIABLE, Signature
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


_SAMPLE_TEXT = "Where is my card? I ordered it two weeks ago."
_SAMPLE_MESSAGES = [{"role": "user", "content": _SAMPLE_TEXT}]
_SAMPLE_OPTIONS = {"max_tokens": 16}
_SAMPLE_BODIES: dict[Kind, dict[str, Any]] = {
    "chat": {"messages": _SAMPLE_MESSAGES, **_SAMPLE_OPTIONS},
    "completions": {"prompt": _SAMPLE_TEXT, **_SAMPLE_OPTIONS},
    "embeddings": {"input": _SAMPLE_TEXT},
}


def sample_request(kind: Kind, signature: Signature) -> dict[str, NDArray[Any]] | None:
    """A request such as clients send, where a profile has no data to take one from; None: it takes more than text."""
    if any(spec.datatype != "BYTES" for spec in signature.inputs):
        return None
    known = {
        "messages": _SAMPLE_MESSAGES,
        OPTIONS: {} if kind == "embeddings" else _SAMPLE_OPTIONS,
        "request": {"model": "sample", **_SAMPLE_BODIES[kind]},
    }
    sample = {}
    for spec in signature.inputs:
        text = msgspec.json.encode(known[spec.name]) if spec.name in known else _SAMPLE_TEXT.encode()
        sample[spec.name] = bytes_array(text).reshape((1,) * len(spec.shape))
    return sample
