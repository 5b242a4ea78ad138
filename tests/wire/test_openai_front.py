"""OpenAI-compatible requests and answers as a server has them, without sockets; clients' readers check the answers."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import EngineError
from trivet.spec.fields import FieldError
from trivet.spec.openai import Kind, OpenAI, OpenAIForm, form_of
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire import openai_server
from trivet.wire.openai import read_chat, read_embeddings
from trivet.wire.openai_input import message_of, sample_request
from trivet.wire.openai_outputs import DONE, bytes_array
from trivet.wire.openai_request import Asked, Fields, OpenAIFieldError, read_asked
from trivet.wire.openai_server import EmbeddingsWriter, Heading, TextWriter, piece_writer

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
HEADING = Heading("1", 2, "m", "fp_3")


def tensors(text: str) -> tuple[TensorSpec, ...]:
    """`name DATATYPE size,size` separated by semicolons."""
    specs = []
    for one in text.split("; "):
        name, datatype, sizes = one.split(" ")
        specs.append(TensorSpec(name, datatype, tuple(int(size) for size in sizes.split(","))))
    return tuple(specs)


def form(kind: Kind, inputs: str, outputs: str) -> OpenAIForm:
    return form_of(OpenAI(kind=kind), Signature(tensors(inputs), tensors(outputs)))


CHAT = form("chat", "messages BYTES 1; options BYTES 1", "text BYTES 1; completion_tokens INT64 1")
PLAIN = form("chat", "messages BYTES 1", "text BYTES 1; finish_reason BYTES 1")
COMPLETE = form("completions", "prompt BYTES 1", "text BYTES 1")
RAW = form("chat", "request BYTES 1", "response BYTES 1")
EMBED = form("embeddings", "text BYTES -1", "length INT64 -1; vector FP32 -1,3; prompt_tokens INT64 -1")


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:stop] for start, stop in itertools.pairwise(places)]


def body_of(events: list[bytes]) -> bytes:
    return b"".join(b"data: %b\n\n" % event for event in events)


# --- what a service can be asked ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "expected"),
    [
        ("chat", "prompt BYTES 1", "text BYTES 1", "no input 'messages'; the service takes prompt"),
        ("completions", "prompt BYTES 1", "words BYTES 1", "no output 'text'"),
        ("chat", "messages BYTES 1; top_k INT64 1", "text BYTES 1", "nothing in such a request feeds"),
        ("chat", "messages BYTES 2", "text BYTES 1", "'messages' is BYTES \\[2\\]; expected BYTES \\[1\\]"),
        ("chat", "request INT64 1", "response BYTES 1", "'request' is INT64"),
        ("chat", "messages BYTES 1", "text BYTES 1; prompt_tokens FP32 1", "FP32 is no integer"),
        ("embeddings", "ids INT64 -1", "vector FP32 -1,3", "an input of BYTES"),
        ("embeddings", "text BYTES -1", "tokens FP32 -1,-1,3", "a text gets one vector"),
    ],
)
def test_a_signature_that_carries_no_such_messages(
    kind: Kind, inputs: str, outputs: str, expected: str
) -> None:
    with pytest.raises(FieldError, match=expected):
        form(kind, inputs, outputs)


def test_what_a_signature_says() -> None:
    assert (CHAT.text, CHAT.answer, CHAT.takes_options, CHAT.counts) == (
        "messages",
        "text",
        True,
        ("completion_tokens",),
    )
    assert (EMBED.text, EMBED.answer, EMBED.takes_many, EMBED.dimensions) == ("text", "vector", True, 3)
    assert (RAW.is_raw, RAW.text, RAW.answer) == (True, "request", "response")


@pytest.mark.parametrize("one", [CHAT, PLAIN, COMPLETE, RAW, EMBED])
def test_the_sample_of_a_profile_is_a_request_that_is_understood(one: OpenAIForm) -> None:
    sample = sample_request(one.kind, Signature(one.inputs, ()))
    assert sample is not None
    text = sample[one.text].reshape(-1)[0]
    field = {"chat": "messages", "completions": "prompt", "embeddings": "input"}[one.kind]
    given_text = json.loads(text) if one.kind == "chat" else text.decode()
    body = (
        text if one.is_raw else json.dumps({"model": "m", field: given_text}, separators=(",", ":")).encode()
    )
    assert read_asked(one, Fields(body)).texts == (text,)


# --- requests -----------------------------------------------------------------------------------------------------

SAY = [{"role": "user", "content": "hi"}]


def asked(one: OpenAIForm, **fields: Any) -> Asked:
    return read_asked(one, Fields(json.dumps({"model": "m", **fields}).encode()))


def test_the_model_gets_the_messages_as_they_came_and_the_rest_as_options() -> None:
    found = asked(CHAT, messages=SAY, temperature=0.5, max_tokens=None, user="me", stop=["a"], stream=True)
    assert json.loads(found.texts[0]) == SAY
    assert found.options == b'{"stop":["a"],"temperature":0.5}'
    assert (found.stream, found.include_usage) == (True, False)
    message = message_of(CHAT, found.texts, found.options)
    assert [(one.shape, one.data.tolist()) for one in message.inputs] == [
        ((1,), [found.texts[0]]),
        ((1,), [found.options]),
    ]


def test_a_raw_model_gets_the_request_byte_for_byte() -> None:
    body = b'{ "model" : "m", "stream":true, "n":3, "anything": [1e999], "stream_options":{"include_usage":true}}'
    found = read_asked(RAW, Fields(body))
    assert (found.texts, found.stream, found.include_usage) == ((body,), True, True)


@pytest.mark.parametrize(
    ("one", "fields", "param", "expected"),
    [
        (CHAT, {}, "messages", "missing or empty"),
        (CHAT, {"messages": "hi"}, "messages", "'hi'; expected a list of messages"),
        (CHAT, {"messages": ["hi"]}, "messages[0]", "expected an object with a role"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": 1}]},
            "messages[0].content",
            "is 1; expected a text",
        ),
        (CHAT, {"messages": SAY, "n": 2}, "n", "one choice"),
        (CHAT, {"messages": SAY, "n": True}, "n", "is true; expected a count"),
        (CHAT, {"messages": SAY, "stream": 1}, "stream", "is 1; expected true or false"),
        (CHAT, {"messages": SAY, "stream_options": {"include_usage": True}}, "stream_options", "set stream"),
        (PLAIN, {"messages": SAY, "temperature": 0}, "temperature", "follows no temperature"),
        (
            COMPLETE,
            {"prompt": [1, 2]},
            "prompt",
            "prompt[0] is 1; expected a text: send the text, not its tok",
        ),
        (COMPLETE, {"prompt": ["a", "b"], "stream": True}, "prompt", "2 prompts in one stream"),
        (EMBED, {"input": []}, "input", "missing or empty"),
        (EMBED, {"input": ["a"] * 2049}, "input", "2049 texts; at most 2048"),
        (
            EMBED,
            {"input": "a", "encoding_format": "hex"},
            "encoding_format",
            "'hex'; expected float or base64",
        ),
        (EMBED, {"input": "a", "dimensions": 2}, "dimensions", "is 2; this model gives 3"),
    ],
)
def test_a_request_that_cannot_be_followed_names_the_field(
    one: OpenAIForm, fields: dict[str, Any], param: str, expected: str
) -> None:
    with pytest.raises(OpenAIFieldError) as error:
        asked(one, **fields)
    assert error.value.param == param
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"[]", "not a JSON object"), (b'{"model":', "not a JSON object"), (b"", "not a JSON object")],
)
def test_a_body_that_is_no_object(body: bytes, expected: str) -> None:
    with pytest.raises(Exception, match=expected):
        Fields(body)


def test_a_model_is_named() -> None:
    with pytest.raises(OpenAIFieldError, match="model is missing"):
        Fields(b"{}").model  # noqa: B018  # reading it is what is tested


# --- answers ------------------------------------------------------------------------------------------------------


@given(TEXT, st.lists(st.integers(0, 100), max_size=5))
def test_text_survives_whatever_its_pieces_are(text: str, cuts: list[int]) -> None:
    parts = pieces(text.encode(), cuts)
    streamed, kept = TextWriter(CHAT, HEADING, include_usage=True), TextWriter(CHAT, HEADING)
    events = []
    for number, part in enumerate(parts, start=1):
        outputs = {"text": bytes_array(part), "completion_tokens": np.array([number])}
        event = streamed.piece(outputs)
        events += [] if event is None else [event]
        kept.add(outputs)
    answer = read_chat(body_of([*events, *streamed.end()]))
    assert (answer.text, answer.finish_reason) == (text, "stop")
    assert answer.usage["completion_tokens"] == len(parts)
    whole = read_chat(TextWriter(CHAT, HEADING).whole(kept.joined()))
    assert (whole.text, whole.finish_reason, whole.usage) == (text, "stop", answer.usage)


def test_the_first_event_names_the_role_and_a_model_says_why_it_ended() -> None:
    writer = TextWriter(PLAIN, HEADING)
    outputs = [
        {"text": bytes_array(b"a"), "finish_reason": bytes_array(reason)} for reason in (b"", b"length")
    ]
    events = [writer.piece(one) or b"" for one in outputs] + writer.end()
    assert [json.loads(event)["choices"][0]["delta"] for event in events[:-1]] == [
        {"role": "assistant", "content": "a"},
        {"content": "a"},
        {},
    ]
    assert json.loads(events[2])["choices"][0]["finish_reason"] == "length"
    assert events[3] == DONE


def test_an_answer_without_text_is_an_answer() -> None:
    writer = TextWriter(PLAIN, HEADING)
    assert writer.piece({"text": bytes_array(b""), "finish_reason": bytes_array(b"")}) is None
    assert read_chat(body_of(writer.end())).finish_reason == "stop"


def test_a_kept_answer_goes_out_as_a_stream() -> None:
    outputs = {"text": bytes_array(b"all"), "finish_reason": bytes_array(b"length")}
    answer = read_chat(body_of(TextWriter(PLAIN, HEADING).events(outputs)))
    assert (answer.text, answer.finish_reason, len(answer.ends)) == ("all", "length", 1)


def test_several_prompts_are_several_choices() -> None:
    body = TextWriter(COMPLETE, HEADING).whole({"text": bytes_array(b"a", b"b")})
    message = json.loads(body)
    assert message["object"] == "text_completion"
    assert [(one["index"], one["text"]) for one in message["choices"]] == [(0, "a"), (1, "b")]


def test_what_counts_no_tokens_makes_none_up() -> None:
    writer = TextWriter(PLAIN, HEADING, include_usage=True)
    assert json.loads(writer.end()[1])["usage"] is None


@pytest.mark.parametrize("as_base64", [False, True])
def test_vectors_are_read_back_exactly(as_base64: bool) -> None:
    vectors = np.array([[0.1, -2, 3e-8], [4, 5, 6]], np.float32)
    outputs = {"vector": vectors, "prompt_tokens": np.array([2, 3])}
    body = EmbeddingsWriter(EMBED, HEADING, as_base64=as_base64).whole(outputs)
    found, usage = read_embeddings(body)
    assert found.tolist() == vectors.tolist()
    assert usage == {"prompt_tokens": 5, "total_tokens": 5}


def test_one_vector_without_an_axis_of_texts() -> None:
    one = form("embeddings", "text BYTES 1", "vector FP64 2")
    body = EmbeddingsWriter(one, HEADING, as_base64=False).whole({"vector": np.array([1.0, 2.0])})
    assert read_embeddings(body)[0].tolist() == [[1, 2]]


def test_a_raw_answer_is_passed_on_and_can_become_a_stream() -> None:
    message = {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1},
    }
    outputs = {"response": bytes_array(json.dumps(message).encode())}
    assert json.loads(piece_writer(RAW, HEADING, include_usage=False).whole(outputs)) == message
    events = piece_writer(RAW, HEADING, include_usage=True).events(outputs)
    answer = read_chat(body_of(events))
    assert (answer.text, answer.finish_reason, answer.usage) == ("hi", "stop", {"prompt_tokens": 1})


def test_raw_events_are_passed_on_one_for_one() -> None:
    writer = piece_writer(RAW, HEADING, include_usage=True)
    found = [writer.piece({"response": bytes_array(event)}) for event in (b'{"a":1}', b'{\n"b":\r\n2}', DONE)]
    assert found == [b'{"a":1}', b'{\ndata: "b":\ndata: 2}', None]
    assert writer.end() == [DONE]


@pytest.mark.parametrize(
    ("one", "outputs", "expected"),
    [
        (PLAIN, {"text": bytes_array(b"\xff"), "finish_reason": bytes_array(b"")}, "not UTF-8"),
        (PLAIN, {"text": bytes_array(), "finish_reason": bytes_array()}, "has 0 elements; expected one"),
        (RAW, {"response": bytes_array(b"<html>")}, "not a JSON object"),
        (RAW, {"response": bytes_array(b'{"choices":[1]}')}, "a choice that is no object"),
    ],
)
def test_what_is_no_answer_is_the_models_error(
    one: OpenAIForm, outputs: dict[str, Any], expected: str
) -> None:
    with pytest.raises(EngineError, match=expected):
        piece_writer(one, HEADING, include_usage=False).events(outputs)


def test_text_that_ends_inside_a_character_is_the_models_error() -> None:
    writer = TextWriter(COMPLETE, HEADING)
    assert writer.piece({"text": bytes_array("é".encode()[:1])}) is None
    with pytest.raises(EngineError, match="not UTF-8"):
        writer.end()


def test_numbers_that_json_does_not_have() -> None:
    outputs = {"vector": np.array([[1, np.nan, 2]], np.float32), "prompt_tokens": np.array([1])}
    with pytest.raises(EngineError, match="'vector' holds numbers"):
        EmbeddingsWriter(EMBED, HEADING, as_base64=True).whole(outputs)


def test_a_text_that_never_ends_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "MOST_TEXT_BYTES", 10)
    writer = TextWriter(COMPLETE, HEADING)
    writer.add({"text": bytes_array(b"0123456789")})
    with pytest.raises(EngineError, match="ask for a stream"):
        writer.add({"text": bytes_array(b"x")})


def test_a_raw_answer_that_is_wanted_whole_has_one_piece() -> None:
    writer = piece_writer(RAW, HEADING, include_usage=False)
    with pytest.raises(EngineError, match="no answer"):
        writer.joined()
    writer.add({"response": bytes_array(b"{}")})
    with pytest.raises(EngineError, match="several pieces"):
        writer.add({"response": bytes_array(b"{}")})
