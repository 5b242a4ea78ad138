"""OpenAI-compatible chat completions, streamed or whole."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.load.dialects._openai_request import check_usable, post, text_of
from trivet.load.dialects.contract import Row, read_ok
from trivet.load.dialects.token_times import Chunks, TokenTimes, token_times
from trivet.load.job import HttpRequest
from trivet.wire.openai import read_chat

PATH = "/v1/chat/completions"


class OpenAIChat:
    """Args: text: the input that holds the user's message; None: the only one.  system: a message before it.
    max_tokens: of the answer; None: the server's default.  parameters: further fields of every request, as
    `{"temperature": 0, "ignore_eos": True}`.  headers: `Authorization`, where one is needed.
    """

    def __init__(
        self,
        model: str,
        *,
        stream: bool = True,
        text: str | None = None,
        system: str = "",
        max_tokens: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        path: str = PATH,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._text, self._path, self._headers = text, path, dict(headers or {})
        self._before = [{"role": "system", "content": system}] if system else []
        self._fields: dict[str, Any] = {"model": model, **(parameters or {})}
        if max_tokens is not None:
            self._fields["max_tokens"] = max_tokens
        if stream:  # servers send no counts with a stream unless they are asked
            self._fields |= {"stream": True, "stream_options": {"include_usage": True}}

    def requests(self, rows: Sequence[Row]) -> list[HttpRequest]:
        requests = []
        for number, row in enumerate(rows, start=1):
            user = {"role": "user", "content": text_of(row, self._text, number)}
            requests.append(
                post(self._path, self._headers, {**self._fields, "messages": [*self._before, user]})
            )
        return requests

    def payload_requests(self, payloads: Sequence[Mapping[str, Any]]) -> list[HttpRequest]:
        """Whole bodies, as `payload` of Perf Analyzer's files; what they do not set is set as for rows.

        Raises: SpecError: a payload without messages.
        """
        for number, payload in enumerate(payloads, start=1):
            check_usable(number, payload, "messages")
        return [post(self._path, self._headers, {**self._fields, **payload}) for payload in payloads]

    def outputs(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
        """`text` and `finish_reason` (BYTES), and each count of tokens that the server told; shape (1,)."""
        answer = read_ok(status, body, read_chat)
        outputs: dict[str, NDArray[Any]] = {
            "text": np.array([answer.text.encode()], object),
            "finish_reason": np.array([answer.finish_reason.encode()], object),
        }
        return outputs | {name: np.array([count], np.int64) for name, count in answer.usage.items()}

    def tokens(self, chunks: Chunks, body: bytes, status: int = 200) -> TokenTimes:
        """When the tokens of one answer came, from the chunks in which it was received.

        Raises: BadAnswerError: as `outputs`.
        """
        return token_times(chunks, read_ok(status, body, read_chat))
