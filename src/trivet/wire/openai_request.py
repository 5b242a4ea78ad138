"""OpenAI-compatible requests, from bytes to what a service is asked. No sockets, no models.

Source: OpenAI's API reference (chat/completions, completions, embeddings).

Only the fields that the server itself acts on are read; the rest is handed to the model as it came, or refused where
the model takes no options: a setting that nobody follows would be a silent mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from trivet.errors import BadRequestError
from trivet.spec.openai import Kind, OpenAIForm
from trivet.wire.tensor import Buffer, shown
from trivet.wire.v2_input import JSON_ERRORS, plain
from trivet.wire.v2_request import check_structure

# Texts in one request: OpenAI's own limit for embeddings.
MOST_TEXTS = 2048
# Fields that change no answer: who asks, and what is written down of it.
_WITHOUT_EFFECT = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
_READ = frozenset({"model", "stream", "stream_options", "n"})
_TEXT_FIELD: dict[Kind, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}
_ENCODINGS = ("float", "base64")

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


class OpenAIFieldError(BadRequestError):
    """One field of the request is wrong; `param` names it, as OpenAI's errors do."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Asked:
    """texts: what the model is given, UTF-8: the messages of a chat as JSON, prompts, texts to embed, or the whole request.
    options: a JSON object with the fields that are the model's business.
    """

    texts: tuple[bytes, ...]
    options: bytes = b"{}"
    stream: bool = False
    include_usage: bool = False
    as_base64: bool = False


class Fields:
    """The fields of a request, each read when it is asked for.

    Raises: BadRequestError: not a JSON object in UTF-8.
    """

    def __init__(self, body: Buffer) -> None:
        check_structure(body)
        try:
            self._fields: Mapping[str, msgspec.Raw] = _decode_fields(body)
        except JSON_ERRORS as error:
            raise BadRequestError(f"the body is not a JSON object: {plain(error)}") from None
        try:
            str(body, "utf-8")  # what nobody reads here goes on to the model as it came
        except UnicodeDecodeError as error:
            raise BadRequestError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
        self.body = bytes(body)

    def read(self, name: str, kinds: tuple[type, ...], expected: str, default: Any = None) -> Any:
        """Raises: OpenAIFieldError: of another type. `null` is as if it were not there."""
        raw = self._fields.get(name)
        if raw is None:
            return default
        try:
            value = _decode_any(raw)
        except JSON_ERRORS as error:
            raise OpenAIFieldError(name, f"{name} is not valid JSON: {plain(error)}") from None
        if value is None:
            return default
        if type(value) not in kinds:
            raise OpenAIFieldError(name, f"{name} is {shown(value)}; expected {expected}")
        return value

    def raw(self, name: str) -> bytes:
        return bytes(self._fields[name])

    @property
    def model(self) -> str:
        model: str = self.read("model", (str,), "a name", "")
        if not model:
            raise OpenAIFieldError("model", "model is missing; GET /v1/models lists those of this server")
        return model

    def others(self, read: frozenset[str]) -> dict[str, msgspec.Raw]:
        """What is neither in `read` nor null nor without effect, by name in their order."""
        return {
            name: raw
            for name, raw in sorted(self._fields.items())
            if name not in read and name not in _WITHOUT_EFFECT and bytes(raw) != b"null"
        }


def read_asked(form: OpenAIForm, fields: Fields) -> Asked:
    """What a service of this form is asked.

    Raises: BadRequestError: a field is missing, wrong, or asks for what the service cannot do.
    """
    if form.kind == "embeddings":
        return _embeddings(form, fields)
    stream = fields.read("stream", (bool,), "true or false", False)
    stream_options = fields.read("stream_options", (dict,), "an object", {})
    if stream_options and not stream:
        raise OpenAIFieldError("stream_options", "stream_options are for a stream; set stream")
    include_usage = stream_options.get("include_usage") is True
    if form.is_raw:
        return Asked((fields.body,), stream=stream, include_usage=include_usage)
    if fields.read("n", (int,), "a count", 1) != 1:
        raise OpenAIFieldError("n", "n: this model gives one choice")
    texts = (_messages(fields),) if form.kind == "chat" else _texts(fields, "prompt")
    if stream and len(texts) > 1:
        raise OpenAIFieldError("prompt", f"{len(texts)} prompts in one stream; send one, or leave out stream")
    return Asked(texts, _options(form, fields), stream, include_usage)


def _embeddings(form: OpenAIForm, fields: Fields) -> Asked:
    encoding = fields.read("encoding_format", (str,), "float or base64", "float")
    if encoding not in _ENCODINGS:
        raise OpenAIFieldError(
            "encoding_format", f"encoding_format is {shown(encoding)}; expected float or base64"
        )
    as_base64 = encoding == "base64"
    if form.is_raw:
        return Asked((fields.body,), as_base64=as_base64)
    read = frozenset({"model", "input", "encoding_format"})
    if not form.takes_options and form.dimensions is not None:
        dimensions = fields.read("dimensions", (int,), "a count", form.dimensions)
        if dimensions != form.dimensions:
            raise OpenAIFieldError(
                "dimensions", f"dimensions is {shown(dimensions)}; this model gives {form.dimensions}"
            )
        read |= {"dimensions"}
    return Asked(_texts(fields, "input"), _options(form, fields, read), as_base64=as_base64)


def _texts(fields: Fields, name: str) -> tuple[bytes, ...]:
    value = fields.read(name, (str, list), "a text or a list of texts")
    texts = [value] if isinstance(value, str) else value
    if not texts:
        raise OpenAIFieldError(name, f"{name} is missing or empty")
    if len(texts) > MOST_TEXTS:
        raise OpenAIFieldError(name, f"{name} has {len(texts)} texts; at most {MOST_TEXTS} are taken at once")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            hint = ": send the text, not its tokens" if isinstance(text, int | list) else ""
            raise OpenAIFieldError(name, f"{name}[{index}] is {shown(text)}; expected a text{hint}")
    return tuple([text.encode() for text in texts])


def _messages(fields: Fields) -> bytes:
    """The messages of a chat as they came, checked as far as every model needs them."""
    messages = fields.read("messages", (list,), "a list of messages")
    if not messages:
        raise OpenAIFieldError("messages", "messages is missing or empty")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise OpenAIFieldError(where, f"{where} is {shown(message)}; expected an object with a role")
        content = message.get("content")
        if not (content is None or isinstance(content, str | list)):
            raise OpenAIFieldError(
                f"{where}.content", f"{where}.content is {shown(content)}; expected a text or a list of parts"
            )
    return fields.raw("messages")


def _options(form: OpenAIForm, fields: Fields, read: frozenset[str] = _READ) -> bytes:
    others = fields.others(read | {_TEXT_FIELD[form.kind]})
    if not form.takes_options and others:
        name = next(iter(others))
        raise OpenAIFieldError(
            name,
            f"this model follows no {name}: leave it out (a service with the input `options` is given it)",
        )
    return msgspec.json.encode(others)
