"""An older answer of the exact cache stands in for an upstream that has gone: told as such, and not kept anew."""

import asyncio
from pathlib import Path

import numpy as np

from tests.support.runtime import Answer, Served, prepared, serve
from tests.support.upstreams import Upstream, doubles, resets
from trivet.runtime.fronts.making import make_fronts
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage

SERVICE = """
models:
  far:
    remote:
      protocol: v2
      model: m
      inputs: [{{name: x, datatype: FP32, shape: [-1, 2]}}]
      outputs: [{{name: y, datatype: FP32, shape: [-1, 2]}}]
      upstreams: ["{url}"]
cache: {{exact: {{ttl: 1ns}}}}
slo: {{deadline: 5s}}
pipeline: [{{model: far, failures: {{fallback: [{{stale: true}}]}}}}]
"""


async def take(served: Served, x: list[float]) -> Answer:
    """As a front of HTTP gives a request to the caches."""
    tensor = np.array([x], np.float32)
    message = InferMessage([InferInput(tensor.shape, tensor)], "", None, None, False)
    answer, now_ns = Answer(), served.runtime.now_ns()
    assert served.live.fronts is not None
    answer.request = served.live.request(message, now_ns, now_ns, 0, 0, answer)
    served.live.fronts.take(answer.request)
    async with asyncio.timeout(10):
        await answer.done.wait()
    return answer


def test_the_older_answer_is_given_while_the_upstream_is_gone(tmp_path: Path) -> None:
    upstream = Upstream(resets, doubles)
    ready = prepared(tmp_path, SERVICE.format(url=upstream.url))

    async def work(served: Served) -> None:
        served.live.fronts = make_fronts(ready, served.live, served.runtime, asyncio.get_running_loop())
        async with upstream:
            first = await take(served, [1.0, 2.0])
            assert first.outputs is not None, first.error
            for _ in range(2):  # the entry has expired: its time to live is a nanosecond
                again = await take(served, [1.0, 2.0])
                assert again.outputs is not None, again.error
                assert again.outputs["y"].tolist() == [[2.0, 4.0]]
                assert again.request is not None
                assert again.request.notes is not None
                assert again.request.notes.instead == "fallback:stale"
            other = await take(served, [1.0, 3.0])
            assert other.error is not None  # nothing older is known of it
            assert len(upstream.seen) == 4

    serve(ready, work)
