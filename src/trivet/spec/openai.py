"""A service that is asked in OpenAI's words: which of its endpoints it answers, under which names, and by which tensors.

Two signatures. Simple: the text comes in and goes out as tensors of its own, and the server writes the rest. Raw: whole
messages as JSON, as a model gives and takes them that is itself behind such an interface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec

from trivet.spec.fields import FieldError
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

Kind = Literal["chat", "completions", "embeddings"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

OPTIONS = (
    "options"  # input: a JSON object with the fields of the request that the server does not read itself
)
FINISH_REASON = "finish_reason"
# Outputs that count tokens, by OpenAI's names.
COUNTS = ("prompt_tokens", "completion_tokens")
_TEXT_INPUT: dict[Kind, str] = {"chat": "messages", "completions": "prompt"}
_TEXT_OUTPUT = "text"
_RAW_INPUT, _RAW_OUTPUT = "request", "response"
_FLOATS = ("FP16", "FP32", "FP64")
_INTEGERS = ("INT32", "INT64", "UINT32", "UINT64")


class OpenAI(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`openai: chat` is short for `openai: {kind: chat}`.

    kind: chat, completions or embeddings.
    names: what clients may call the model beside the service's own name. Not part of the hash.
    """

    shorthand: ClassVar[str] = "kind"

    kind: Kind
    names: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenAIForm:
    """How a service's tensors carry OpenAI's messages.

    is_raw: one input and one output hold whole messages.  text: the input of the text (or the whole message); `answer`:
    the output of it (or the vectors).  inputs: all of them, in the signature's order.  takes_many: several texts make one
    request, a row each.  counts: outputs that count tokens.  dimensions: of a vector, where the signature says it.
    """

    kind: Kind
    names: tuple[str, ...]
    is_raw: bool
    inputs: tuple[TensorSpec, ...]
    text: str
    answer: str
    takes_options: bool
    takes_many: bool
    gives_finish_reason: bool
    counts: tuple[str, ...]
    dimensions: int | None

    @property
    def only_text(self) -> bool:
        return len(self.inputs) == 1


def form_of(openai: OpenAI, signature: Signature) -> OpenAIForm:
    """Raises: FieldError: the signature is neither of the two; says what is missing."""
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    is_raw = [*inputs] == [_RAW_INPUT] and [*outputs] == [_RAW_OUTPUT]
    text, answer = (_RAW_INPUT, _RAW_OUTPUT) if is_raw else _simple_ends(openai.kind, signature)
    _check_bytes(inputs[text])
    if openai.kind != "embeddings" or is_raw:
        _check_bytes(outputs[answer])
    others = [name for name in inputs if name not in (text, OPTIONS)]
    if others:
        raise _wrong(openai.kind, f"nothing in such a request feeds the input {others[0]!r}")
    if OPTIONS in inputs:
        _check_bytes(inputs[OPTIONS])
    if FINISH_REASON in outputs:
        _check_bytes(outputs[FINISH_REASON])
    counts = tuple(name for name in COUNTS if name in outputs)
    for name in counts:
        if outputs[name].datatype not in _INTEGERS:
            raise FieldError(
                ("openai",), f"output {name!r} counts tokens: {outputs[name].datatype} is no integer"
            )
    last = outputs[answer].shape[-1:] if openai.kind == "embeddings" and not is_raw else ()
    return OpenAIForm(
        kind=openai.kind,
        names=openai.names,
        is_raw=is_raw,
        inputs=signature.inputs,
        text=text,
        answer=answer,
        takes_options=OPTIONS in inputs,
        takes_many=openai.kind == "embeddings" and inputs[text].shape[0] == VARIABLE and not is_raw,
        gives_finish_reason=FINISH_REASON in outputs,
        counts=counts,
        dimensions=last[0] if last and last[0] != VARIABLE else None,
    )


def _simple_ends(kind: Kind, signature: Signature) -> tuple[str, str]:
    """The names of the text's input and of the answer's output."""
    if kind == "embeddings":
        text = [spec.name for spec in signature.inputs if spec.datatype == "BYTES" and spec.name != OPTIONS]
        vectors = [spec for spec in signature.outputs if spec.datatype in _FLOATS]
        if not text or not vectors:
            raise _wrong(kind, "embeddings need an input of BYTES and an output of floating point numbers")
        if not 1 <= len(vectors[0].shape) <= 2:
            shape = list(vectors[0].shape)
            raise _wrong(
                kind, f"output {vectors[0].name!r} has the shape {shape}: a text gets one vector; pool before"
            )
        return text[0], vectors[0].name
    if not any(spec.name == _TEXT_INPUT[kind] for spec in signature.inputs):
        raise _wrong(kind, f"no input {_TEXT_INPUT[kind]!r}; the service takes {_names(signature.inputs)}")
    if not any(spec.name == _TEXT_OUTPUT for spec in signature.outputs):
        raise _wrong(kind, f"no output {_TEXT_OUTPUT!r}; the service gives {_names(signature.outputs)}")
    return _TEXT_INPUT[kind], _TEXT_OUTPUT


def _check_bytes(spec: TensorSpec) -> None:
    if spec.datatype != "BYTES" or not spec.shape or any(size not in (1, VARIABLE) for size in spec.shape):
        raise FieldError(
            ("openai",), f"tensor {spec.name!r} is {spec.datatype} {list(spec.shape)}; expected BYTES [1]"
        )


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join([spec.name for spec in specs])


def _wrong(kind: Kind, why: str) -> FieldError:
    if kind == "embeddings":
        return FieldError(("openai",), why)
    simple = f"{_TEXT_INPUT[kind]} (and {OPTIONS}) -> {_TEXT_OUTPUT} (and {FINISH_REASON})"
    return FieldError(
        ("openai",), f"{why}; `openai: {kind}` takes {simple}, or {_RAW_INPUT} -> {_RAW_OUTPUT}"
    )
