"""Answers of a model that gives OpenAI's messages itself: passed on as they are."""

from typing import Any

import msgspec
from numpy.typing import NDArray

from trivet.errors import EngineError
from trivet.spec.openai import OpenAIForm
from trivet.wire.openai_outputs import DONE, Outputs, bytes_array, one_bytes
from trivet.wire.v2_input import JSON_ERRORS, plain

_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class RawWriter:
    """One request's answer: a whole message, or one message for each event of the stream."""

    def __init__(self, form: OpenAIForm, *, include_usage: bool = False) -> None:
        self._form = form
        self._include_usage = include_usage
        self._kept: list[bytes] = []

    def whole(self, outputs: Outputs) -> bytes:
        answer = one_bytes(outputs, self._form.answer)
        _object(answer)
        return answer

    def events(self, outputs: Outputs) -> list[bytes]:
        """A whole answer, as one that was kept is: its message is the only delta."""
        message = _object(one_bytes(outputs, self._form.answer))
        usage = message.pop("usage", None)
        if self._form.kind == "chat":
            message["object"] = "chat.completion.chunk"
            message["choices"] = [_as_delta(choice) for choice in message.get("choices") or ()]
        events = [_encode(message)]
        if self._include_usage:
            events.append(_encode(message | {"choices": [], "usage": usage}))
        return [*events, DONE]

    def piece(self, outputs: Outputs) -> bytes | None:
        event = one_bytes(outputs, self._form.answer)
        if event.strip() == DONE:  # ours stands at the end, whether the model says it or not
            return None
        # An event ends at an empty line, and each of its lines says that it is data.
        return b"\ndata: ".join(event.splitlines()) if b"\n" in event or b"\r" in event else event

    def end(self) -> list[bytes]:
        return [DONE]

    def add(self, outputs: Outputs) -> None:
        answer = one_bytes(outputs, self._form.answer)
        if self._kept:
            raise EngineError("the model gave several pieces of an answer that was asked for whole")
        self._kept.append(answer)

    def joined(self) -> dict[str, NDArray[Any]]:
        if not self._kept:
            raise EngineError("the model gave no answer")
        return {self._form.answer: bytes_array(self._kept[0])}


def _object(answer: bytes) -> dict[str, Any]:
    try:
        return _decode_object(answer)
    except JSON_ERRORS as error:
        raise EngineError(f"the model's answer is not a JSON object: {plain(error)}") from None


def _as_delta(choice: Any) -> dict[str, Any]:
    if not isinstance(choice, dict):
        raise EngineError("the model's answer has a choice that is no object")
    return {"delta" if name == "message" else name: value for name, value in choice.items()}
