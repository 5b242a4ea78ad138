"""Requests whose rows part, and time: cancelled, dropped, late, or too short for the rest."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.exits import SURE, TWO, UNSURE, outputs, rows, write_parts
from tests.support.runtime import Served, prepared, serve
from trivet.errors import DeadlineError, RefusedError
from trivet.runtime.live import LiveModel
from trivet.runtime.preparing.preparing import PreparedModel
from trivet.runtime.preparing.profile import Profile
from trivet.schedule.job import DROPPED


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("exits"))


THREADS = TWO.replace("execution: inline", "execution: thread")


def test_a_request_that_is_cancelled_between_its_models_is_not_answered(folder: Path) -> None:
    async def work(served: Served) -> None:
        gone, other = (served.submit({"x": rows(UNSURE, SURE)}) for _ in range(2))
        assert gone.request is not None
        while gone.request.split is None:  # until its rows have parted
            await asyncio.sleep(0)
        assert served.runtime.cancel(gone.request)
        assert not served.runtime.cancel(gone.request)
        np.testing.assert_array_equal((await served.ask({"x": rows(UNSURE)}))["y"], 10 * rows(UNSURE))
        await other.done.wait()
        assert served.live.num_unanswered() == 0
        assert not gone.done.is_set()
        assert served.live.models[0].counters.failed == {"CANCELED": 1}

    serve(prepared(folder, THREADS), work)


class Held:
    """An executor whose batches begin when they are let go."""

    def __init__(self, model: LiveModel) -> None:
        [self._executor] = model.idle
        model.idle[:] = [self]
        self._waiting: list[tuple[Any, Any, int]] = []

    def start(self, build: Any, done: Any, answer_by_ns: int) -> None:
        self._waiting.append((build, done, answer_by_ns))

    def let_go(self) -> None:
        self._executor.start(*self._waiting.pop(0))

    def when_back(self, callback: Any) -> None:
        callback()

    def close(self) -> None:
        self._executor.close()


# The front in the loop, the rest beside it: one may run while the other does.
BESIDE = TWO.replace(
    "rest.onnx, levers: {max_batch_size: 4, execution: inline",
    "rest.onnx, levers: {max_batch_size: 4, execution: thread",
)


async def turns(num: int = 5) -> None:
    for _ in range(num):
        await asyncio.sleep(0)


@pytest.mark.parametrize("leaves", ["cancelled", "dropped"])
def test_rows_that_wait_for_the_rest_are_taken_out_with_their_request(folder: Path, leaves: str) -> None:
    clock = [10**9]

    async def work(served: Served) -> None:
        rest = served.live.models[1]
        held = Held(rest)
        first = served.submit({"x": rows(UNSURE)})
        await turns()
        parted = served.submit({"x": rows(UNSURE, SURE)}, timeout_ns=10**9)
        await turns()
        assert sum(len(queue) for queue in rest.scheduled.queues.values()) == 1
        if leaves == "cancelled":
            assert parted.request is not None
            assert served.runtime.cancel(parted.request)
        else:
            clock[0] += 2 * 10**9
            await served.ask({"x": rows(SURE)})  # somebody else's turn
            assert isinstance(parted.error, DeadlineError)
            assert parted.request is not None
            assert parted.request.state == DROPPED
        assert sum(len(queue) for queue in rest.scheduled.queues.values()) == 0
        held.let_go()
        await first.done.wait()
        assert outputs(first).tolist() == [[10.0, 0.0]]
        assert parted.outputs is None

    serve(prepared(folder, BESIDE), work, now_ns=lambda: clock[0])


def test_what_is_ready_too_late_is_an_error_for_the_whole_request(folder: Path) -> None:
    clock = [10**9]

    async def work(served: Served) -> None:
        held = Held(served.live.models[1])
        parted = served.submit({"x": rows(UNSURE, SURE)}, timeout_ns=10**9)
        await turns()
        clock[0] += 2 * 10**9
        held.let_go()
        await parted.done.wait()
        assert isinstance(parted.error, DeadlineError)

    serve(prepared(folder, BESIDE), work, now_ns=lambda: clock[0])


def test_time_is_kept_for_those_who_go_on_and_nobody_is_answered_late(folder: Path) -> None:
    """The rest takes a second by its profile, and 500 ms are given: hopeless for all who might go on, at first."""
    ready = prepared(folder, TWO)
    rest = ready.stages[1]
    assert isinstance(rest, PreparedModel)
    rest.profile = Profile({0: {1: [10**9], 4: [2 * 10**9]}}, rest.profile.batching, "a second")

    async def work(served: Served) -> None:
        with pytest.raises(RefusedError, match="deadline cannot be met by an idle server either"):
            await served.ask({"x": rows(SURE)}, timeout_ns=500_000_000)
        point = served.live.models[0].exit
        assert point is not None
        point.learn(100_000, 0)  # nearly everybody leaves
        answer = await served.ask({"x": rows(SURE)}, timeout_ns=500_000_000)
        np.testing.assert_array_equal(answer["y"], rows(SURE))
        for unsure in (rows(UNSURE), rows(SURE, UNSURE)):
            with pytest.raises(RefusedError, match="by an idle server either"):
                await served.ask({"x": unsure}, timeout_ns=500_000_000)
        assert (await served.ask({"x": rows(UNSURE)}))["y"].tolist() == [[10.0, 0.0]]

    serve(ready, work)
