"""OpenAI-compatible upstreams through a real runtime: whole answers, streams passed on as they come, embeddings."""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.runtime import Served, prepared, serve
from tests.support.upstreams import Behaviour, Exchange, Upstream, hangs, resets, says
from trivet.errors import BadRequestError, DeadlineError, RequestError, UpstreamError
from trivet.runtime.costing import Costing
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.spec.cost import Cost
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage

SERVICE = """
models: {{llm: {{remote: {{protocol: openai, model: big, operation: {operation}, upstreams: [{urls}]}}}}}}
pipeline: [{{model: llm, failures: {{{failures}}}}}]
slo: {{deadline: 2s}}
"""
WHOLE = b'{"choices": [{"message": {"content": "hi"}}]}'
ASKED = {"model": "mine", "messages": [{"role": "user", "content": "hello"}]}


class Chunks:
    """A reply that takes chunks; it grants as many as it has taken, unless it is `lazy`."""

    def __init__(self, lazy: bool = False) -> None:
        self.lazy = lazy
        self.taken: list[bytes] = []
        self.error: RequestError | None = None
        self.num_ends = 0
        self.done = asyncio.Event()
        self.some = asyncio.Event()

    def chunk(self, request: Request, results: Results) -> None:
        self.taken.append(results.outputs["response"][0])
        self.some.set()
        if not self.lazy and request.stream is not None:
            request.stream.grant(1)

    def ended(self, request: Request, error: RequestError | None) -> None:
        self.error = error
        self.num_ends += 1
        self.done.set()

    def answer(self, request: Request, results: Results, start: int) -> None:
        raise AssertionError("a streaming service answers in chunks")

    def fail(self, request: Request, error: RequestError) -> None:
        self.ended(request, error)


def run(
    folder: Path,
    upstreams: list[Upstream],
    work: Callable[[Served], Coroutine[Any, Any, None]],
    failures: str = "",
    operation: str = "chat",
) -> None:
    urls = ", ".join(f'"{one.url}/v1"' for one in upstreams)
    ready = prepared(folder, SERVICE.format(urls=urls, failures=failures, operation=operation))

    async def with_upstreams(served: Served) -> None:
        for one in upstreams:
            await one.__aenter__()
        try:
            await work(served)
        finally:
            for one in upstreams:
                await one.__aexit__(None, None, None)

    serve(ready, with_upstreams)


def ask(served: Served, body: Any, reply: Chunks) -> Request:
    data = np.array([body if isinstance(body, bytes) else json.dumps(body).encode()], object)
    message = InferMessage([InferInput((1,), data)], "", None, None, False)
    now_ns = served.runtime.now_ns()
    request = served.live.request(message, now_ns, now_ns, 0, 0, reply)
    served.runtime.submit(request)
    return request


async def ended(served: Served, body: Any, reply: Chunks | None = None) -> Chunks:
    reply = reply or Chunks()
    ask(served, body, reply)
    async with asyncio.timeout(10):
        await reply.done.wait()
    assert reply.num_ends == 1
    return reply


def tells(*events: str, then: Behaviour | None = None) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.begin_events()
        for event in events:
            await exchange.event(event)
        if then is not None:
            await then(exchange)
        await exchange.end_events()

    return behave


def word(text: str) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}}]})


def test_a_whole_answer_is_one_chunk_and_the_body_goes_on_with_the_models_name(tmp_path: Path) -> None:
    upstream = Upstream(says(200, WHOLE))

    async def work(served: Served) -> None:
        reply = await ended(served, ASKED | {"temperature": 0.1, "seed": 2**60})
        assert (reply.taken, reply.error) == ([WHOLE], None)
        assert upstream.seen[0].path == "/v1/chat/completions"
        assert json.loads(upstream.seen[0].body) == ASKED | {
            "model": "big",
            "temperature": 0.1,
            "seed": 2**60,
        }

    run(tmp_path, [upstream], work)


def test_each_event_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.event(word("two"))
        await exchange.event("[DONE]")

    async def work(served: Served) -> None:
        reply = Chunks()
        request = ask(served, ASKED | {"stream": True}, reply)
        await reply.some.wait()
        assert reply.taken == [word("one").encode()]  # while the upstream has not made the rest
        assert request.notes is not None
        assert request.notes.attempts == 1
        go_on.set()
        await reply.done.wait()
        assert (reply.taken[1:], reply.error) == ([word("two").encode()], None)
        assert served.live.models[0].counters.first_chunks == 1

    run(tmp_path, [Upstream(tells(word("one"), then=waits))], work)


@pytest.mark.parametrize(
    ("first", "taken"),
    [
        (resets, 0),
        (says(500), 0),
        (says(200, b"<html>"), 0),
        (tells(), 0),
        (tells("no json"), 0),
        (tells('{"error": {"message": "no"}}'), 0),
        (tells(word("one"), then=resets), 1),
        (tells(word("one")), 1),  # ends without [DONE]
        (tells(word("one"), '{"error": {"message": "no"}}'), 1),
    ],
)
def test_before_the_first_chunk_another_try_may_answer_and_later_none(
    tmp_path: Path, first: Behaviour, taken: int
) -> None:
    bad, good = Upstream(first), Upstream(tells(word("good"), "[DONE]"))

    async def work(served: Served) -> None:
        reply = await ended(served, ASKED | {"stream": True})
        if taken:
            assert isinstance(reply.error, UpstreamError)
            assert reply.taken == [word("one").encode()]
        else:
            assert (reply.taken, reply.error) == ([word("good").encode()], None)
        assert len(good.seen) == 1 - taken

    run(tmp_path, [bad, good], work, "retry: {budget: 100%, backoff: 0ms}")


def test_a_stream_that_never_begins_ends_with_its_deadline(tmp_path: Path) -> None:
    upstream = Upstream(tells(then=hangs))

    async def work(served: Served) -> None:
        reply = await ended(served, ASKED | {"stream": True})
        assert isinstance(reply.error, DeadlineError)
        async with asyncio.timeout(5):
            await upstream.all_closed.wait()

    run(tmp_path, [upstream], work, "timeout: 50ms")


def test_a_client_that_leaves_breaks_the_stream_off(tmp_path: Path) -> None:
    upstream = Upstream(tells(word("one"), then=hangs))

    async def work(served: Served) -> None:
        reply = Chunks()
        request = ask(served, ASKED | {"stream": True}, reply)
        await reply.some.wait()
        assert served.runtime.cancel(request)
        async with asyncio.timeout(5):
            await upstream.all_closed.wait()
        assert reply.num_ends == 0
        assert served.live.num_unanswered() == 0

    run(tmp_path, [upstream], work)


def test_what_nobody_takes_is_not_read(tmp_path: Path) -> None:
    events = [word("x" * 8000)] * 2_000
    upstream = Upstream(tells(*events, "[DONE]"))

    async def work(served: Served) -> None:
        reply = Chunks(lazy=True)
        request = ask(served, ASKED | {"stream": True}, reply)
        await reply.some.wait()
        while len(asyncio.all_tasks()) > 8:  # the loop is given every chance to read on
            await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(reply.taken) < 20
        reply.lazy = False
        assert request.stream is not None
        request.stream.grant(len(reply.taken))
        async with asyncio.timeout(20):
            await reply.done.wait()
        assert (len(reply.taken), reply.error) == (2_000, None)

    run(tmp_path, [upstream], work)


@pytest.mark.parametrize("body", [b"no json", b"[1]", b"\xff"])
def test_a_body_that_is_none_is_the_clients_mistake(tmp_path: Path, body: bytes) -> None:
    upstream = Upstream(says(200, WHOLE))

    async def work(served: Served) -> None:
        reply = await ended(served, body)
        assert isinstance(reply.error, BadRequestError)
        assert upstream.seen == []

    run(tmp_path, [upstream], work)


def test_completions_have_their_own_path(tmp_path: Path) -> None:
    upstream = Upstream(says(200, b'{"choices": [{"text": "hi"}]}'))

    async def work(served: Served) -> None:
        assert (await ended(served, {"prompt": "a"})).error is None
        assert upstream.seen[0].path == "/v1/completions"

    run(tmp_path, [upstream], work, operation="completions")


@pytest.mark.parametrize("encoded", [False, True])
def test_embeddings_come_as_rows(tmp_path: Path, encoded: bool) -> None:
    vectors = np.array([[0.5, 1.0, -2.0], [4.0, 8.0, 16.0]], np.float32)

    async def behave(exchange: Exchange) -> None:
        assert json.loads(exchange.body) == {"model": "big", "input": ["a", "é"]}
        told: list[Any] = [
            base64.b64encode(row.tobytes()).decode() if encoded else row.tolist() for row in vectors
        ]
        data = [{"index": i, "embedding": told[i]} for i in (1, 0)]
        await exchange.answer(200, json.dumps({"data": data}).encode())

    async def work(served: Served) -> None:
        outputs = await served.ask({"input": np.array([b"a", "é".encode()], object)})
        assert outputs["embedding"].tolist() == vectors.tolist()

    run(tmp_path, [Upstream(behave)], work, operation="embeddings")


def test_embeddings_for_fewer_texts_are_rubbish(tmp_path: Path) -> None:
    upstream = Upstream(says(200, b'{"data": [{"embedding": [1.0]}]}'))

    async def work(served: Served) -> None:
        with pytest.raises(UpstreamError, match="1 embeddings for 2 texts"):
            await served.ask({"input": np.array([b"a", b"b"], object)})

    run(tmp_path, [upstream], work, operation="embeddings")


@pytest.mark.parametrize("streams", [False, True])
def test_a_call_is_paid_by_its_tries_and_tokens(tmp_path: Path, streams: bool) -> None:
    usage = {"prompt_tokens": 2000, "completion_tokens": 1000}
    last = json.dumps({"choices": [], "usage": usage})
    good = tells(word("a"), last, "[DONE]") if streams else says(200, last.encode())
    bad, upstream = Upstream(resets), Upstream(good)

    async def work(served: Served) -> None:
        cost = Cost(core_hour=1.0, per_call=0.5, per_1k_tokens=0.25)
        served.live.costing = Costing(cost, served.live.counts)
        reply = Chunks()
        request = ask(served, ASKED | {"stream": streams}, reply)
        await reply.done.wait()
        assert reply.error is None
        assert request.notes is not None
        assert request.notes.attempts == 2
        assert request.notes.cost_nano == 10**9 * 0.5 + cost.call_nano("llm", 2000, 1000)

    run(tmp_path, [bad, upstream], work, "retry: {budget: 100%, backoff: 0ms}")


def test_a_fixed_answer_stands_in_for_a_stream(tmp_path: Path) -> None:
    busy = '{"choices": []}'
    failures = "fallback: [{answer: {response: ['{\"choices\": []}']}}]"

    async def work(served: Served) -> None:
        reply = await ended(served, ASKED | {"stream": True})
        assert (reply.taken, reply.error) == ([busy.encode()], None)

    run(tmp_path, [Upstream(resets)], work, failures)


LOCAL = """
import json

def local(inputs):
    body = json.loads(inputs["request"][0])
    for word in body["messages"][0]["content"].split():
        yield {"response": [json.dumps({"choices": [{"delta": {"content": word}}]}).encode()]}

local.inputs = [{"name": "request", "datatype": "BYTES", "shape": [1]}]
local.outputs = [{"name": "response", "datatype": "BYTES", "shape": [1]}]
"""


@pytest.mark.parametrize("behaviour", [resets, tells(then=hangs)])
def test_a_model_here_streams_for_a_service_that_is_gone(tmp_path: Path, behaviour: Behaviour) -> None:
    upstream = Upstream(behaviour)
    failures = "timeout: 50ms, fallback: [{model: local}]"
    text = SERVICE.format(operation="chat", urls=f'"{upstream.url}"', failures=failures)
    text = text.replace(
        "models: {llm:", "models: {local: {python: 'steps.py:local', levers: {instances: 1}}, llm:"
    )
    ready = prepared(tmp_path, text, LOCAL)

    async def work(served: Served) -> None:
        async with upstream:
            body = {
                "stream": True,
                "messages": [{"role": "user", "content": " ".join("abcdefghijklmnopqrstuvwxyz")}],
            }
            for _ in range(3):  # one after the other: its only instance comes back
                reply = Chunks()
                request = ask(served, body, reply)
                async with asyncio.timeout(10):
                    await reply.done.wait()
                assert [json.loads(one)["choices"][0]["delta"]["content"] for one in reply.taken] == [
                    *"abcdefghijklmnopqrstuvwxyz"
                ]
                assert (reply.error, reply.num_ends) == (None, 1)
                assert request.notes is not None
                assert request.notes.instead == "fallback:local"
            left = Chunks(lazy=True)
            request = ask(served, body, left)
            await left.some.wait()
            assert served.runtime.cancel(request)
            reply = await ended(served, body)
            assert (reply.error, left.num_ends) == (None, 0)

    serve(ready, work)
