"""Outputs of stages that are remembered: computed once for equal inputs, whoever brings them; answers stay the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve.cache_support import CachedFront, watched, write_service
from tests.serve.http_support import infer, values
from tests.support.runtime import prepared
from trivet.errors import EngineError, SpecError
from trivet.spec.service_file import load_configuration, load_service

LEVERS = "levers: {execution: inline, max_batch_size: 8, threads: 1}"
CODE = """
import numpy as np
calls = []
def add(tensors):
    calls.append("add")
    x = tensors["x"]
    if (x < 0).any():
        raise ValueError("below 0")
    return {"x": x + 1}
def spoil(tensors):
    tensors["x"] *= 10
    return {"x": tensors["x"]}
"""
STEPS = f"""
inputs: [{{name: x, datatype: FP32, shape: [-1, -1]}}]
models: {{m: {{file: identity.onnx, {LEVERS}}}}}
pipeline:
  - preprocess: code.py:add
    outputs: [{{name: x, datatype: FP32, shape: [-1, -1]}}]
  - preprocess: code.py:spoil
  - model: m
slo: {{deadline: 1s}}
"""
TWO = f"""
models:
  first: {{file: identity.onnx, {LEVERS}}}
  second: {{file: twice.onnx, {LEVERS}}}
pipeline:
  - model: first
  - model: second
slo: {{deadline: 1s}}
"""


def steps(folder: Path, cache: str) -> CachedFront:
    (folder / "code.py").write_text(CODE)
    return CachedFront(write_service(folder, STEPS + cache))


def two(folder: Path, cache: str) -> CachedFront:
    return CachedFront(write_service(folder, TWO + cache))


def calls(front: CachedFront) -> list[str]:
    """How often the step `add` ran."""
    step: Any = front.live.stages[0]
    run = step.call
    while hasattr(run, "__closure__") and "calls" not in run.__globals__:
        run = next(cell.cell_contents for cell in run.__closure__ if callable(cell.cell_contents))
    found: list[str] = run.__globals__["calls"]
    return found


@pytest.mark.parametrize("cache", ["cache: {stages: ['code.py:add']}\n", ""])
def test_a_step_runs_once_for_equal_inputs_and_what_it_gave_is_not_spoilt(tmp_path: Path, cache: str) -> None:
    front = steps(tmp_path, cache)
    before = len(calls(front))
    client = front.connect()
    answers = [client.ask(infer(b"1")) for _ in range(3)] + [client.ask(infer(b"2"))]
    assert [values(answer) for answer in answers] == [b"20.0"] * 3 + [b"30.0"]
    assert len(calls(front)) - before == (2 if cache else 4)
    if cache:
        assert front.count("trivet_stage_cache_lookups_total", stage="code.py:add") == 4
        assert front.count("trivet_stage_cache_hits_total", stage="code.py:add") == 2
        assert "cache" not in json.loads(answers[1].body)["parameters"], "the model has answered"
        assert front.num_executed == 4


def test_a_step_that_fails_fails_again(tmp_path: Path) -> None:
    front = steps(tmp_path, "cache: {stages: ['code.py:add'], exact: {}}\n")
    before = len(calls(front))
    client = front.connect()
    for _ in range(2):
        answer = client.ask(infer(b"-1"))
        assert (answer.status, b"below 0" in answer.body) == (500, True)
    assert len(calls(front)) - before == 2
    assert values(client.ask(infer(b"1"))) == b"20.0"


def test_a_hit_of_the_whole_answer_runs_no_step(tmp_path: Path) -> None:
    front = steps(tmp_path, "cache: {exact: {}}\n")
    before = len(calls(front))
    client = front.connect()
    assert [values(client.ask(infer(b"1"))) for _ in range(3)] == [b"20.0"] * 3
    assert (len(calls(front)) - before, front.num_executed) == (1, 1)


@pytest.mark.parametrize(
    ("stages", "executed"), [(["first"], (1, 3)), (["second"], (3, 1)), (["first", "second"], (1, 1))]
)
def test_a_model_runs_once_for_equal_inputs(
    tmp_path: Path, stages: list[str], executed: tuple[int, int]
) -> None:
    front = two(tmp_path, f"cache: {{stages: {stages}}}\n")
    client = front.connect()
    answers = [client.ask(infer(b"1.5")) for _ in range(3)]
    assert [values(answer) for answer in answers] == [b"3.0"] * 3
    assert tuple(model.counters.executions for model in front.live.models) == executed
    assert values(client.ask(infer(b"2"))) == b"4.0"
    assert [answer.status for answer in answers] == [200] * 3


def test_a_model_that_fails_is_not_remembered(tmp_path: Path) -> None:
    front = two(tmp_path, "cache: {stages: [first, second]}\n")
    engine = watched(front.live, 1)
    engine.errors = [EngineError("bad luck")]
    client = front.connect()
    assert [client.ask(infer(b"1")).status for _ in range(3)] == [500, 200, 200]
    assert front.live.models[0].counters.executions == 1
    front.check_is_idle()


def test_a_client_that_leaves_leaves_nothing_behind(tmp_path: Path) -> None:
    front = two(tmp_path, "cache: {stages: [first]}\n")
    gone, stays = front.connect(), front.connect()
    for client in (gone, stays):
        client.send(infer(b"1"))
    gone.transport.drop()
    gone.connection.connection_lost(None)
    assert values(stays.answers()[0]) == b"2.0"
    front.check_is_idle()


def test_models_keep_tenants_apart_and_stages_of_one_make_share(tmp_path: Path) -> None:
    from trivet.runtime.counts import Counts
    from trivet.runtime.fronts.local_store import LocalStore
    from trivet.runtime.fronts.stage_cache import StageCache

    local = LocalStore(10_000)
    one, same, other = (
        StageCache("s", digest, local, None, Counts(), lambda: 0) for digest in ("d", "d", "e")
    )
    inputs = {"x": np.ones((1, 1))}
    keys = [cache.key(inputs, tenant) for cache in (one, same, other) for tenant in ("", "anne")]
    assert keys[:2] == keys[2:4]
    assert len(set(keys)) == 4
    assert keys[0] is not None
    one.put(keys[0], {"y": np.zeros(1)}, 1)
    assert same.get(keys[0]) is not None


def test_inputs_that_cannot_be_told_apart_are_computed(tmp_path: Path) -> None:
    from trivet.runtime.counts import Counts
    from trivet.runtime.fronts.local_store import LocalStore
    from trivet.runtime.fronts.stage_cache import StageCache, remembered

    cache = StageCache("s", "d", LocalStore(10_000), None, Counts(), lambda: 0)
    ran: list[int] = []

    def step(tensors: Any) -> Any:
        ran.append(1)
        return {"y": tensors["x"]}

    call = remembered(step, cache)
    for _ in range(2):
        call({"x": np.array([{}], object)})
    assert len(ran) == 2


def test_stage_digests_tell_code_and_levers_apart_and_not_places(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    path = write_service(tmp_path, STEPS)
    before = load_configuration(path)
    twice = STEPS.replace("  - preprocess: code.py:spoil\n", "  - preprocess: code.py:spoil\n" * 2)
    longer = load_configuration(write_service(tmp_path, twice, "longer"))
    assert before.stage_digest(0) != before.stage_digest(1)
    assert longer.stage_digest(1) == longer.stage_digest(2) == before.stage_digest(1)
    assert longer.stage_digest(3) == before.stage_digest(2)
    (tmp_path / "code.py").write_text(CODE + "\n# another\n")
    assert load_configuration(path).stage_digest(0) != before.stage_digest(0)
    assert load_configuration(path).stage_digest(2) == before.stage_digest(2)


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        ("{stages: [frist]}", r"no stage of the pipeline is called 'frist'.*first"),
        ("{stages: [first, first]}", "named twice"),
        ("{}", "nothing is remembered"),
        ("{exact: {ttl: 0s}}", "never given again"),
        ("{exact: {ttl: 10m}}", "min"),
        ("{exact: {sise: 1MiB}}", "size"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, cache: str, message: str) -> None:
    path = write_service(tmp_path, TWO + f"cache: {cache}\n")
    with pytest.raises(SpecError, match=rf"echo.yaml:\d+.*{message}"):
        load_service(path)


def test_the_cache_is_part_of_the_hash_and_a_service_without_keeps_its_own(tmp_path: Path) -> None:
    texts = ["", "cache: {exact: {}}\n", "cache: {exact: {ttl: 1s}}\n", "cache: {stages: [first]}\n"]
    hashes = [
        load_configuration(write_service(tmp_path, TWO + text, f"s{i}")).hash for i, text in enumerate(texts)
    ]
    assert len(set(hashes)) == 4
    spelled = "cache: {exact: {size: 65536KiB, ttl: none, single_flight: true}}\n"
    assert load_configuration(write_service(tmp_path, TWO + spelled, "s5")).hash == hashes[1]


def test_chunks_are_not_remembered_stage_by_stage(tmp_path: Path) -> None:
    code = "def words(tensors):\n    yield {'y': tensors['x']}\n"
    service = """
inputs: [{name: x, datatype: FP32, shape: [1]}]
outputs: [{name: y, datatype: FP32, shape: [1]}]
models: {talk: {python: "steps.py:words"}}
cache: {stages: [talk]}
"""
    with pytest.raises(SpecError, match="answers in chunks"):
        prepared(tmp_path, service, code)
