"""OpenAI's own client against a real server: chat, completions, embeddings and models, and every way in which they end."""

import json
import os
import re
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serve.openai_support import KINDS, PAGE, counters, drain, say, words_pipe
from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def folder(openai_folder: Path) -> Path:
    return openai_folder


@pytest.fixture(scope="module")
def server(openai_server: ServerProcess) -> ServerProcess:
    return openai_server


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://{server.address}/v1", api_key="any", max_retries=0) as client:
        yield client


def stream(client: openai.OpenAI, text: str, model: str = "talk", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=say(text), stream=True, **more)


# --- chat ---------------------------------------------------------------------------------------------------------


def test_a_chat_that_is_answered_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="org/talker", messages=say("über alle"), extra_headers={"X-Request-Id": "mine"}
    )
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", "über alle ")
    assert (choice.finish_reason, answer.model, answer.object) == ("stop", "org/talker", "chat.completion")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 2)
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint is not None
    assert answer._request_id == "mine"


def test_the_fingerprint_is_that_of_the_configuration(client: openai.OpenAI, server: ServerProcess) -> None:
    answer = client.chat.completions.create(model="whole", messages=say("a"))
    line = next(line for line in server.log if " whole 1 [" in line)
    assert answer.system_fingerprint == "fp_" + line.partition("[")[2][:12]


def test_a_chat_that_is_streamed(client: openai.OpenAI) -> None:
    events = list(stream(client, "a b c", max_tokens=2, stream_options={"include_usage": True}))
    assert [event.choices[0].delta.content for event in events[:-1]] == ["a ", "b ", None]
    assert events[0].choices[0].delta.role == "assistant"
    assert [event.choices[0].finish_reason for event in events[:-1]] == [None, None, "length"]
    assert events[-1].choices == []
    assert events[-1].usage.completion_tokens == 2
    assert len({event.id for event in events}) == 1


def test_a_model_that_answers_whole_can_be_asked_for_a_stream(client: openai.OpenAI) -> None:
    assert [event.choices[0].delta.content for event in stream(client, "a", "whole")] == ["1 messages", None]


def test_pieces_are_sent_as_they_are_made(client: openai.OpenAI, folder: Path) -> None:
    with words_pipe(folder) as words:
        words.write(b"go\n")
        answer = stream(client, "a b c", extra_body={"waits": True})
        for word in ("a ", "b ", "c "):
            assert next(answer).choices[0].delta.content == word
            words.write(b"go\n")
        assert [event.choices[0].finish_reason for event in answer] == ["stop"]
        drain(words)


def asked_to_wait(server: ServerProcess, length: int, *, streamed: bool) -> socket.socket:
    """The connection of a client that has sent `talk` a request of so many words, each of which it waits for."""
    said = say("w " * (length - 1) + "w")
    data = json.dumps({"model": "talk", "messages": said, "stream": streamed, "waits": True}).encode()
    client = socket.create_connection((server.host, server.port), timeout=30)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(data)
    client.sendall(head + data)
    return client


def num_cancelled(server: ServerProcess) -> int:
    found: int = counters(server, "talk")["counters"]["failed"].get("CANCELED", 0)
    return found


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_stops_the_generator(
    server: ServerProcess, folder: Path, streamed: bool
) -> None:
    length = 1000 + streamed
    before = num_cancelled(server)
    with words_pipe(folder) as words:
        with asked_to_wait(server, length, streamed=streamed):
            while f"begun {length}\n" not in (folder / "log").read_text():
                counters(server, "talk")  # each look is a round trip to the worker
            words.write(b"go\n" * 3)
        while num_cancelled(server) == before:
            words.write(b"go\n")
        words.write(b"go\n")
        while f"of {length}\n" not in (folder / "log").read_text():
            counters(server, "talk")
        while counters(server, "talk")["running"]:
            pass
        drain(words)
    made = int((folder / "log").read_text().rpartition(f" of {length}")[0].rpartition(" ")[2])
    assert made < length


def test_a_generator_whose_client_left_before_it_began_is_never_begun(
    server: ServerProcess, folder: Path
) -> None:
    before, length = num_cancelled(server), 900
    engines = [
        int(pid)
        for worker in server.children()
        for children in Path(f"/proc/{worker}/task").glob("*/children")  # engines are started by threads
        for pid in children.read_text().split()
    ]
    assert engines
    for pid in engines:
        os.kill(pid, signal.SIGSTOP)
    try:
        with asked_to_wait(server, length, streamed=True):
            while not counters(server, "talk")["running"]:
                pass
        while num_cancelled(server) == before:
            pass
    finally:
        for pid in engines:
            os.kill(pid, signal.SIGCONT)
    while counters(server, "talk")["running"]:
        pass
    log = (folder / "log").read_text()
    assert f"begun {length}\n" not in log
    assert f"of {length}\n" not in log


def test_an_error_before_the_first_piece_is_an_answer(client: openai.OpenAI) -> None:
    for streamed in (True, False):
        with pytest.raises(openai.InternalServerError) as error:
            client.chat.completions.create(model="talk", messages=say("fail"), stream=streamed)
        assert "ValueError: no more" in error.value.message
        assert error.value.body["type"] == "server_error"  # type: ignore[index]


def test_an_error_behind_a_piece_ends_the_stream(client: openai.OpenAI) -> None:
    answer = stream(client, "a fail")
    assert next(answer).choices[0].delta.content == "a "
    with pytest.raises(openai.APIError, match="ValueError: no more"):
        next(answer)
    with pytest.raises(openai.InternalServerError, match="no more"):
        client.chat.completions.create(model="talk", messages=say("a fail"))


def test_answers_keep_the_order_of_their_requests(server: ServerProcess) -> None:
    def ask(path: str, **body: Any) -> bytes:
        data = json.dumps(body).encode()
        return b"POST /v1/%b HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%b" % (
            path.encode(),
            len(data),
            data,
        )

    with socket.create_connection((server.host, server.port), timeout=30) as pipelined:
        pipelined.sendall(
            ask("chat/completions", model="talk", messages=say("first"), stream=True)
            + ask("completions", model="complete", prompt=["x", "y"])
            + ask("chat/completions", model="talk", messages=say("third"))
            + b"GET /v1/models/none HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        )
        data = bytearray()
        while piece := pipelined.recv(1 << 16):
            data += piece
    answers = bytes(data).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"200", b"404"]
    assert [word in answer for word, answer in zip((b"first", b'"Y"', b"third"), answers, strict=False)] == [
        True
    ] * 3
    assert answers[0].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


# --- completions, embeddings, models ------------------------------------------------------------------------------


def test_completions_of_one_prompt_and_of_several(client: openai.OpenAI) -> None:
    assert client.completions.create(model="complete", prompt="a").choices[0].text == "A"
    many = [f"p{number}" for number in range(150)]
    answer = client.completions.create(model="complete", prompt=many)
    assert [choice.text for choice in answer.choices] == [prompt.upper() for prompt in many]
    streamed = client.completions.create(model="complete", prompt="a", stream=True)
    assert [event.choices[0].text for event in streamed] == ["A", ""]


def test_one_prompt_of_several_that_fails_fails_them_all_once(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="ValueError: cannot"):
        client.completions.create(model="complete", prompt=["a"] * 80 + ["fail"] + ["b"] * 80)
    assert client.completions.create(model="complete", prompt="a").choices[0].text == "A"


def test_several_prompts_come_from_the_cache_where_each_does(client: openai.OpenAI) -> None:
    seen = []
    for prompts in (["a", "b"], ["b", "a"], ["a", "c"]):
        answer = client.completions.with_raw_response.create(model="several", prompt=prompts)
        seen.append((answer.headers.get("x-trivet-cache"), [one.text for one in answer.parse().choices]))
    assert seen == [("miss", ["A", "B"]), ("exact", ["B", "A"]), ("miss", ["A", "C"])]


@pytest.mark.parametrize("model", ["embed", "one"])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_of_one_text_and_of_a_batch(client: openai.OpenAI, model: str, encoding: Any) -> None:
    texts = ["a", "bb", "åå", ""] * 40
    answer = client.embeddings.create(model=model, input=texts, encoding_format=encoding)
    assert [one.index for one in answer.data] == list(range(160))
    if encoding == "float":
        expected = [[len(text.encode()), text[:1] == "a", pytest.approx(0.1, 1e-6)] for text in texts]
        assert [one.embedding for one in answer.data] == expected
    alone = client.embeddings.create(model=model, input="bb")  # the client asks for base64 and reads it
    assert alone.data[0].embedding == [2, 0, pytest.approx(0.1, 1e-6)]


def test_models_are_those_that_are_asked_this_way(client: openai.OpenAI) -> None:
    assert sorted(model.id for model in client.models.list()) == sorted(
        [*KINDS, "kept", "org/talker", "parrot", "several"]
    )
    assert client.models.retrieve("org/talker").owned_by == "trivet"
    with pytest.raises(openai.NotFoundError, match="unknown model 'hidden'"):
        client.models.retrieve("hidden")


# --- raw ----------------------------------------------------------------------------------------------------------


def test_a_raw_model_gives_and_takes_whole_messages(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="raw", messages=say("a b"), temperature=1)
    assert (answer.choices[0].message.content, answer.model, answer.id) == ("a b", "far-away", "up-1")
    events = list(stream(client, "a b", "raw", extra_body={"x": 7}))
    assert [event.choices[0].delta.content for event in events] == ["a", "b"]
    assert {event.choices[0].x for event in events} == {7}


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_examples_of_the_documentation(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text()
    found = re.search(r"localhost:8000(\S+) -d '(.*?)'\n(.*?)\n```", page, re.DOTALL)
    assert found is not None
    path, data, told = found.groups()
    with urllib.request.urlopen(f"http://{server.address}{path}", data.encode(), timeout=30) as answer:
        text = answer.read().decode()
    text = re.sub(r'(chatcmpl-|fp_|"created":)\w+', r"\1…", text)
    assert text == told
    script = re.search(r"```python\n(from openai.*?)```", page, re.DOTALL)
    assert script is not None
    exec(script[1].replace("localhost:8000", server.address), {})
    assert capsys.readouterr().out.split() == ["hello", "you", "None"]


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        ("chat/completions", {"model": "nobody"}, 404, "model", "model_not_found"),
        ("chat/completions", {"model": "embed", "messages": say("a")}, 404, "model", "model_not_found"),
        ("chat/completions", {"model": "hidden", "messages": say("a")}, 404, "model", "model_not_found"),
        ("chat/completions", {"messages": say("a")}, 400, "model", None),
        ("chat/completions", {"model": "whole", "messages": say("a"), "top_p": 1}, 400, "top_p", None),
        ("embeddings", {"model": "embed", "input": [[1, 2]]}, 400, "input", None),
        ("images", {}, 404, None, None),
    ],
)
def test_a_refusal_has_openais_form(
    client: openai.OpenAI, path: str, body: dict[str, Any], status: int, param: str | None, code: str | None
) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        client.post(f"/{path}", body=body, cast_to=object)
    told: Any = error.value.body
    assert (error.value.status_code, told["param"], told["code"]) == (status, param, code)
    assert told["type"] == "invalid_request_error"
    assert error.value.response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("streamed", [True, False])
def test_a_generator_may_refuse_what_it_does_not_follow(client: openai.OpenAI, streamed: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="no top_k here") as error:
        client.chat.completions.create(
            model="talk", messages=say("a"), stream=streamed, extra_body={"top_k": 1}
        )
    assert error.value.type == "invalid_request_error"


def test_a_method_that_is_not_allowed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        client.get("/chat/completions", cast_to=object)
    assert (error.value.status_code, error.value.response.headers["allow"]) == (405, "POST")


def test_a_deadline_that_passes_before_the_first_piece(
    client: openai.OpenAI, server: ServerProcess, folder: Path
) -> None:
    with words_pipe(folder) as words:
        with pytest.raises(openai.APIStatusError) as error:
            stream(
                client,
                "never",
                extra_body={"waits": True},
                extra_headers={"x-envoy-expected-rq-timeout-ms": "50"},
            )
        words.write(b"go\n")  # its code goes on, to find that nobody waits
        while counters(server, "talk")["running"]:
            pass
        drain(words)
    assert error.value.status_code in (429, 504)
    assert error.value.body["type"] in ("rate_limit_error", "timeout_error")  # type: ignore[index]


def test_what_v2_knows_of_such_a_service(server: ServerProcess) -> None:
    body = {"inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["v2"]}]}
    url = f"http://{server.address}/v2/models/complete/infer"
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=30) as answer:
        assert json.load(answer)["outputs"][0]["data"] == ["V2"]
