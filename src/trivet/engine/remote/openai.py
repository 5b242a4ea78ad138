"""Models of an OpenAI-compatible service: chat and completions as they come, embeddings as tensors."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from trivet.engine.contract import Tensors
from trivet.engine.remote.contract import Asking, Tokens, Told, TryError, one_text
from trivet.errors import BadRequestError
from trivet.spec.remote import RAW, Remote
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.openai import read_embeddings, tokens_of
from trivet.wire.v2_client import BadResponseError, error_text

_JSON = {"Content-Type": "application/json"}
_DONE = b"[DONE]"
_EMBEDDINGS = Signature(
    (TensorSpec("input", "BYTES", (-1,)),), (TensorSpec("embedding", "FP32", (-1, -1)),), True
)
_PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


class RawDialect:
    """Chat or completions: the client's body goes on with the upstream's name of the model, and nothing else changed."""

    def __init__(self, remote: Remote) -> None:
        self._model = remote.model
        self._path = _PATHS[remote.operation]

    @property
    def signature(self) -> Signature:
        return RAW

    def asking(self, inputs: Tensors) -> Asking:
        try:
            body = json.loads(inputs["request"].reshape(-1)[0])
        except (ValueError, RecursionError) as error:
            raise BadRequestError(f"input 'request' is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise BadRequestError(
                "input 'request' is JSON, but no object: it holds the body of a request to OpenAI"
            )
        body["model"] = self._model
        return Asking(self._path, json.dumps(body).encode(), _JSON, streams=body.get("stream") is True)

    def told(self, asking: Asking, headers: Mapping[str, str], body: bytes) -> Told:
        return Told({"response": one_text(body)}, _checked(body))

    def chunk(self, data: bytes) -> Told | None:
        if data == _DONE:
            return None
        return Told({"response": one_text(data)}, _checked(data))


class EmbeddingsDialect:
    """Texts in, vectors out: a row for each."""

    def __init__(self, remote: Remote) -> None:
        self._model = remote.model

    @property
    def signature(self) -> Signature:
        return _EMBEDDINGS

    def asking(self, inputs: Tensors) -> Asking:
        try:
            texts = [text.decode() for text in inputs["input"].reshape(-1).tolist()]
        except UnicodeDecodeError as error:
            raise BadRequestError(f"input 'input' is not UTF-8: {error}") from None
        body = json.dumps({"model": self._model, "input": texts}).encode()
        return Asking("/v1/embeddings", body, _JSON, rows=len(texts))

    def told(self, asking: Asking, headers: Mapping[str, str], body: bytes) -> Told:
        try:
            vectors, usage = read_embeddings(body)
        except BadResponseError as error:
            raise TryError("rubbish", str(error)) from None
        if len(vectors) != asking.rows:
            raise TryError("rubbish", f"{len(vectors)} embeddings for {asking.rows} texts")
        return Told({"embedding": np.ascontiguousarray(vectors)}, tokens_of(usage))

    def chunk(self, data: bytes) -> Told | None:
        raise TryError("rubbish", "embeddings came in chunks")


def _checked(body: bytes) -> Tokens:
    """The tokens that an answer tells of. Raises: TryError: not an answer, or one that tells of an error."""
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise TryError("rubbish", f"the answer is not JSON: {error_text(body)}") from None
    if not isinstance(message, dict):
        raise TryError("rubbish", f"the answer is no object: {error_text(body)}")
    if message.get("error") or message.get("object") == "error":
        raise TryError("status", f"the answer tells of an error: {error_text(body)}")
    if not isinstance(message.get("choices"), list):
        raise TryError("rubbish", f"the answer has no choices: {error_text(body)}")
    return tokens_of(message.get("usage"))
