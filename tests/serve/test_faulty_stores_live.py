"""Real servers with a real Redis that is slow, full, dead, or holds what others wrote; tables that are no good; encoders
that fail: every request is answered, with its own answer.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from redis import Redis

from benchmarks import models as build
from tests.serve.cache_support import write_service
from tests.serve.faults_support import Said, ask, metric, post
from tests.serve.test_precomputed_live import publish_answers
from tests.support.cascades import write_cascade
from tests.support.redis_server import RedisServer
from tests.support.server import ServerProcess
from trivet.runtime.fronts.shared_entry import KEY_PREFIX

ECHO = """
models: {m: {file: identity.onnx, levers: {max_batch_size: 8, threads: 1}}}
cache: {exact: {}}
slo: {deadline: 20s}
"""
TABLE = "name: NAME\nmodels: {m: {file: identity.onnx, levers: {threads: 1}}}\nprecomputed: {table: NAME.parquet}\n"
FEATURES = """
name: shop
inputs: [{name: user, datatype: BYTES, shape: [-1]}]
models: {m: {file: identity.onnx, levers: {execution: inline}}}
pipeline:
  - features: {table: "redis:u:", key: user, columns: {x: [age, score]}, default: {x: -1}, on_missing: default,
               on_mismatch: default}
  - model: m
slo: {deadline: 20s}
"""
MEANING = """
name: letters
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models: {m: {file: identity.onnx}}
pipeline: [{preprocess: steps.py:score, outputs: [{name: x, datatype: FP32, shape: [-1, 5]}]}, {model: m}]
decode: argmax
semantic_cache: {input: text, max_wrong: 5%, encoder: "steps.py:vectors"}
slo: {deadline: 20s}
"""
STEPS = """
import numpy as np

def score(inputs):
    scores = np.zeros((1, 5), np.float32)
    scores[0, "abcde".index(inputs["text"][0].decode()[-1])] = 1
    return {"x": scores}

def vectors(texts):
    word = texts[0].split(" ")[0]
    if word == "raise":
        raise ValueError("no vector for this")
    if word == "none":
        return None
    return np.full((1, 7 if word == "long" else 4), np.nan if word == "nan" else 1, np.float32)
"""
TABLES = {"cut": "unreadable", "gone": "missing", "others": "mismatch"}
TENANTS = {name: {"Authorization": f"Bearer {name}"} for name in ("anne", "bert")}


@dataclass(frozen=True, slots=True)
class World:
    """Two servers of the same services, and what they share."""

    folder: Path
    redis: RedisServer
    one: ServerProcess
    other: ServerProcess

    def client(self) -> "Redis[bytes]":
        return Redis.from_url(self.redis.url)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("stores")
    write_all(folder)
    tenants = ", ".join(f"{name}: {{key_sha256: {sha256(name.encode()).hexdigest()}}}" for name in TENANTS)
    with RedisServer() as redis:
        names = ["echo", "shop", "letters", *TABLES]
        (folder / "deployment.yaml").write_text(
            f"services: [{', '.join(f'{name}.yaml' for name in names)}]\ncache_url: {redis.url}\n"
            f"tenants: {{{tenants}}}\n"
        )
        arguments, environment = ["--config", "deployment.yaml"], {"TRIVET_REDIS_URL": redis.url}
        with (
            ServerProcess(arguments, folder, **environment) as one,
            ServerProcess(arguments, folder, TRIVET_STATE=str(folder / "other"), **environment) as other,
        ):
            yield World(folder, redis, one, other)


def write_all(folder: Path) -> None:
    write_service(folder, ECHO)
    (folder / "steps.py").write_text(STEPS)
    (folder / "shop.yaml").write_text(FEATURES)
    (folder / "letters.yaml").write_text(MEANING)
    for name in TABLES:
        (folder / f"{name}.yaml").write_text(TABLE.replace("NAME", name))
    publish_answers(folder / "cut.yaml")  # as answers.parquet
    (folder / "cut.parquet").write_bytes((folder / "answers.parquet").read_bytes()[:-9])
    (folder / "else.yaml").write_text(TABLE.replace("NAME", "else").replace("threads: 1", "threads: 2"))
    publish_answers(folder / "else.yaml")
    (folder / "answers.parquet").replace(folder / "others.parquet")


def anne(server: ServerProcess, service: str, x: list[float], tenant: str = "anne") -> Said:
    said = ask(server, service, x, headers=TENANTS[tenant])
    assert said.status == 200, said.body
    return said


def cached(said: Said) -> tuple[list[Any], str]:
    """The answer's numbers, and where it says that it comes from."""
    assert said.headers["X-Trivet-Cache"] == said.parameters["cache"]
    return said.values, said.parameters["cache"]


def put_live(server: ServerProcess, service: Path) -> None:
    """What `service` is by now takes the place of what it was."""
    asked = urllib.request.Request(
        f"http://{server.control}/services/{service.stem}/versions/1/live",
        json.dumps({"entries": [{"path": str(service)}]}).encode(),
        {"Authorization": f"Bearer {server.token}"},
        method="PUT",
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.status == 200


def text(server: ServerProcess, service: str, name: str, said: str) -> list[Any]:
    tensor = {"name": name, "datatype": "BYTES", "shape": [1], "data": [said]}
    found = post(server, f"/v2/models/{service}/infer", {"inputs": [tensor]}, TENANTS["anne"])
    assert found.status == 200, found.body
    return found.values


def test_entries_of_others_are_no_answers(world: World) -> None:
    before = metric(world.one, "trivet_cache_shared_stores_total", 'outcome="ok"')
    for value in range(6):
        assert cached(anne(world.one, "echo", [float(value)])) == ([value], "miss")
    while metric(world.one, "trivet_cache_shared_stores_total", 'outcome="ok"') < before + 6:
        pass
    client = world.client()
    keys = sorted(client.keys(KEY_PREFIX + b"*"))
    assert len(keys) == 6
    whole = client.get(keys[0])
    assert whole is not None
    client.set(keys[0], b"TRVT\x02" + whole[5:])  # another version's
    client.set(keys[1], whole[:-3])  # cut off
    client.set(keys[2], client.get(keys[3]) or b"")  # another request's
    client.delete(keys[4])
    client.rpush(keys[4], "a list")
    client.set(keys[5], b"")
    client.close()
    found = [cached(anne(world.other, "echo", [float(value)])) for value in range(6)]
    assert [values for values, _ in found] == [[value] for value in range(6)]
    assert sorted(cache for _, cache in found) == ["exact", *["miss"] * 5]
    assert metric(world.other, "trivet_cache_shared_lookups_total", 'outcome="foreign"') >= 4


def test_neither_another_tenant_nor_another_version_is_answered_from_the_store(world: World) -> None:
    before = metric(world.one, "trivet_cache_shared_stores_total", 'outcome="ok"')
    for tenant, told in (("anne", "miss"), ("bert", "miss"), ("anne", "exact"), ("bert", "exact")):
        assert cached(anne(world.one, "echo", [30.0], tenant)) == ([30.0], told)
    while metric(world.one, "trivet_cache_shared_stores_total", 'outcome="ok"') < before + 2:
        pass
    node = helper.make_node("Mul", ["x", "f"], ["y"])
    inputs, outputs = ([build.tensor(one, "FP32", ["n", "m"])] for one in ("x", "y"))
    model = build.build("m", [node], inputs, outputs, {"f": np.float32(2)})
    build.write(model, world.folder / "identity.onnx")
    put_live(world.other, world.folder / "echo.yaml")
    for _ in range(2):  # the same key but for the configuration
        assert anne(world.other, "echo", [30.0]).values == [60.0]
        assert cached(anne(world.one, "echo", [30.0])) == ([30.0], "exact")
    assert ask(world.one, "echo", [30.0]).status == 401


def test_a_store_that_is_full_is_still_asked(world: World) -> None:
    wide = [float(i) for i in range(50_000)]
    client = world.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
    number = 0
    while not metric(world.one, "trivet_cache_shared_stores_total", 'outcome="full"'):
        number += 1
        assert cached(anne(world.one, "echo", [*wide, float(number)]))[0][-1] == number
    client.config_set("maxmemory", 0)
    client.close()
    assert "is full" in world.one.read_until("is full")
    assert metric(world.one, "trivet_cache_shared_up", 'model="echo"') == 1
    assert cached(anne(world.one, "echo", [*wide, float(number)]))[1] == "exact"  # kept in the worker


def test_a_store_that_hangs_under_load_holds_nobody_and_is_taken_back(world: World) -> None:
    server = world.one

    def client(number: int) -> list[list[Any]]:
        return [anne(server, "echo", [1000.0 * number + i]).values for i in range(40)]

    success = metric(server, "nv_inference_request_success", 'model="echo"')
    assert cached(anne(server, "echo", [-1.0])) == ([-1.0], "miss")
    world.redis.freeze()
    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(client, range(1, 5)), start=1):
            assert found == [[1000.0 * number + i] for i in range(40)]
    assert metric(server, "trivet_cache_shared_lookups_total", 'outcome="timeout"') >= 3
    assert "going on without the shared store" in server.read_until("going on without")
    assert metric(server, "trivet_cache_shared_up", 'model="echo"') == 0
    assert cached(anne(server, "echo", [-1.0])) == ([-1.0], "exact")  # what it holds itself
    world.redis.thaw()
    server.read_until("answers again")
    assert metric(server, "trivet_cache_shared_up", 'model="echo"') == 1
    assert cached(anne(server, "echo", [-2.0])) == ([-2.0], "miss")
    assert metric(server, "nv_inference_request_success", 'model="echo"') == success + 4 * 40 + 3


@pytest.mark.parametrize("fault", TABLES)
def test_a_table_that_is_no_good_is_bypassed_and_counted(world: World, fault: str) -> None:
    assert anne(world.one, fault, [1.0]).values == [1.0]  # the table would have it 101
    labels = (f'model="{fault}"', f'reason="{TABLES[fault]}"')
    assert metric(world.one, "trivet_precomputed_tables_refused_total", *labels) == 1
    assert metric(world.one, "trivet_precomputed_lookups_total", labels[0], 'outcome="bypassed"') == 1


def test_where_it_is_declared_such_a_table_refuses_the_start(world: World) -> None:
    strict = TABLE.replace("NAME", "cut").replace("cut.parquet", "cut.parquet, on_mismatch: refuse")
    (world.folder / "strict.yaml").write_text(strict)
    with pytest.raises(RuntimeError, match=r"precomputed: .*cut\.parquet: .*on_mismatch: bypass"):
        ServerProcess(["strict.yaml"], world.folder, TRIVET_STATE=str(world.folder / "strict"))


def test_an_encoder_that_fails_costs_hits_and_nothing_else(world: World) -> None:
    words = ("good", "raise", "none", "nan", "long")
    for number in range(20):
        letter = "abcde"[number % 5]
        for word in words:
            wanted = [float(one == letter) for one in "abcde"]
            assert text(world.one, "letters", "text", f"{word} {letter}") == wanted
    assert metric(world.one, "trivet_semantic_encoder_failures_total") == 20 * 4


def test_features_of_a_store_that_hangs_or_dies_are_stood_in_for(world: World) -> None:
    """The last one: it ends the store."""
    client = world.client()
    client.hset("u:ann", mapping={"age": 30, "score": 0.5})
    client.hset("u:other", mapping={"age": "thirty", "score": "{}"})
    client.close()
    unknown = [-1.0, -1.0]
    assert text(world.one, "shop", "user", "ann") in ([30.0, 0.5], unknown)  # a busy machine is a slow store
    assert [text(world.one, "shop", "user", name) for name in ("nobody", "other")] == [unknown] * 2
    world.redis.freeze()
    assert [text(world.one, "shop", "user", f"new{i}") for i in range(5)] == [unknown] * 5
    world.redis.thaw()
    world.redis.kill()
    assert [text(world.one, "shop", "user", f"newer{i}") for i in range(5)] == [unknown] * 5
    assert metric(world.one, "trivet_feature_lookups_total", 'outcome="unavailable"') >= 10


def test_what_a_service_is_certified_on_has_to_be_enough(tmp_path: Path) -> None:
    write_cascade(tmp_path, num_rows=100)
    command = [sys.executable, "-m", "trivet.cli.main", "certify", "service.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert "90 labelled rows that no model was trained on" in done.stderr
    assert "needs at least 200, and more where answers get lost" in done.stderr
    assert not (tmp_path / "certified.yaml").exists()
