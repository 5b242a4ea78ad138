"""OpenAI-compatible answers, from a model's outputs to bytes: whole, or as the events of a stream. No sockets.

Source: OpenAI's API reference (chat/completions and its stream, completions, embeddings, models).
"""

import base64
import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError
from trivet.spec.openai import FINISH_REASON, Kind, OpenAIForm
from trivet.wire.openai_outputs import (
    DONE,
    Outputs,
    all_bytes,
    bytes_array,
    counted,
    one_bytes,
    usage_of,
    utf8,
)
from trivet.wire.openai_raw import RawWriter

# An answer that is given whole is held until its end: one that never ends must not fill the memory.
MOST_TEXT_BYTES = 64 << 20
_PREFIX: dict[Kind, str] = {"chat": "chatcmpl-", "completions": "cmpl-", "embeddings": "embd-"}
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands on top of an answer.

    created: seconds since 1970.  fingerprint: of the configuration that answered.
    """

    id: str
    created: int
    model: str
    fingerprint: str


NO_HEADING = Heading("", 0, "", "")  # where pieces are only put together


class AnswerWriter(Protocol):
    """Writes one request's answer. Its methods raise EngineError where the model gave what is no such answer."""

    def whole(self, outputs: Outputs) -> bytes:
        """The answer in one piece."""


class PieceWriter(AnswerWriter, Protocol):
    """The same for an answer that may come, or go, in pieces."""

    def events(self, outputs: Outputs) -> list[bytes]:
        """A whole answer as all events of a stream."""

    def piece(self, outputs: Outputs) -> bytes | None:
        """The event of the next piece of the answer; None: there is nothing to tell yet."""

    def end(self) -> list[bytes]:
        """The events behind the last piece."""

    def add(self, outputs: Outputs) -> None:
        """Keep a piece of an answer that is wanted whole."""

    def joined(self) -> dict[str, NDArray[Any]]:
        """The outputs of all pieces that were added."""


def piece_writer(form: OpenAIForm, heading: Heading, *, include_usage: bool) -> PieceWriter:
    if form.is_raw:
        return RawWriter(form, include_usage=include_usage)
    return TextWriter(form, heading, include_usage=include_usage)


class TextWriter:
    """Chat and text completions of a model that gives text.

    Text may come in pieces that end inside a character. Counts are those of the last piece.
    """

    def __init__(self, form: OpenAIForm, heading: Heading, *, include_usage: bool = False) -> None:
        self._form = form
        self._is_chat = form.kind == "chat"
        self._include_usage = include_usage
        kind = "chat.completion" if self._is_chat else "text_completion"
        self._head = {
            "id": _PREFIX[form.kind] + heading.id,
            "object": kind,
            "created": heading.created,
            "model": heading.model,
            "system_fingerprint": heading.fingerprint,
        }
        self._piece_head = self._head | {"object": kind + ".chunk"} if self._is_chat else self._head
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_first = True
        self._finish_reason = ""
        self._counts: dict[str, int] = {}
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    def whole(self, outputs: Outputs) -> bytes:
        texts = all_bytes(outputs, self._form.answer)
        reasons = all_bytes(outputs, FINISH_REASON) if self._form.gives_finish_reason else [b""] * len(texts)
        choices = [
            self._choice(index, utf8(text), utf8(reason) or "stop")
            for index, (text, reason) in enumerate(zip(texts, reasons, strict=True))
        ]
        usage = usage_of(self._form, counted(self._form, outputs))
        return _encode(self._head | {"choices": choices, "usage": usage})

    def _choice(self, index: int, text: str, finish_reason: str) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": text}} if self._is_chat else {"text": text}
        return {"index": index, **said, "logprobs": None, "finish_reason": finish_reason}

    def events(self, outputs: Outputs) -> list[bytes]:
        first = self.piece(outputs)
        return ([] if first is None else [first]) + self.end()

    def piece(self, outputs: Outputs) -> bytes | None:
        text = self._text(outputs)
        if not text:
            return None
        return self._event(text, None)

    def _text(self, outputs: Outputs) -> str:
        """What a piece adds to the text; keeps what it says beside."""
        self._counts = counted(self._form, outputs) or self._counts
        if self._form.gives_finish_reason:
            self._finish_reason = utf8(one_bytes(outputs, FINISH_REASON)) or self._finish_reason
        return self._decoded(one_bytes(outputs, self._form.answer))

    def end(self) -> list[bytes]:
        self._decoded(b"", final=True)
        events = [self._event("", self._finish_reason or "stop")]
        if self._include_usage:
            events.append(
                _encode(self._piece_head | {"choices": [], "usage": usage_of(self._form, self._counts)})
            )
        return [*events, DONE]

    def _decoded(self, piece: bytes, *, final: bool = False) -> str:
        try:
            return self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            raise EngineError(f"the model's text is not UTF-8: {error.reason}") from None

    def _event(self, text: str, finish_reason: str | None) -> bytes:
        said: dict[str, Any]
        if self._is_chat:
            delta = {"role": "assistant"} if self._is_first else {}
            said = {"delta": delta | ({"content": text} if text or self._is_first else {})}
        else:
            said = {"text": text}
        self._is_first = False
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return _encode(self._piece_head | {"choices": [choice]} | usage)

    def add(self, outputs: Outputs) -> None:
        text = self._text(outputs).encode()
        self._kept.append(text)
        self._kept_bytes += len(text)
        if self._kept_bytes > MOST_TEXT_BYTES:
            raise EngineError(
                f"the text is longer than {MOST_TEXT_BYTES} bytes, the most that is given whole: ask for a stream"
            )

    def joined(self) -> dict[str, NDArray[Any]]:
        self._decoded(b"", final=True)
        outputs = {self._form.answer: bytes_array(b"".join(self._kept))}
        if self._form.gives_finish_reason:
            outputs[FINISH_REASON] = bytes_array(self._finish_reason.encode())
        counts = {name: np.array([self._counts.get(name, 0)], np.int64) for name in self._form.counts}
        return outputs | counts


class EmbeddingsWriter:
    """Vectors, one for each text."""

    def __init__(self, form: OpenAIForm, heading: Heading, *, as_base64: bool) -> None:
        self._form = form
        self._heading = heading
        self._as_base64 = as_base64

    def whole(self, outputs: Outputs) -> bytes:
        found = outputs[self._form.answer]
        vectors = np.ascontiguousarray(found.reshape(-1, found.shape[-1]), np.float32)
        if not np.isfinite(vectors).all():
            raise EngineError(
                f"output {self._form.answer!r} holds numbers that JSON does not have (NaN, infinity)"
            )
        data = [
            {"object": "embedding", "index": index, "embedding": self._vector(vector)}
            for index, vector in enumerate(vectors)
        ]
        usage = usage_of(self._form, counted(self._form, outputs))
        return _encode({"object": "list", "data": data, "model": self._heading.model, "usage": usage})

    def _vector(self, vector: NDArray[np.float32]) -> str | list[float]:
        return base64.b64encode(vector.tobytes()).decode() if self._as_base64 else vector.tolist()


def model_list(names: Sequence[str], created: int) -> bytes:
    return _encode({"object": "list", "data": [_model(name, created) for name in names]})


def model_entry(name: str, created: int) -> bytes:
    return _encode(_model(name, created))


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "trivet"}


def error_body(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
