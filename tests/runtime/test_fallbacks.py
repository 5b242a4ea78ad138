"""Who answers when a stage has failed, through a real runtime: inside the deadline, once, and told in the notes."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.exits import SURE, UNSURE, rows, write_parts
from tests.support.runtime import Answer, Served, prepared, serve
from tests.support.upstreams import Behaviour, Upstream, doubles, hangs, resets, says
from trivet.errors import BadRequestError, RequestError, SpecError, UpstreamError

# far is a remote model that gives y for h; rest is its stand-in: ten times h.
FAR = """
  far:
    remote:
      protocol: v2
      model: m
      inputs: [{{name: h, datatype: FP32, shape: [-1, 2]}}]
      outputs: [{{name: y, datatype: FP32, shape: [-1, 2]}}]
      upstreams: ["{url}"]
"""
LONE = "models:" + FAR + "  rest: {{file: rest.onnx}}\npipeline: [{{model: far, failures: {{{failures}}}}}]\n"
CASCADE = (
    "models:\n  front: {{file: front.onnx}}\n"
    + FAR.lstrip("\n")
    + "pipeline:\n  - model: front\n    exit: {{output: y, at_least: 0.9}}\n"
    "  - {{model: far, failures: {{{failures}}}}}\n"
)
H = rows([1.0, 2.0], [3.0, 4.0])


def run(
    folder: Path,
    text: str,
    upstream: Upstream,
    failures: str,
    work: Callable[[Served], Coroutine[Any, Any, None]],
    deadline: str = "5s",
) -> None:
    write_parts(folder)
    text = text.format(url=upstream.url, failures=failures) + f"slo: {{deadline: {deadline}}}\n"
    ready = prepared(folder, text)

    async def with_upstream(served: Served) -> None:
        async with upstream:
            await work(served)

    serve(ready, with_upstream)


async def told(answer: Answer) -> tuple[NDArray[Any], str]:
    """The answer, and who gave it instead."""
    await answer.done.wait()
    assert answer.outputs is not None, answer.error
    assert answer.request is not None
    notes = answer.request.notes
    return answer.outputs["y"], "" if notes is None else notes.instead


@pytest.mark.parametrize("behaviour", [resets, hangs, says(503), says(200, b"{}")])
def test_a_stand_in_answers_when_the_upstream_does_not(tmp_path: Path, behaviour: Behaviour) -> None:
    async def work(served: Served) -> None:
        y, instead = await told(served.submit({"h": H}))
        assert (y.tolist(), instead) == ((10 * H).tolist(), "fallback:rest")
        counts = {
            tuple(labels.values()): value
            for family, labels, value in served.live.counts.snapshot()
            if "fallbacks" in family
        }
        assert counts == {("rest", "far"): 1}

    run(tmp_path, LONE, Upstream(behaviour), "timeout: 30ms, fallback: [{model: rest}]", work)


def test_a_fixed_answer_has_a_row_for_each(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        y, instead = await told(served.submit({"h": H}))
        assert (y.tolist(), instead) == ([[0.5, 0.0], [0.5, 0.0]], "fallback:answer")

    run(
        tmp_path,
        LONE.replace("  rest: {{file: rest.onnx}}\n", ""),
        Upstream(resets),
        "fallback: [{answer: {y: [0.5, 0]}}]",
        work,
    )


def test_the_next_fallback_is_asked_when_one_has_nothing(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        y, instead = await told(served.submit({"h": H}))
        assert (y.tolist(), instead) == ((10 * H).tolist(), "fallback:rest")

    run(tmp_path, LONE, Upstream(resets), "fallback: [{stale: true}, {model: rest}]", work)


def test_an_answer_that_comes_is_nobody_elses(tmp_path: Path) -> None:
    upstream = Upstream(
        says(200, b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}]}')
    )

    async def work(served: Served) -> None:
        y, instead = await told(served.submit({"h": H}))
        assert (y.tolist(), instead) == ([[1, 2], [3, 4]], "")

    run(tmp_path, LONE, upstream, "fallback: [{model: rest}]", work)


def test_what_is_the_clients_mistake_is_told_to_the_client(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        with pytest.raises(BadRequestError, match="h is wrong"):
            await served.ask({"h": H})

    run(tmp_path, LONE, Upstream(says(400, b'{"error": "h is wrong"}')), "fallback: [{model: rest}]", work)


def test_without_time_nobody_is_asked(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        answer = served.submit({"h": H}, timeout_ns=50_000_000)
        await answer.done.wait()
        assert isinstance(answer.error, RequestError)

    run(tmp_path, LONE, Upstream(hangs), "fallback: [{model: rest}]", work)


@pytest.mark.parametrize("behaviour", [resets, hangs])
def test_a_cascade_answers_here_with_what_its_front_gave(tmp_path: Path, behaviour: Behaviour) -> None:
    x = rows(SURE, UNSURE, SURE, UNSURE)

    async def work(served: Served) -> None:
        for one in (x, x[:1], x[1:2]):  # some rows go on, none does, all do
            y, instead = await told(served.submit({"x": one}))
            assert y.tolist() == one.tolist()  # front gives x again
        assert instead == "fallback:front"

    run(tmp_path, CASCADE, Upstream(behaviour), "timeout: 30ms, fallback: [{model: front}]", work)


def test_a_cascade_comes_back_by_itself(tmp_path: Path) -> None:
    async def y_doubled(exchange: Any) -> None:
        exchange.body = exchange.body.replace(b'"name":"h"', b'"name":"x"')
        await doubles(exchange)

    upstream = Upstream(y_doubled, resets, resets)
    x = rows(UNSURE)

    async def work(served: Served) -> None:
        said = []
        async with asyncio.timeout(5):
            while not said or said[-1] != "":
                y, instead = await told(served.submit({"x": x}))
                said.append(instead)
        assert y.tolist() == (2 * x).tolist()
        assert set(said[:-1]) == {"fallback:front"}
        assert len(upstream.seen) == 3  # the breaker kept all others from it

    run(
        tmp_path,
        CASCADE,
        upstream,
        "breaker: {failures: 2, open: 20ms}, fallback: [{model: front}]",
        work,
    )


def test_many_at_once_get_one_answer_each(tmp_path: Path) -> None:
    upstream = Upstream(resets, *[hangs, resets, says(503), says(200, b"{}")] * 10)

    async def work(served: Served) -> None:
        answers = [served.submit({"h": np.full((1 + i % 90, 2), i, np.float32)}) for i in range(60)]
        for i, answer in enumerate(answers):
            y, instead = await told(answer)
            assert np.array_equal(y, np.full((1 + i % 90, 2), 10 * i, np.float32))
            assert instead == "fallback:rest"

    run(
        tmp_path,
        LONE,
        upstream,
        "timeout: 50ms, retry: {}, breaker: {failures: 1000}, fallback: [{model: rest}]",
        work,
    )


def test_python_code_that_takes_too_long_is_answered_for(tmp_path: Path) -> None:
    code = """
import threading
import numpy as np

def slow(inputs):
    if inputs["h"].shape == (2, 2) and inputs["h"][0, 0] == 1:
        threading.Event().wait()  # for ever
    return {"y": inputs["h"]}

slow.inputs = [{"name": "h", "datatype": "FP32", "shape": [-1, 2]}]
slow.outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
"""
    text = """
models:
  slow: {python: "steps.py:slow", levers: {instances: 1}, batching: "off"}
  rest: {file: rest.onnx, batch_axis: false}
pipeline: [{model: slow, failures: {timeout: 30ms, fallback: [{model: rest}]}}]
slo: {deadline: 5s}
"""
    write_parts(tmp_path)
    ready = prepared(tmp_path, text, code)

    async def work(served: Served) -> None:
        y, instead = await told(served.submit({"h": H}))
        assert (y.tolist(), instead) == ((10 * H).tolist(), "fallback:rest")

    serve(ready, work)


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ("fallback: [{answer: {z: [1, 2]}}]", r"the stage gives y; the answer has z"),
        ("fallback: [{answer: {y: [1, 2, 3]}}]", r"\[1, 2, 3\] is no row of FP32 \[2\]"),
        ("fallback: [{answer: {y: [a, b]}}]", r"is no row of FP32 \[2\]: it holds text"),
        ("fallback: [{model: odd}]", r"'odd' takes 'x'.*'far' has nothing of that name"),
        ("fallback: [{stale: true}, {upstream: 'http://127.0.0.1:1'}]", r"upstreams come first"),
    ],
)  # fmt: skip
def test_a_fallback_that_does_not_fit_is_told_at_load(tmp_path: Path, failures: str, message: str) -> None:
    write_parts(tmp_path)
    other = "odd: {{file: front.onnx}}" if "odd" in failures else "rest: {{file: rest.onnx}}"
    text = (
        LONE.replace("rest: {{file: rest.onnx}}", other)
        if "model" in failures
        else LONE.replace("  rest: {{file: rest.onnx}}\n", "")
    )
    with pytest.raises(SpecError, match=message):
        prepared(tmp_path, text.format(url="http://127.0.0.1:1", failures=failures))


def test_an_outage_without_fallback_is_told(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        with pytest.raises(UpstreamError):
            await served.ask({"h": H})

    run(tmp_path, LONE.replace("  rest: {{file: rest.onnx}}\n", ""), Upstream(resets), "timeout: 1s", work)
