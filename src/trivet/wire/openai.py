"""OpenAI-compatible answers: chat completions, whole or as a stream, and embeddings. No sockets.

Source: OpenAI's API reference (chat/completions, its stream, embeddings), as vLLM and others implement it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.wire.sse import read_events
from trivet.wire.tensor import shown
from trivet.wire.v2_client import BadResponseError, error_text

_DONE = b"[DONE]"
# What a token shows up in: text, the thoughts of a reasoning model, a call of a tool.
_CARRIERS = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """`usage`: counts of tokens that the server told. `ends`: of a stream, for each event that carried output how many
    bytes of the body it took to have it.
    """

    text: str
    finish_reason: str
    usage: Mapping[str, int]
    ends: tuple[int, ...] = ()


@dataclass(slots=True)
class _Stream:
    text: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    finish_reason: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    done: bool = False


def read_chat(body: bytes) -> ChatAnswer:
    """A chat completion: one JSON object, or server-sent events, whichever it is; the first choice of several.

    Raises: BadResponseError: neither, an error inside the stream, or a stream that was cut off.
    """
    if body.lstrip()[:1] != b"{":
        return _read_stream(body)
    message = _object(body, "the answer")
    choice = _first_choice(message, "message")
    if choice is None:
        raise BadResponseError(f"the answer has no choices: {error_text(body)}")
    return ChatAnswer(
        _text(choice["message"].get("content")), _text(choice.get("finish_reason")), _usage(message)
    )


def read_embeddings(body: bytes) -> tuple[NDArray[np.float32], Mapping[str, int]]:
    """Embeddings in the order of their inputs, shape (inputs, dimensions), and the counts of tokens.

    Each is a list of numbers or base64 of little-endian float32, whichever the server chose.
    Raises: BadResponseError.
    """
    message = _object(body, "the answer")
    data = message.get("data")
    if not isinstance(data, list) or not data:
        raise BadResponseError(f"the answer has no embeddings: {error_text(body)}")
    rows: dict[int, NDArray[np.float32]] = {}
    for i, one in enumerate(data):
        if not isinstance(one, dict) or "embedding" not in one:
            raise BadResponseError(f"data[{i}] is {shown(one)}; expected an object with an embedding")
        index = one.get("index", i)
        if type(index) is not int or not 0 <= index < len(data) or index in rows:
            raise BadResponseError(
                f"data[{i}].index is {shown(index)}; expected each of 0 to {len(data) - 1} once"
            )
        rows[index] = _vector(one["embedding"], i)
    if len({len(row) for row in rows.values()}) > 1:
        raise BadResponseError("the embeddings differ in their number of dimensions")
    return np.stack([rows[i] for i in range(len(data))]), _usage(message)


def _read_stream(body: bytes) -> ChatAnswer:
    stream = _Stream()
    for event in read_events(body):
        if event.data == _DONE:
            stream.done = True
            break
        _take(stream, _object(event.data, "an event of the stream"), event.end)
    if not stream.done and not stream.finish_reason:
        raise BadResponseError(
            f"the stream was cut off after {len(stream.ends)} events with output: no finish_reason, no [DONE]"
        )
    return ChatAnswer("".join(stream.text), stream.finish_reason, stream.usage, tuple(stream.ends))


def _take(stream: _Stream, message: Mapping[str, Any], end: int) -> None:
    if message.get("error") or message.get("object") == "error":
        error = message.get("error") or message
        text = error.get("message") if isinstance(error, dict) else error
        raise BadResponseError(f"the stream ends in an error: {shown(text)}")
    stream.usage = _usage(message) or stream.usage
    choice = _first_choice(message, "delta")
    if choice is None:  # an event that only carries the usage
        return
    stream.finish_reason = _text(choice.get("finish_reason")) or stream.finish_reason
    delta = choice["delta"]
    if any(delta.get(carrier) for carrier in _CARRIERS):
        stream.ends.append(end)
        stream.text.append(_text(delta.get("content")))


def _first_choice(message: Mapping[str, Any], part: str) -> dict[str, Any] | None:
    """The choice of index 0, its `part` an object; None where the message carries no such choice."""
    choices = message.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            found = choice.get(part)
            return choice | {part: found if isinstance(found, dict) else {}}
    return None


def _usage(message: Mapping[str, Any]) -> dict[str, int]:
    usage = message.get("usage")
    return {name: n for name, n in usage.items() if type(n) is int} if isinstance(usage, dict) else {}


def tokens_of(usage: Any) -> tuple[int, int]:
    """Of the prompt and of the answer, as an answer's `usage` tells them; 0 where it does not."""
    counts = usage if isinstance(usage, dict) else {}
    found = [counts.get(name) for name in ("prompt_tokens", "completion_tokens")]
    given, made = (one if type(one) is int and one > 0 else 0 for one in found)
    return given, made


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadResponseError(f"{what} is not JSON: {error_text(text)}") from None
    if not isinstance(message, dict):
        raise BadResponseError(f"{what} is {shown(message)}; expected an object")
    return message


def _vector(value: Any, index: int) -> NDArray[np.float32]:
    try:
        if isinstance(value, str):
            vector = np.frombuffer(base64.b64decode(value, validate=True), "<f4")
        else:
            vector = np.array(value, np.float32)
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadResponseError(f"data[{index}].embedding is neither numbers nor base64: {error}") from None
    if vector.ndim != 1 or not len(vector):
        raise BadResponseError(f"data[{index}].embedding has the shape {list(vector.shape)}")
    return vector
