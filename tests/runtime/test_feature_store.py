"""Features in a real Redis: fetched before the request begins; down, slow or full of something else, nobody hangs."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from tests.support.redis_server import RedisServer
from tests.support.runtime import Answer, Served, prepared, serve
from trivet.errors import BadRequestError, RequestError, SpecError, UnavailableError
from trivet.runtime.features.loading import load_features
from trivet.spec.features import Features
from trivet.spec.signature import TensorSpec
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage

STEPS = """
def named(tensors):
    return {"scores": tensors["y"], "name": tensors["name"]}
"""
SERVICE = """
inputs: [{name: user, datatype: BYTES, shape: [-1]}]
outputs: [{name: scores, datatype: FP32, shape: [-1, 2]}, {name: name, datatype: BYTES, shape: [-1]}]
models: {identity: {file: identity.onnx, levers: {execution: inline}}}
pipeline:
  - features: {table: "redis:u:", key: user, columns: {x: [age, score], name: name}, DEFAULTS, %s}
  - {model: identity}
  - {postprocess: "steps.py:named", inputs: {y: y, name: name}}
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def folder(models: Path, tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "identity.onnx").write_bytes((models / "fp32.onnx").read_bytes())
    monkeypatch.setenv("TRIVET_REDIS_URL", redis.url)
    client = Redis.from_url(redis.url)
    client.flushall()
    for user, age, score, name in ((b"ann", 30, 0.5, b"Ann"), (b"bob", 40, 0.25, b"Bob")):
        client.hset(b"u:" + user, mapping={"age": age, "score": score, "name": name})
    client.hset("u:old", mapping={"age": "thirty", "score": 1, "name": "Old"})
    client.hset("u:half", mapping={"age": 3})
    client.set("u:text", "not a hash")
    client.close()
    return tmp_path


async def ask(served: Served, users: list[bytes]) -> Any:
    """Past the fronts, as a server would. The answer's tensors, or its error."""
    array = np.array(users, object)
    message = InferMessage([InferInput(array.shape, array)], "", None, None, False)
    answer, now_ns = Answer(), served.runtime.now_ns()
    request = served.live.request(message, now_ns, now_ns, 10_000_000_000, 0, answer)
    assert served.live.fronts is not None
    served.live.fronts.take(request)
    await answer.done.wait()
    if answer.error is not None:
        return answer.error
    assert answer.outputs is not None
    return answer.outputs["scores"].tolist(), answer.outputs["name"].tolist()


def run(
    folder: Path,
    rules: str,
    work: Callable[[Served], Coroutine[Any, Any, None]],
    said: list[str] | None = None,
    timeout: str = "10s",
) -> None:
    say = [].append if said is None else said.append

    async def work_and_close(served: Served) -> None:
        await work(served)
        served.live.close_tables()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})

    # A machine that is busy answers late: only who waits for a store that never does waits shortly.
    service = (SERVICE % rules).replace("DEFAULTS", f"default: {{x: -1, name: '?'}}, timeout: {timeout}")
    serve(prepared(folder, service, STEPS, say), work_and_close, say)


def outcomes(served: Served) -> dict[str, Any]:
    return {
        labels["outcome"]: value
        for family, labels, value in served.live.counts.snapshot()
        if family == "trivet_feature_lookups_total" and value
    }


def test_what_is_in_the_store_joins_requests_and_is_remembered(folder: Path, redis: RedisServer) -> None:
    async def work(served: Served) -> None:
        asked = [ask(served, users) for users in ([b"ann"], [b"bob", b"ann"], [b"bob"])]
        first, second, third = await asyncio.gather(*asked)
        assert first == ([[30, 0.5]], [b"Ann"])
        assert second == ([[40, 0.25], [30, 0.5]], [b"Bob", b"Ann"])
        assert third == ([[40, 0.25]], [b"Bob"])
        assert outcomes(served) == {"hit": 4}
        client = Redis.from_url(redis.url)
        before = client.info("commandstats")["cmdstat_hmget"]["calls"]
        assert await ask(served, [b"bob"]) == third
        assert client.info("commandstats")["cmdstat_hmget"]["calls"] == before  # it was here already
        client.close()

    run(folder, "on_missing: refuse", work)


def test_what_is_not_there_and_what_another_version_wrote_are_told_apart(folder: Path) -> None:
    async def refusing(served: Served) -> None:
        for user, kind in (
            (b"eve", BadRequestError),
            (b"half", BadRequestError),
            (b"text", UnavailableError),
        ):
            assert isinstance(await ask(served, [b"ann", user]), kind)
        assert isinstance(await ask(served, [b"old"]), UnavailableError)
        assert await ask(served, [b"ann"]) == ([[30, 0.5]], [b"Ann"])

    async def lenient(served: Served) -> None:
        found = await ask(served, [b"eve", b"old", b"text", b"bob"])
        assert found == ([[-1, -1]] * 3 + [[40, 0.25]], [b"?", b"?", b"?", b"Bob"])
        assert outcomes(served) == {"missing": 1, "unavailable": 2, "hit": 1}

    run(folder, "on_missing: refuse", refusing)
    run(folder, "on_missing: default, on_mismatch: default", lenient)


def test_values_of_long_ago_are_stale(folder: Path, redis: RedisServer) -> None:
    client = Redis.from_url(redis.url)
    client.hset("u:ann", mapping={"at": 1_000})
    client.hset("u:bob", mapping={"at": 4_000_000_000})
    client.close()

    async def work(served: Served) -> None:
        assert await ask(served, [b"ann", b"bob"]) == ([[-1, -1], [40, 0.25]], [b"?", b"Bob"])
        assert outcomes(served) == {"stale": 1, "hit": 1}

    run(folder, "updated: at, max_age: 1h, on_stale: default", work)


@pytest.mark.parametrize("fault", ["gone", "hangs"])
def test_a_store_that_does_not_answer_holds_nobody_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    said: list[str] = []
    with RedisServer() as own:
        monkeypatch.setenv("TRIVET_REDIS_URL", own.url)
        if fault == "gone":
            own.kill()

        async def work(served: Served) -> None:
            if fault == "hangs":
                own.freeze()
            found = await asyncio.gather(*[ask(served, [b"user%d" % i]) for i in range(20)])
            assert found == [([[-1, -1]], [b"?"])] * 20
            assert await ask(served, [b"ann"]) == ([[-1, -1]], [b"?"])
            assert outcomes(served) == {"unavailable": 21}
            if fault == "hangs":
                own.thaw()

        run(folder, "on_mismatch: default", work, said, "20ms")
    assert len([line for line in said if "does not answer" in line]) == 1
    assert own.url not in "".join(said)


def test_where_nothing_may_stand_in_the_request_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer() as own:
        monkeypatch.setenv("TRIVET_REDIS_URL", own.url)
        own.kill()

        async def work(served: Served) -> None:
            error: RequestError = await ask(served, [b"ann"])
            assert isinstance(error, UnavailableError)
            assert "features cannot be looked up in redis:u:" in str(error)

        run(folder, "on_missing: refuse", work)


def test_an_address_that_is_nowhere_and_a_key_that_no_request_brings_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = Features(table="redis:u:", key="user", columns=("age",))
    who = TensorSpec("who", "BYTES", (1,))
    with pytest.raises(
        SpecError, match=r"features\.key: with Redis the key is an input.*'user' is none of who"
    ):
        load_features(declared, [who], folder, lambda _text: None)
    monkeypatch.delenv("TRIVET_REDIS_URL")
    with pytest.raises(SpecError, match="TRIVET_REDIS_URL holds no address; set it to redis://HOST"):
        load_features(declared, [TensorSpec("user", "BYTES", (1,))], folder, lambda _text: None)
