"""`priorities.min_share` of a service, in a real runtime under overload: the low class is served its share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import models as build
from tests.support.runtime import Answer, Served, prepared, serve
from trivet.clock import FakeClock
from trivet.runtime.executors import Done, Outcome, Work

_BATCH_NS = 5_000_000
SERVICE = """
models: {{m: {{file: m.onnx, levers: {{max_batch_size: 1, execution: inline}}}}}}
priorities: {{levels: 2, default: 1, min_share: {share}}}
slo: {{deadline: 100ms}}
"""


class Ticking:
    """An executor whose every batch takes the same time of a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def start(self, build: Work, done: Done, answer_by_ns: int) -> None:
        started_ns = self._clock.now_ns()
        outputs = {"y": build()["x"]}
        self._clock.advance_ns(_BATCH_NS)
        done(Outcome(outputs, None, started_ns, self._clock.now_ns()))

    def when_back(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self) -> None: ...


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2])
def test_a_low_class_keeps_its_share_under_overload_by_a_high_class(tmp_path: Path, share: float) -> None:
    """Each class offers twice what the model can do; all of it would go to the high one."""
    build.write(build.identity(), tmp_path / "m.onnx")
    clock = FakeClock()
    answers: dict[int, list[Answer]] = {1: [], 2: []}

    async def work(served: Served) -> None:
        import asyncio

        model = served.live.models[0]
        model.idle[:] = [Ticking(clock)]
        model.service_time.curve(2).seed({1: [_BATCH_NS] * 3})
        row = {"x": np.ones((1, 2), np.float32)}
        offered_ns = 0
        while clock.now_ns() < 4_000_000_000:
            while offered_ns <= clock.now_ns():
                for priority in (1, 2):
                    answers[priority].append(served.submit(row, priority=priority))
                offered_ns += _BATCH_NS // 2
            before_ns = clock.now_ns()
            await asyncio.sleep(0)
            if clock.now_ns() == before_ns:
                clock.advance_ns(_BATCH_NS // 2)
        while served.runtime.scheduler.num_waiting:
            await asyncio.sleep(0)

    serve(prepared(tmp_path, SERVICE.format(share=share)), work, now_ns=clock.now_ns)
    good = {
        priority: sum(answer.outputs is not None for answer in given) for priority, given in answers.items()
    }
    served_share = good[2] / (good[1] + good[2])
    assert sum(good.values()) >= 0.9 * 4_000_000_000 / _BATCH_NS  # and the cores are not idle for it
    assert 0.9 * share <= served_share <= share + 0.05
