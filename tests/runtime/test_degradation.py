"""Requests that the declared model cannot answer in time: offered to those that stand in, each answered exactly once."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import models as build
from tests.support.exits import SURE, UNSURE, outputs, rows, times, write_parts
from tests.support.ladders import LADDER, MS, ROW, Stood, ladder, stood, who, write_ladder
from tests.support.runtime import Answer, Served, prepared, serve
from trivet.errors import SpecError
from trivet.pipeline.degrading import EASE
from trivet.runtime.degrading import LiveLadder
from trivet.runtime.fronts.local_store import LocalStore
from trivet.runtime.fronts.stage_cache import StageCache, StageCaches
from trivet.runtime.preparing.resolving import known_resolutions
from trivet.spec.service_file import load_configuration
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ladder(tmp_path_factory.mktemp("ladder"))


def the_ladder(at: Stood) -> LiveLadder:
    assert at.served.live.ladder is not None
    return at.served.live.ladder


def degraded_rows(at: Stood) -> dict[str, float]:
    found = at.served.live.counts.snapshot()
    return {labels["to"]: value for family, labels, value in found if family == "trivet_degraded_rows_total"}


@pytest.mark.parametrize(
    ("timeout_ms", "expected"),
    [(1000, "full"), (100 / EASE - 1, "half"), (50 / EASE - 1, "tiny"), (5, "RefusedError")],
)
def test_the_most_accurate_model_that_is_in_time_answers(
    folder: Path, timeout_ms: float, expected: str
) -> None:
    def work(at: Stood) -> None:
        answer = at.submit(int(timeout_ms))
        at.end_all()
        assert who(answer) == expected

    stood(ladder(folder), work)


def test_under_load_the_queue_fills_with_what_still_fits(folder: Path) -> None:
    """Twenty at once with a second each: the queue is filled to its ease by the full model, then by shorter ones."""

    def work(at: Stood) -> None:
        answers = [at.submit(1000) for _ in range(20)]
        waiting = the_ladder(at).rungs[0].scheduled.queues.values()
        assert (
            sum(len(queue) for queue in waiting) == 1000 * EASE // 100 - 1
        )  # an upper quantile is a little more
        at.end_all()
        found = [who(answer) for answer in answers]
        assert sorted(found, key=["full", "half", "tiny"].index) == found
        assert "RefusedError" not in found
        assert {"full", "tiny"} <= set(found)

    stood(ladder(folder), work)


def test_nobody_is_counted_as_refused_who_was_answered(folder: Path) -> None:
    def work(at: Stood) -> None:
        answers = [at.submit(60) for _ in range(3)] + [at.submit(1)]
        at.end_all()
        assert [who(answer) for answer in answers][-1] == "RefusedError"
        refused = sum(
            sum(one.refused.values())
            for model in at.served.live.models
            for one in model.scheduled.classes.values()
        )
        assert refused == sum(who(answer) == "RefusedError" for answer in answers)

    stood(ladder(folder), work)


def test_who_waited_in_vain_is_offered_again_and_counted_once(folder: Path) -> None:
    """Two for the full model, and the first takes much longer than expected: the second is dropped, and tiny takes it."""

    def work(at: Stood) -> None:
        first, second = at.submit(10_000), at.submit(1000)
        at.turn()
        batch = at.served.runtime.scheduler.models[0].lane.running[0]
        assert [len(batch.jobs), len(at.paced["full"].running)] == [2, 1]
        third = at.submit(620)  # has to wait for the batch of two, which is to take 200 ms
        assert third.request is not None
        assert third.request.queue.model.name == "full"
        at.clock[0] += 575 * MS
        at.turn()  # a timer of the third
        at.paced["full"].end()
        at.end_all()
        assert [who(answer) for answer in (first, second, third)] == ["full", "full", "tiny"]
        dropped = [one.dropped for model in at.served.live.models for one in model.scheduled.classes.values()]
        assert sum(sum(one.values()) for one in dropped) == 0
        for model in at.served.live.models:
            for one in model.scheduled.classes.values():
                assert one.admitted == one.num_finished + one.num_cancelled

    stood(ladder(folder), work)


def test_the_budget_bounds_what_is_answered_by_others_and_then_refusal_is_back(folder: Path) -> None:
    """Ten answers' worth at 1 point: tiny, at 4, may answer three times; then half, at 1, which costs nothing more."""
    text = LADDER.replace("max_loss: 5 points", "max_loss: 1 point\n  window: 10")

    def work(at: Stood) -> None:
        found = []
        for timeout_ms in (50, 50, 50, 60, 150):
            answer = at.submit(timeout_ms)
            at.end_all()
            found.append(who(answer))
        assert found == ["tiny", "tiny", "tiny", "half", "half"]
        short = at.submit(30)
        at.end_all()
        assert who(short) == "RefusedError"
        for _ in range(3):
            at.submit(1000)
            at.end_all()
        short = at.submit(30)
        at.end_all()
        assert who(short) == "tiny"
        assert degraded_rows(at) == {"half": 2, "tiny": 4}

    stood(ladder(folder, text), work)


def test_a_client_that_leaves_gives_the_budget_back(folder: Path) -> None:
    text = LADDER.replace("max_loss: 5 points", "max_loss: 1 point\n  window: 3")

    def work(at: Stood) -> None:
        budget = the_ladder(at).decision.budget
        busy = at.submit(1000)
        at.turn()
        gone = at.submit(130)  # behind 100 ms, so that only the last one is in time
        assert gone.request is not None
        assert gone.request.queue.model.name == "tiny"
        assert not budget.covers(the_ladder(at).decision.losses[2], 1)
        assert at.served.runtime.cancel(gone.request)
        assert budget.covers(the_ladder(at).decision.losses[2], 1)
        at.end_all()
        assert (who(busy), gone.done.is_set()) == ("full", False)

    stood(ladder(folder, text), work)


def test_a_request_larger_than_a_batch_is_answered_by_one_model(folder: Path) -> None:
    def work(at: Stood) -> None:
        found = []
        for timeout_ms in (4_000, 1500, 350, 60):
            answer = at.submit(timeout_ms, rows=10)
            at.end_all()
            found.append(who(answer))
        assert found == ["full", "half", "tiny", "RefusedError"]
        budget = the_ladder(at).decision.budget
        assert budget.potential == budget.cap
        assert degraded_rows(at) == {"half": 10, "tiny": 10}

    stood(ladder(folder), work)


def test_a_service_without_a_ladder_has_none(folder: Path) -> None:
    async def work(served: Served) -> None:
        assert served.live.ladder is None
        [model] = served.live.models
        assert model.ladder is None

    serve(prepared(folder, "models: {full: {file: full.onnx}}"), work)


PIPELINE = """
inputs: [{name: text, datatype: BYTES, shape: [-1, 1]}]
models:
  full: {file: full.onnx, levers: {max_batch_size: 4, execution: inline}}
  count: {file: count.onnx, levers: {max_batch_size: 4, execution: inline}}
pipeline:
  - preprocess: steps.py:before
    outputs: [{name: h, datatype: FP32, shape: [-1, 2]}, {name: length, datatype: FP32, shape: [-1, 2]}]
  - model: full
  - postprocess: steps.py:after
outputs: [{name: z, datatype: FP32, shape: [-1, 2]}]
degrade:
  to: [{model: count, loss: 2 points, inputs: {h: length}}]
  max_loss: 5 points
slo: {deadline: 10s}
"""
STEPS = """
import numpy as np
def before(inputs):
    lengths = [[float(len(item))] * 2 for item in inputs["text"].ravel()]
    return {"h": np.ones((len(lengths), 2), np.float32), "length": np.array(lengths, np.float32)}
def after(inputs):
    return {"z": -inputs["y"]}
"""


def test_a_stand_in_takes_what_the_declared_model_does_not_and_what_follows_sees_no_difference(
    tmp_path: Path,
) -> None:
    build.write(times(10), tmp_path / "full.onnx")
    build.write(times(1), tmp_path / "count.onnx")
    ready = prepared(tmp_path, PIPELINE, STEPS)
    full = ready.stages[1]
    full.profile = type(full.profile)({0: {1: [100 * MS] * 8}}, full.profile.batching, "the test")  # type: ignore[union-attr]

    async def work(served: Served) -> None:
        text = {"text": np.array([[b"four"]], object)}
        assert (await served.ask(text))["z"].tolist() == [[-10.0, -10.0]]
        assert (await served.ask(text, timeout_ns=90 * MS))["z"].tolist() == [[-4.0, -4.0]]

    serve(ready, work)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("inputs: {h: length}", "inputs: {x: length}", r"model 'count' has no input 'x'; known: h"),
        (
            "{h: length}",
            "{h: lengths}",
            r"'count' takes 'h': nobody before it gives 'lengths'; did you mean 'length'",
        ),
        (
            "count.onnx, levers: {",
            "count.onnx, batch_axis: false, levers: {",
            r"axis 0 of 'full' counts rows",
        ),
        (
            "count.onnx",
            "other.onnx",
            r"stands in for 'full', which gives 'y' FP32 .*; it gives nothing of that name",
        ),
    ],
)
def test_what_cannot_stand_in_is_told_at_load(tmp_path: Path, old: str, new: str, message: str) -> None:
    build.write(times(10), tmp_path / "full.onnx")
    build.write(times(1), tmp_path / "count.onnx")
    other = times(1)
    other.graph.output[0].name = other.graph.node[0].output[0] = "other"
    build.write(other, tmp_path / "other.onnx")
    with pytest.raises(SpecError, match=message):
        prepared(tmp_path, PIPELINE.replace(old, new), STEPS)


BEHIND_AN_EXIT = """
models:
  front: {file: front.onnx, levers: {max_batch_size: 4, execution: inline}}
  full: {file: full.onnx, levers: {max_batch_size: 4, execution: inline}}
  half: {file: half.onnx, levers: {max_batch_size: 4, execution: inline}}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: full
degrade: {to: [{model: half, loss: 1 point}], max_loss: 5 points}
slo: {deadline: 10s}
"""


def test_rows_that_go_on_from_an_exit_may_be_answered_by_a_stand_in(folder: Path) -> None:
    """One row of two is sure and leaves; the other goes on, with too little time for the full model."""
    write_parts(folder)

    async def work(served: Served) -> None:
        answer = served.submit({"x": rows(SURE, UNSURE)}, timeout_ns=150 * MS)
        await answer.done.wait()
        assert outputs(answer).tolist() == [[3.0, 0.0], [5.0, 0.0]]
        assert answer.request is not None
        assert answer.request.notes is not None
        assert answer.request.notes.instead == "degraded:half"
        assert answer.request.exit == ["front", "full"]

    ready = ladder(folder, BEHIND_AN_EXIT)
    serve(ready, work)


def test_what_a_stand_in_answers_is_not_kept_as_the_declared_models(folder: Path) -> None:
    def work(at: Stood) -> None:
        live = at.served.live
        cache = StageCache("full", "digest", LocalStore(1 << 20), None, live.counts, lambda: at.clock[0])
        caches = StageCaches(at.served.runtime, {0: cache})

        def ask(timeout_ms: int) -> str:
            message = InferMessage([InferInput(ROW.shape, ROW)], "", None, None, False)
            answer = Answer()
            answer.request = live.request(message, at.clock[0], at.clock[0], timeout_ms * MS, 0, answer)
            caches.submit(answer.request)
            at.end_all()
            return who(answer)

        assert [ask(30), ask(1000), ask(1)] == ["tiny", "full", "full"]

    stood(ladder(folder), work)


def test_what_auto_became_for_a_stand_in_is_known_once_it_is_profiled(tmp_path: Path) -> None:
    write_ladder(tmp_path)
    (tmp_path / "service.yaml").write_text(LADDER)
    configuration = load_configuration(tmp_path / "service.yaml")
    ready = ladder(tmp_path)
    found = known_resolutions(configuration)
    assert [*found] == ["full", "half", "tiny"]
    assert found["tiny"] == ready.rungs[1].resolution
