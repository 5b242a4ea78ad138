"""Server-sent events, and OpenAI's answers made of them."""

import base64
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.wire.openai import ChatAnswer, read_chat, read_embeddings
from trivet.wire.sse import Event, EventReader, read_events
from trivet.wire.v2_client import BadResponseError

LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=8)


@given(st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=5), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_written_is_read_back(events: list[list[str]], newline: str) -> None:
    body, ends = b"", []
    for lines in events:
        body += "".join(f"data: {line}{newline}" for line in lines).encode() + newline.encode()
        ends.append(len(body))
    found = list(read_events(body))
    assert ["\n".join(lines).encode() for lines in events] == [event.data for event in found]
    assert ends == [event.end for event in found]


def test_comments_other_fields_and_a_cut_off_event_are_no_events() -> None:
    body = b"\xef\xbb\xbf: ping\n\nevent: x\nid: 1\ndata:a\nretry: 9\n\ndata\n\ndata: cut off\n"
    assert [event.data for event in read_events(body)][:1] == [b"a"]
    assert [event.data for event in read_events(body)] == [b"a", b""]


def chunk(content: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]}


def stream(*messages: dict[str, Any], done: bool = True) -> bytes:
    events = [b"data: " + json.dumps(message).encode() + b"\n\n" for message in messages]
    return b"".join([*events, b"data: [DONE]\n\n" if done else b""])


def test_a_stream_is_its_deltas_together() -> None:
    messages = [chunk(""), chunk("Hel"), chunk("lo"), chunk(finish_reason="stop")]
    usage = {"choices": [], "usage": {"completion_tokens": 2, "prompt_tokens": 5, "details": {}}}
    body = stream(*messages, usage)
    answer = read_chat(body)
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")
    assert answer.usage == {"completion_tokens": 2, "prompt_tokens": 5}
    # The empty first delta carries no token; the two others end where their events do.
    assert tuple(len(stream(*messages[:n], done=False)) for n in (2, 3)) == answer.ends


@pytest.mark.parametrize("carrier", ["reasoning_content", "reasoning", "tool_calls"])
def test_thoughts_and_calls_are_tokens_too(carrier: str) -> None:
    message = {"choices": [{"delta": {carrier: ["x"]}, "finish_reason": "stop"}]}
    assert len(read_chat(stream(message)).ends) == 1


def test_other_choices_are_left_out() -> None:
    body = stream(chunk("a"), chunk("b", index=1), chunk(finish_reason="length"), done=False)
    assert ChatAnswer("a", "length", {}, (len(stream(chunk("a"), done=False)),)) == read_chat(body)


def test_an_answer_that_is_no_stream() -> None:
    body = {
        "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"n": 1},
    }
    assert ChatAnswer("hi", "stop", {"n": 1}) == read_chat(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "cut off after 0 events"),
        (stream(chunk("a"), done=False), "cut off after 1 events"),
        (b"data: nonsense\n\n", "an event of the stream is not JSON"),
        (b"data: [1]\n\n", "an event of the stream is an array"),
        (stream(chunk("a"), {"error": {"message": "out of memory"}}), "ends in an error: 'out of memory'"),
        (stream({"object": "error", "message": "too long"}), "ends in an error: 'too long'"),
        (b'{"choices": []}', "no choices"),
        (b'{"choi', "not JSON"),
    ],
)
def test_a_chat_that_is_none(body: bytes, message: str) -> None:
    with pytest.raises(BadResponseError, match=message):
        read_chat(body)


def test_embeddings_as_numbers_and_as_base64_in_the_order_of_their_inputs() -> None:
    vectors = np.array([[0.1, -2.0], [3.0, 1e-9]], np.float32)
    coded = base64.b64encode(vectors[0].tobytes()).decode()
    data = [{"index": 1, "embedding": vectors[1].tolist()}, {"index": 0, "embedding": coded}]
    found, usage = read_embeddings(json.dumps({"data": data, "usage": {"prompt_tokens": 4}}).encode())
    np.testing.assert_array_equal(vectors, found)
    assert usage == {"prompt_tokens": 4}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no embeddings"),
        ([3], r"data\[0\] is 3"),
        ([{"embedding": "!"}], "neither numbers nor base64"),
        ([{"embedding": "AAA="}], "neither numbers nor base64"),
        ([{"embedding": ["x"]}], "neither numbers nor base64"),
        ([{"embedding": []}], r"shape \[0\]"),
        ([{"embedding": ""}], r"shape \[0\]|neither"),
        ([{"embedding": [1], "index": 5}], "index is 5"),
        ([{"embedding": [1]}, {"embedding": [1, 2]}], "differ in their number of dimensions"),
    ],
)
def test_embeddings_that_are_none(data: list[Any], message: str) -> None:
    with pytest.raises(BadResponseError, match=message):
        read_embeddings(json.dumps({"data": data}).encode())


@given(
    events=st.lists(
        st.binary(max_size=20).filter(lambda data: b"\r" not in data and b"\n" not in data), max_size=6
    ),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    mark=st.booleans(),
    data=st.data(),
)
def test_pieces_of_any_size_give_the_same_events(
    events: list[bytes], end: bytes, mark: bool, data: st.DataObject
) -> None:
    body = b"".join(b"data: " + one + end + b": a comment" + end + end for one in events)
    body = (b"\xef\xbb\xbf" if mark else b"") + body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    reader = EventReader()
    found = [one for a, b in pairwise([0, *cuts, len(body)]) for one in reader.feed(body[a:b])]
    assert [*found, *reader.feed(b"\n")] == events  # a last \r may be half of \r\n until more comes


def test_an_event_without_end_is_given_up() -> None:
    reader = EventReader()
    assert reader.feed(b"x" * 2**22) == []
    with pytest.raises(OverflowError, match="more than 4194304 bytes"):
        reader.feed(b"x")


def test_a_line_that_never_ends_costs_no_more_than_its_length() -> None:
    # By the square of its length this would take minutes.
    assert list(read_events(b"data: a\n\ndata: " + b"x" * 2**20)) == [Event(b"a", 9)]
