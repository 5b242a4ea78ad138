"""A model that other servers run, through a real runtime, against upstreams that fail in every way.

Each request gets exactly one answer, within its deadline.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.runtime import Served, prepared, serve
from tests.support.upstreams import (
    Behaviour,
    Upstream,
    closes_early,
    doubles,
    drips,
    hangs,
    resets,
    says,
)
from trivet.errors import (
    BadRequestError,
    DeadlineError,
    RequestError,
    SpecError,
    UnavailableError,
    UpstreamError,
)

ROW = {"x": np.array([[1.0, 2.0]], np.float32)}
SERVICE = """
models:
  far:
    remote:
      protocol: v2
      model: m
      inputs: [{{name: x, datatype: FP32, shape: [-1, 2]}}]
      outputs: [{{name: y, datatype: FP32, shape: [-1, 2]}}]
      upstreams: [{urls}]
slo: {{deadline: {deadline}}}
pipeline: [{{model: far, failures: {{{failures}}}}}]
"""
RUBBISH = [
    says(200, b"<html>busy</html>"),
    says(200, b"{}"),
    says(200, b'{"outputs": []}'),
    says(200, b'{"outputs": [{"name": "y", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}]}'),
    says(200, b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}]}'),
    says(200, b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}'),
]


def run(
    folder: Path,
    upstreams: list[Upstream],
    work: Callable[[Served], Coroutine[Any, Any, None]],
    failures: str = "",
    deadline: str = "300ms",
) -> None:
    urls = ", ".join(f'"{one.url}"' for one in upstreams)
    ready = prepared(folder, SERVICE.format(urls=urls, failures=failures, deadline=deadline))

    async def with_upstreams(served: Served) -> None:
        async with asyncio.TaskGroup() as opened:
            for one in upstreams:
                opened.create_task(one.__aenter__())
        try:
            await work(served)
        finally:
            for one in upstreams:
                await one.__aexit__(None, None, None)

    serve(ready, with_upstreams)


def test_an_answer_comes_back_with_who_gave_it(tmp_path: Path) -> None:
    upstream = Upstream(doubles)

    async def work(served: Served) -> None:
        answer = served.submit(ROW)
        await answer.done.wait()
        assert answer.outputs is not None, answer.error
        assert answer.outputs["y"].tolist() == [[2.0, 4.0]]
        assert answer.request is not None
        assert answer.request.notes is not None
        assert (answer.request.notes.upstream, answer.request.notes.attempts) == (upstream.name, 1)
        assert upstream.seen[0].path == "/v2/models/m/infer"

    run(tmp_path, [upstream], work)


def test_many_at_once_share_no_core_and_all_are_answered(tmp_path: Path) -> None:
    upstream = Upstream(doubles)

    async def work(served: Served) -> None:
        requests = [{"x": np.full((1 + i % 3, 2), i, np.float32)} for i in range(100)]
        for request, outputs in zip(requests, await served.ask_all(requests), strict=True):
            assert not isinstance(outputs, RequestError), outputs
            assert np.array_equal(outputs["y"], 2 * request["x"])

    run(tmp_path, [upstream], work, deadline="10s")


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (hangs, DeadlineError),
        (drips, DeadlineError),
        (resets, UpstreamError),
        (closes_early, UpstreamError),
        (says(500, b"broken"), UpstreamError),
        (says(404, b"unknown"), UpstreamError),
        (says(302, b"", "Location: http://127.0.0.1:1/"), UpstreamError),
        (says(400, b'{"error": "x is wrong"}'), BadRequestError),
        (says(429, b"", "Retry-After: 7"), UnavailableError),
        *((rubbish, UpstreamError) for rubbish in RUBBISH),
    ],
)
def test_a_bad_upstream_costs_one_error_in_time(
    tmp_path: Path, behaviour: Behaviour, error: type[RequestError]
) -> None:
    upstream = Upstream(behaviour)

    async def work(served: Served) -> None:
        began = time.monotonic()
        with pytest.raises(error) as caught:
            await served.ask(ROW, timeout_ns=150_000_000)
        assert time.monotonic() - began < 5
        assert upstream.name in str(caught.value) or error is DeadlineError
        if error is UnavailableError:
            assert caught.value.retry_after_ns == 7_000_000_000
        assert len(upstream.seen) == 1
        if behaviour in (hangs, drips):
            async with asyncio.timeout(5):
                await upstream.all_closed.wait()  # it sees that nobody waits any more

    run(tmp_path, [upstream], work)


def test_a_client_that_leaves_breaks_its_call_off(tmp_path: Path) -> None:
    upstream = Upstream(hangs)

    async def work(served: Served) -> None:
        answer = served.submit(ROW)
        async with asyncio.timeout(5):
            while not upstream.seen:
                await asyncio.sleep(0)
            assert answer.request is not None
            assert served.runtime.cancel(answer.request)
            await upstream.all_closed.wait()
        assert not answer.done.is_set()
        assert served.live.num_unanswered() == 0
        assert served.live.models[0].counters.failed == {"CANCELED": 1}
        assert len(served.live.models[0].idle) == 128

    run(tmp_path, [upstream], work, deadline="20s")


def test_nobody_listens(tmp_path: Path) -> None:
    upstream = Upstream(doubles)
    upstream._socket.close()

    async def work(served: Served) -> None:
        with pytest.raises(UpstreamError):
            await served.ask(ROW)

    ready = prepared(tmp_path, SERVICE.format(urls=f'"{upstream.url}"', failures="", deadline="2s"))
    serve(ready, work)


@pytest.mark.parametrize("behaviour", [resets, closes_early, says(503), RUBBISH[0], says(500)])
def test_a_retry_is_answered_by_the_other_upstream(tmp_path: Path, behaviour: Behaviour) -> None:
    bad, good = Upstream(behaviour), Upstream(doubles)

    async def work(served: Served) -> None:
        answer = served.submit(ROW)
        await answer.done.wait()
        assert answer.outputs is not None, answer.error
        assert answer.request is not None
        assert answer.request.notes is not None
        assert (answer.request.notes.upstream, answer.request.notes.attempts) == (good.name, 2)

    run(tmp_path, [bad, good], work, "retry: {budget: 100%, backoff: 1ms}", "5s")


def test_a_hedge_saves_a_request_from_a_hang(tmp_path: Path) -> None:
    bad, good = Upstream(hangs), Upstream(doubles)

    async def work(served: Served) -> None:
        assert (await served.ask(ROW))["y"].tolist() == [[2.0, 4.0]]
        async with asyncio.timeout(5):
            await bad.all_closed.wait()
        assert (len(bad.seen), len(good.seen)) == (1, 1)

    run(tmp_path, [bad, good], work, "hedge: {after: 5ms, budget: 100%}", "5s")


def test_a_breaker_keeps_requests_from_a_dead_upstream_and_lets_it_back(tmp_path: Path) -> None:
    upstream = Upstream(doubles, resets, resets)

    async def work(served: Served) -> None:
        for _ in range(2):
            with pytest.raises(UpstreamError):
                await served.ask(ROW)
        began = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            await served.ask(ROW)
        assert len(upstream.seen) == 2
        assert caught.value.retry_after_ns is not None
        assert 0 < caught.value.retry_after_ns <= 50_000_000
        while time.monotonic() - began < 5:  # until a probe is sent
            try:
                assert (await served.ask(ROW))["y"].tolist() == [[2.0, 4.0]]
                break
            except UnavailableError:
                await asyncio.sleep(0)
        assert len(upstream.seen) == 3

    run(tmp_path, [upstream], work, "breaker: {failures: 2, open: 50ms}", "5s")


def test_the_fallback_upstream_answers_when_the_others_hang(tmp_path: Path) -> None:
    bad, spare = Upstream(hangs), Upstream(doubles)

    async def work(served: Served) -> None:
        answer = served.submit(ROW)
        await answer.done.wait()
        assert answer.outputs is not None, answer.error
        assert answer.request is not None
        assert answer.request.notes is not None
        notes = answer.request.notes
        assert (notes.upstream, notes.instead, notes.attempts) == (spare.name, "fallback:upstream", 2)
        spare._server.close()

    async def with_spare(served: Served) -> None:
        async with spare:
            await work(served)

    run(tmp_path, [bad], with_spare, f"timeout: 20ms, fallback: [{{upstream: '{spare.url}'}}]", "5s")


@pytest.mark.parametrize(
    "behaviour",
    [says(401, b"wrong key: sk-secret-123"), says(200, b'{"error": "wrong key: sk-secret-123"}')],
)
def test_a_key_is_sent_and_never_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setenv("FAR_KEY", "sk-secret-123")
    upstream = Upstream(behaviour)
    text = SERVICE.format(urls=f'"{upstream.url}"', failures="", deadline="5s")
    ready = prepared(tmp_path, text.replace("model: m\n", "model: m\n      key_env: FAR_KEY\n"))

    async def work(served: Served) -> None:
        async with upstream:
            with pytest.raises(UpstreamError, match=r"wrong key: \*\*\*"):
                await served.ask(ROW)
            assert upstream.seen[0].header("authorization") == "Bearer sk-secret-123"

    serve(ready, work)


def test_a_missing_key_is_told_at_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAR_KEY", raising=False)
    text = SERVICE.format(urls='"http://127.0.0.1:1"', failures="", deadline="5s")
    with pytest.raises(SpecError, match="the environment variable FAR_KEY is not set"):
        prepared(tmp_path, text.replace("model: m\n", "model: m\n      key_env: FAR_KEY\n"))


def test_without_upstreams_a_service_starts_only_with_a_declared_signature(tmp_path: Path) -> None:
    text = SERVICE.format(urls='"http://127.0.0.1:1"', failures="", deadline="5s")
    undeclared = "\n".join(line for line in text.split("\n") if "datatype" not in line)
    with pytest.raises(SpecError, match=r"127.0.0.1:1: .*declare `inputs:` and `outputs:`"):
        prepared(tmp_path, undeclared)
