"""OpenAI-compatible servers: a small one, which OpenAI's own client understands, and what the dialects make of it."""

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from tests.load.dialects.speakers import reply
from tests.load.scripted_target import ScriptedTarget
from trivet.errors import SpecError
from trivet.load.dialects.openai_chat import OpenAIChat
from trivet.load.dialects.openai_embeddings import OpenAIEmbeddings
from trivet.load.dialects.token_times import TokenTimes, token_times
from trivet.load.http import BadAnswerError
from trivet.load.job import ClosedLoop, HttpRequest, Job
from trivet.load.offer import offer
from trivet.spec.row import ABSENT, RowColumns
from trivet.wire.openai import ChatAnswer, read_chat

NUM_TOKENS = 5


def say(content: str | None, finish_reason: str | None = None) -> dict[str, Any]:
    delta: dict[str, Any] = {} if content is None else {"role": "assistant", "content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def usage() -> dict[str, Any]:
    return {"prompt_tokens": 3, "completion_tokens": NUM_TOKENS, "total_tokens": 3 + NUM_TOKENS}


def events(body: dict[str, Any]) -> Iterator[bytes]:
    """Tokens that name the last message's words in turn; then the end, and the counts if they are wanted."""
    words = body["messages"][-1]["content"].split()
    messages = [say(""), *(say(f"{words[i % len(words)]} ") for i in range(NUM_TOKENS)), say(None, "stop")]
    if body.get("stream_options", {}).get("include_usage"):
        messages.append(say(None) | {"choices": [], "usage": usage()})
    for message in messages:
        yield b"data: " + json.dumps(message, ensure_ascii=False).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def completion(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"{len(body['messages'])} messages"}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage(),
    }


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = []
    for i, text in enumerate(texts):
        vector = np.array([len(text), 0.1, -i], np.float32)
        coded = base64.b64encode(vector.tobytes()).decode()
        embedding = coded if body.get("encoding_format") == "base64" else vector.tolist()
        data.append({"object": "embedding", "index": i, "embedding": embedding})
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}}


def serve(sock: socket.socket, request: bytes) -> None:
    head, _, raw = request.partition(b"\r\n\r\n")
    body = json.loads(raw)
    if head.startswith(b"POST /v1/embeddings"):
        sock.sendall(reply(embeddings(body), head=b"Content-Type: application/json\r\n"))
    elif not body.get("stream"):
        sock.sendall(reply(completion(body), head=b"Content-Type: application/json\r\n"))
    else:
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for event in events(body):
            # Each event in two chunks: neither is a line of its own.
            for piece in (event[:7], event[7:]):
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[ScriptedTarget]:
    with ScriptedTarget(serve) as running:
        yield running


@pytest.fixture
def client(server: ScriptedTarget) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://{server.name}/v1", api_key="k", max_retries=0) as made:
        yield made


def rows(*texts: str) -> list[dict[str, np.ndarray]]:
    return [{"text": np.array(text.encode(), object)} for text in texts]


def answers(server: ScriptedTarget, requests: list[HttpRequest]) -> list[bytes]:
    job = Job(
        target=server.name,
        requests=requests,
        load=ClosedLoop(num_users=1, duration_ns=5_000_000_000, max_requests=len(requests)),
        seed=1,
        order="sequence",
        keep_answers=True,
        min_connections=1,
    )
    return list(RowColumns.decode(offer(job).rows).blobs["answer"])


def test_a_stream_reads_as_openais_client_reads_it(server: ScriptedTarget, client: openai.OpenAI) -> None:
    chat = OpenAIChat("m", system="Be brief.", max_tokens=9, parameters={"temperature": 0})
    (body,) = answers(server, chat.requests(rows("grüß dich")))
    outputs = chat.outputs(200, {}, body)
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "grüß dich"}]
    stream = client.chat.completions.create(
        model="m",
        messages=messages,
        stream=True,
        max_tokens=9,
        temperature=0,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == (
        outputs["text"][0].decode()
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == outputs["completion_tokens"][0] == NUM_TOKENS
    assert outputs["finish_reason"][0] == b"stop"
    ours, theirs = (json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests)
    assert ours == theirs


def test_a_whole_answer_reads_as_openais_client_reads_it(
    server: ScriptedTarget, client: openai.OpenAI
) -> None:
    chat = OpenAIChat("m", stream=False)
    (body,) = answers(server, chat.requests(rows("hi")))
    theirs = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert [(theirs.choices[0].message.content or "").encode()] == chat.outputs(200, {}, body)[
        "text"
    ].tolist()
    assert TokenTimes(ABSENT, ABSENT, NUM_TOKENS, "usage") == chat.tokens([(5, len(body))], body)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_read_as_openais_client_reads_them(
    server: ScriptedTarget, client: openai.OpenAI, encoding: Any
) -> None:
    dialect = OpenAIEmbeddings("m", encoding=encoding)
    (body,) = answers(server, dialect.requests(rows("four")))
    outputs = dialect.outputs(200, {}, body)
    theirs = client.embeddings.create(model="m", input="four")
    np.testing.assert_array_equal(np.array([theirs.data[0].embedding], np.float32), outputs["embedding"])
    assert outputs["embedding"].shape == (1, 3)
    assert outputs["prompt_tokens"].tolist() == [2]


def test_payloads_of_a_file_go_as_they_are(server: ScriptedTarget) -> None:
    chat = OpenAIChat("m", stream=False)
    payload = {"model": "other", "messages": [{"role": "user", "content": "a"}] * 3, "seed": 4}
    (request,) = chat.payload_requests([payload])
    assert payload == json.loads(request.body)
    (body,) = answers(server, [request])
    assert chat.outputs(200, {}, body)["text"].tolist() == [b"3 messages"]
    (request,) = OpenAIEmbeddings("m").payload_requests([{"input": ["a", "bc"]}])
    (body,) = answers(server, [request])
    assert OpenAIEmbeddings("m").outputs(200, {}, body)["embedding"].shape == (2, 3)


@pytest.mark.parametrize(
    ("row", "name", "message"),
    [
        (
            {"a": np.array(b"", object), "b": np.zeros(1)},
            None,
            "row 1 has the inputs a, b: say which one is the text",
        ),
        ({"a": np.array(b"", object)}, "b", "row 1: no input 'b'; it has a"),
        ({"a": np.zeros(2)}, None, r"row 1: input 'a' is float64 of shape \[2\]; expected one text"),
        ({"a": np.array(b"\xff", object)}, None, "row 1: input 'a' is not UTF-8 text"),
    ],
)
def test_a_row_without_one_text(row: dict[str, Any], name: str | None, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OpenAIChat("m", text=name).requests([row])


def test_a_payload_of_another_endpoint() -> None:
    with pytest.raises(SpecError, match="payload 1: expected an object with 'messages'"):
        OpenAIChat("m").payload_requests([{"input": "a"}])


def test_an_error_is_told_in_the_servers_words() -> None:
    body = json.dumps({"error": {"message": "The model `n` does not exist.", "code": 404}}).encode()
    for dialect in (OpenAIChat("n"), OpenAIEmbeddings("n")):
        with pytest.raises(BadAnswerError, match="status 404: The model `n` does not exist"):
            dialect.outputs(404, {}, body)


BODY = b"".join(events({"messages": [{"content": "a b"}], "stream_options": {"include_usage": True}}))
ENDS = read_chat(BODY).ends


def test_tokens_count_from_the_chunk_that_completes_their_event() -> None:
    # The first token's event is split over two chunks; the last three tokens come in one.
    chunks = [(100, ENDS[0] - 1), (130, ENDS[0]), (150, ENDS[1] + 5), (210, len(BODY))]
    times = OpenAIChat("m").tokens(chunks, BODY)
    assert TokenTimes(130, 210, NUM_TOKENS, "usage") == times
    assert times.time_to_first_token_ns(25) == 130 - 25
    assert times.time_per_output_token_ns == (210 - 130) / (NUM_TOKENS - 1)


def test_tokens_of_answers_that_the_load_generator_received(server: ScriptedTarget) -> None:
    chat = OpenAIChat("m")
    job = Job(
        target=server.name,
        requests=chat.requests(rows("a b", "c")),
        load=ClosedLoop(num_users=1, duration_ns=5_000_000_000, max_requests=2),
        seed=1,
        order="sequence",
        keep_answers=True,
        keep_chunks=True,
        min_connections=1,
    )
    result = offer(job)
    found = RowColumns.decode(result.rows)
    for i, body in enumerate(found.blobs["answer"]):
        times = chat.tokens(result.chunks[i], body, int(found["status"][i]))
        assert found["first_byte_ns"][i] <= times.first_ns <= times.last_ns <= found["done_ns"][i]
        assert times.num_tokens == NUM_TOKENS


def test_without_counts_each_event_counts_as_one() -> None:
    body = b"".join(events({"messages": [{"content": "a b"}]}))
    assert TokenTimes(9, 9, NUM_TOKENS, "events") == OpenAIChat("m").tokens([(9, len(body))], body)


def test_one_token_has_no_gap_and_none_has_no_time() -> None:
    one, none = (token_times([(7, 10)], ChatAnswer("", "stop", {}, ends)) for ends in ((4,), ()))
    assert (one.first_ns, one.time_per_output_token_ns) == (7, None)
    assert (none.time_to_first_token_ns(3), none.time_per_output_token_ns) == (ABSENT, None)
