"""One server in front of another, both asked as OpenAI is: what a client gets is what the far one gave."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serve.openai_support import counters, drain, say, words_pipe
from tests.support.server import ServerProcess

FRONTS = {"chat": ("llm", "talk", "chat"), "vectors": ("vectors", "embed", "embeddings")}


@pytest.fixture(scope="module")
def server(openai_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("near")
    for name, (model, theirs, operation) in FRONTS.items():
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nslo: {{deadline: 20s}}\nopenai: {operation}\nmodels:\n  {model}:\n    remote:\n"
            f"      {{protocol: openai, operation: {operation}, model: {theirs}, upstreams: ['http://{openai_server.address}']}}\n"
        )
    with ServerProcess([f"{name}.yaml" for name in FRONTS], folder) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://{server.address}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_a_chat_whole_and_streamed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="chat", messages=say("über alle"))
    assert (answer.model, answer.choices[0].message.content) == ("talk", "über alle ")
    events: Any = client.chat.completions.create(
        model="chat", messages=say("a b"), stream=True, stream_options={"include_usage": True}
    )
    *pieces, end, usage = list(events)
    assert [piece.choices[0].delta.content for piece in pieces] == ["a ", "b "]
    assert end.choices[0].finish_reason == "stop"
    assert usage.usage.completion_tokens == 2


def test_pieces_pass_both_servers_as_they_are_made(client: openai.OpenAI, openai_folder: Path) -> None:
    with words_pipe(openai_folder) as words:
        words.write(b"go\n")
        answer: Any = client.chat.completions.create(
            model="chat", messages=say("a b c"), stream=True, extra_body={"waits": True}
        )
        for word in ("a ", "b ", "c "):
            assert next(answer).choices[0].delta.content == word
            words.write(b"go\n")
        assert [event.choices[0].finish_reason for event in answer] == ["stop"]
        drain(words)


def test_a_client_that_leaves_stops_the_far_generator(
    client: openai.OpenAI, server: ServerProcess, openai_server: ServerProcess, openai_folder: Path
) -> None:
    with words_pipe(openai_folder) as words:
        words.write(b"go\n")
        answer: Any = client.chat.completions.create(
            model="chat", messages=say("w " * 1499 + "w"), stream=True, extra_body={"waits": True}
        )
        assert next(answer).choices[0].delta.content == "w "
        answer.close()
        while "of 1500\n" not in (openai_folder / "log").read_text():
            words.write(b"go\n")
            counters(openai_server, "talk")  # each look is a round trip to the worker
        drain(words)
    assert "CANCELED" in counters(server, "chat")["counters"]["failed"]


def test_what_the_far_server_refuses_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="one choice"):
        client.chat.completions.create(model="chat", messages=say("a"), n=2)


def test_an_error_behind_a_piece_ends_both_streams(client: openai.OpenAI) -> None:
    answer: Any = client.chat.completions.create(model="chat", messages=say("a fail"), stream=True)
    assert next(answer).choices[0].delta.content == "a "
    with pytest.raises(openai.APIError, match="ValueError: no more"):
        next(answer)


def test_embeddings_in_one_call(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="vectors", input=["a", "bbb"])
    assert [one.embedding[:2] for one in answer.data] == [[1, 1], [3, 0]]


def test_an_answer_that_was_kept_serves_whole_and_streamed(
    openai_server: ServerProcess, openai_folder: Path
) -> None:
    text = "kept " * 42 + "kept"
    near = openai.OpenAI(base_url=f"http://{openai_server.address}/v1", api_key="any", max_retries=0)
    with near:
        first: Any = near.chat.completions.create(model="kept", messages=say(text), stream=True)
        assert [event.choices[0].delta.content for event in first] == ["kept "] * 43 + [None]
        whole = near.chat.completions.with_raw_response.create(model="kept", messages=say(text))
        assert whole.headers["x-trivet-cache"] == "exact"
        assert whole.parse().choices[0].message.content == text + " "
        again: Any = near.chat.completions.create(model="kept", messages=say(text), stream=True)
        assert [event.choices[0].delta.content for event in again] == ["kept "] * 43 + [None]
    assert (openai_folder / "log").read_text().count("of 43\n") == 1
