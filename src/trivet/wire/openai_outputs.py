"""What a model gave, read for an OpenAI-compatible answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError
from trivet.spec.openai import COUNTS, OpenAIForm

DONE = b"[DONE]"  # ends every stream
Outputs = Mapping[str, NDArray[Any]]


def one_bytes(outputs: Outputs, name: str) -> bytes:
    """The only element of an output. Raises: EngineError: there are none or several."""
    found = all_bytes(outputs, name)
    if len(found) != 1:
        raise EngineError(f"output {name!r} has {len(found)} elements; expected one")
    return found[0]


def all_bytes(outputs: Outputs, name: str) -> list[bytes]:
    return [one if isinstance(one, bytes) else str(one).encode() for one in outputs[name].reshape(-1)]


def utf8(text: bytes) -> str:
    """Raises: EngineError: it is not."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise EngineError(f"the model's text is not UTF-8: {error.reason}") from None


def bytes_array(*texts: bytes) -> NDArray[Any]:
    """BYTES as tensors hold them, shape (n,)."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def counted(form: OpenAIForm, outputs: Outputs) -> dict[str, int]:
    """The tokens that a model tells of; of several rows together."""
    return {name: int(outputs[name].sum()) for name in form.counts}


def usage_of(form: OpenAIForm, counts: Mapping[str, int]) -> dict[str, int] | None:
    """None: the model does not count, and nothing is made up."""
    if not counts:
        return None
    usage = {name: counts.get(name, 0) for name in (COUNTS[:1] if form.kind == "embeddings" else COUNTS)}
    return usage | {"total_tokens": sum(usage.values())}
