"""OpenAI-compatible embeddings, as lists of numbers or as base64."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trivet.load.dialects._openai_request import check_usable, post, text_of
from trivet.load.dialects.contract import Row, read_ok
from trivet.load.job import HttpRequest
from trivet.wire.openai import read_embeddings

PATH = "/v1/embeddings"


class OpenAIEmbeddings:
    """Args: encoding: how the numbers travel; base64 is what OpenAI's own client asks for.  text, parameters, headers:
    as for chat.
    """

    def __init__(
        self,
        model: str,
        *,
        encoding: Literal["float", "base64"] = "float",
        text: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        path: str = PATH,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._text, self._path, self._headers = text, path, dict(headers or {})
        self._fields = {"model": model, "encoding_format": encoding, **(parameters or {})}

    def requests(self, rows: Sequence[Row]) -> list[HttpRequest]:
        return [
            post(self._path, self._headers, {**self._fields, "input": text_of(row, self._text, number)})
            for number, row in enumerate(rows, start=1)
        ]

    def payload_requests(self, payloads: Sequence[Mapping[str, Any]]) -> list[HttpRequest]:
        """Whole bodies, as `payload` of Perf Analyzer's files. Raises: SpecError: a payload without input."""
        for number, payload in enumerate(payloads, start=1):
            check_usable(number, payload, "input")
        return [post(self._path, self._headers, {**self._fields, **payload}) for payload in payloads]

    def outputs(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
        """`embedding`, float32 of shape (inputs, dimensions), and each count of tokens that the server told."""
        embedding, usage = read_ok(status, body, read_embeddings)
        counts = {name: np.array([count], np.int64) for name, count in usage.items()}
        return {"embedding": embedding, **counts}
