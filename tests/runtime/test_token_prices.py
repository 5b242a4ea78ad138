"""Tokens have a price where somebody counts them: embeddings of a service elsewhere, and Python code that tells."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.test_remote_openai import Chunks, ask
from tests.support.runtime import Served, prepared, serve
from tests.support.upstreams import Exchange, Upstream
from trivet.runtime.token_counts import token_counter
from trivet.spec.openai import OpenAI, form_of
from trivet.spec.signature import Signature, TensorSpec

EMBED = """
models: {{far: {{remote: {{protocol: openai, model: big, operation: embeddings, upstreams: ["{url}"]}},
                 levers: {{max_batch_size: 8, deferral: {deferral}}}}}}}
pipeline: [{{model: far}}]
cost: {{per_call: 1, per_1k_tokens: 2}}
slo: {{deadline: 20s}}
"""
TALK = """
models: {talk: {python: "steps.py:KIND", levers: {instances: 1}}}
openai: chat
cost: {core_hour: 0.000001, per_1k_tokens: 2, per_1k_output_tokens: 4}
slo: {deadline: 20s}
"""
CODE = """
import json

def texts(*names):
    return [{"name": name, "datatype": "BYTES", "shape": [1]} for name in names]

counts = [{"name": name, "datatype": "INT64", "shape": [1]} for name in ("prompt_tokens", "completion_tokens")]

def whole(inputs):
    return {"text": ["a b"], "prompt_tokens": [100], "completion_tokens": [50]}

def pieces(inputs):
    for made in (20, 50):
        yield {"text": ["a "], "prompt_tokens": [100], "completion_tokens": [made]}

whole.inputs = pieces.inputs = texts("messages")
whole.outputs = pieces.outputs = texts("text") + counts

def raw(inputs):
    usage = {"prompt_tokens": 100, "completion_tokens": 50}
    return [json.dumps({"choices": [], "usage": usage})]

raw.inputs, raw.outputs = texts("request"), texts("response")
"""
NANO = 10**9


def vectors(*, tells: bool = True) -> "Callable[[Exchange], Coroutine[Any, Any, None]]":
    """Ten tokens a text."""

    async def behave(exchange: Exchange) -> None:
        texts = json.loads(exchange.body)["input"]
        data = [{"index": i, "embedding": [1.0, 2.0]} for i in range(len(texts))]
        usage = (
            {"usage": {"prompt_tokens": 10 * len(texts), "total_tokens": 10 * len(texts)}} if tells else {}
        )
        await exchange.answer(200, json.dumps({"data": data} | usage).encode())

    return behave


def run(
    folder: Path, upstream: Upstream, work: Callable[[Served], Coroutine[Any, Any, None]], deferral: str
) -> None:
    async def with_upstream(served: Served) -> None:
        async with upstream:
            await work(served)

    serve(prepared(folder, EMBED.format(url=upstream.url, deferral=deferral)), with_upstream)


def texts(num: int) -> dict[str, Any]:
    return {"input": np.array([b"a"] * num, object)}


@pytest.mark.parametrize(("tells", "nano"), [(True, NANO + 2 * NANO * 30 // 1000), (False, NANO)])
def test_embeddings_elsewhere_are_paid_by_their_tokens(tmp_path: Path, tells: bool, nano: int) -> None:
    async def work(served: Served) -> None:
        answer = served.submit(texts(3))
        await answer.done.wait()
        assert answer.outputs is not None, answer.error
        assert answer.request is not None
        assert answer.request.notes is not None
        assert answer.request.notes.cost_nano == nano

    run(tmp_path, Upstream(vectors(tells=tells)), work, "0ms")


def test_who_shares_a_call_pays_for_its_own_tokens(tmp_path: Path) -> None:
    """The call itself is paid by the first of them."""

    async def work(served: Served) -> None:
        answers = [served.submit(texts(num)) for num in (1, 2, 4)]
        for answer in answers:
            await answer.done.wait()
            assert answer.outputs is not None, answer.error
        costs = [
            answer.request.notes.cost_nano for answer in answers if answer.request and answer.request.notes
        ]
        calls = len(upstream.seen)
        assert sum(costs) == calls * NANO + 2 * NANO * 70 // 1000
        if calls == 1:
            assert costs == [NANO + 20_000_000, 40_000_000, 80_000_000]

    upstream = Upstream(vectors())
    run(tmp_path, upstream, work, "20ms")


@pytest.mark.parametrize("kind", ["whole", "pieces", "raw"])
def test_python_code_that_counts_is_paid_by_what_it_counts(tmp_path: Path, kind: str) -> None:
    async def work(served: Served) -> None:
        name = served.live.signature.inputs[0].name
        inputs = {name: np.array([b"[]"], object)}
        if kind == "pieces":
            reply = Chunks()
            reply.chunk = lambda request, results: request.stream and request.stream.grant(1)  # type: ignore[method-assign,assignment]
            request = ask(served, b"[]", reply)
            async with asyncio.timeout(20):
                await reply.done.wait()
            assert reply.error is None
        else:
            answer = served.submit(inputs)
            await answer.done.wait()
            assert answer.outputs is not None, answer.error
            assert answer.request is not None
            request = answer.request
        assert request.notes is not None
        tokens = (2 * NANO * 100 + 4 * NANO * 50) // 1000
        assert tokens <= request.notes.cost_nano < tokens + 1000  # and the engine's time, at next to nothing
        counts = {
            (family, *labels.values()): value for family, labels, value in served.live.counts.snapshot()
        }
        assert counts["trivet_model_cost_total", "talk"] == pytest.approx(request.notes.cost_nano / NANO)

    serve(prepared(tmp_path, TALK.replace("KIND", kind), CODE), work)


def test_what_has_no_price_is_not_counted(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        assert served.live.models[0].tokens_of is None

    text = TALK.replace("KIND", "whole").replace(", per_1k_tokens: 2, per_1k_output_tokens: 4", "")
    serve(prepared(tmp_path, text, CODE), work)


@settings(deadline=None, derandomize=True)
@given(st.one_of(st.binary(max_size=60), st.recursive(st.none() | st.integers(-5, 5), st.lists, max_leaves=3).map(
    lambda value: json.dumps({"usage": {"prompt_tokens": value, "completion_tokens": 7}}).encode()
)))  # fmt: skip
def test_whatever_a_message_says_is_no_error(data: bytes) -> None:
    signature = Signature((TensorSpec("request", "BYTES", (1,)),), (TensorSpec("response", "BYTES", (1,)),))
    read = token_counter(form_of(OpenAI(kind="chat"), signature), ["response"])
    assert read is not None
    array = np.empty(1, object)
    array[0] = data
    given, made = read({"response": array})
    assert given >= 0
    assert made in (0, 7)
