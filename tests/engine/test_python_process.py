"""A python engine's process under an event loop: its descriptor, several batches in flight, start and end."""

import asyncio
import errno
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uvloop
from python_support import bytes_array, running, spec, wait_events, wait_exit

from trivet.engine.python import child
from trivet.engine.python.events import Event, Exited, Failed, Finished, Ready
from trivet.engine.python.process import PythonProcess
from trivet.errors import EngineError
from trivet.spec.signature import Signature, TensorSpec

FP32 = Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),), batch_axis=True)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_any_event_loop_can_watch_it(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    process = PythonProcess(spec("Gather"))
    process.start()
    loop = new_loop()
    events: list[Event] = []

    def on_readable() -> None:
        for event in process.receive():
            events.append(event)
            match event:
                case Ready():
                    process.send(1, {"x": np.array([3])})
                case Finished():
                    process.kill()
                case Exited():
                    loop.remove_reader(process.fileno())
                    loop.stop()

    loop.add_reader(process.fileno(), on_readable)
    loop.run_forever()
    loop.close()
    process.close()
    assert [type(event) for event in events] == [Ready, Finished, Exited]
    assert events[1].outputs["y"].tolist() == [[3, 9]]


def test_its_descriptor_is_readable_only_while_there_is_something_to_receive() -> None:
    with running("Gather") as process:
        poll = select.poll()
        poll.register(process.fileno(), select.POLLIN)
        assert poll.poll(0) == []
        process.kill()
        wait_exit(process)
        assert poll.poll(0) == []


@pytest.mark.parametrize("model", ["Gather", "AsyncGather"])
def test_batches_in_flight_are_all_answered_each_with_its_own(model: str) -> None:
    with running(model) as process:
        for batch_id in range(50):
            process.send(batch_id, {"x": np.full(batch_id + 1, batch_id % 10)})
        process.send(50, {"x": np.array([10])})
        process.stop()
        events = process.close(grace_ns=60_000_000_000)
    answers = {event.batch_id: event.outputs["y"] for event in events if isinstance(event, Finished)}
    assert answers.keys() == set(range(50))
    for batch_id, rows in answers.items():
        assert rows.tolist() == [[batch_id % 10, (batch_id % 10) ** 2]] * (batch_id + 1)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.batch_id == 50
    assert "IndexError" in str(failed.error)


def test_large_inputs_and_outputs_in_flight_do_not_touch_each_other() -> None:
    """Each batch has its own part of the shared memory, which grows while others lie in it."""
    with running("two_inputs") as process:
        sizes = [1, 200_000, 3, 700_000, 50_000, 1]
        for batch_id, size in enumerate(sizes):
            ones = np.ones((size, 1), np.float32)
            process.send(batch_id, {"a": ones * batch_id, "b": ones})
        events = process.close(grace_ns=60_000_000_000)
    for batch_id, size in enumerate(sizes):
        outputs = events[batch_id].outputs
        assert outputs["total"].shape == (size, 1)
        assert (outputs["total"] == batch_id + 1).all()
        assert (outputs["difference"] == batch_id - 1).all()


def test_a_process_that_cannot_be_started_says_so_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EngineError, match=r"misbehave: its process cannot be started: .*No such file"):
        PythonProcess(spec("misbehave")).start()
    assert os.listdir("/proc/self/fd") == open_before


def test_a_process_that_cannot_be_watched_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def no_descriptor_left(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    open_before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "pidfd_open", no_descriptor_left)
    with pytest.raises(EngineError, match="Too many open files"):
        PythonProcess(spec("misbehave")).start()
    assert os.listdir("/proc/self/fd") == open_before
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_the_started_module_is_the_host() -> None:
    """Its name is a text in child.py: started without arguments it gets as far as asking for them."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", child.HOST_MODULE], capture_output=True, text=True, check=False
    )
    assert "not enough values to unpack" in ended.stderr


def test_closing_twice_and_closing_after_the_end_do_no_harm() -> None:
    with running("misbehave") as process:
        process.send(1, {"how": bytes_array(b"os-exit")})
        wait_exit(process)
        assert process.close() == []
        assert process.close() == []


def test_answers_that_were_received_give_their_memory_back() -> None:
    """Twenty batches of 400 kB, one after the other, need no more than the slab's first 1 MiB."""
    with running("identity", signature=FP32) as process:
        x = np.ones((1, 100_000), np.float32)
        for batch_id in range(20):
            process.send(batch_id, {"x": x})
            assert isinstance(wait_events(process)[0], Finished)
        assert slab_sizes(process.pid) == {"inputs": 1 << 20, "outputs": 1 << 20}


def slab_sizes(pid: int) -> dict[str, int]:
    sizes = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        kind, _, name = str(descriptor.readlink()).partition("trivet-")
        if kind == "/memfd:":
            sizes[name.split()[0]] = descriptor.stat().st_size
    return sizes


def test_an_answer_given_just_before_the_end_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may arrive between the last look for messages and the look for the end."""
    with running("misbehave") as process:
        look = child.Child.has_exited

        def answer_and_end(own: child.Child) -> bool:
            process.send(1, {"how": bytes_array(b"good")})
            process.send(2, {"how": bytes_array(b"os-exit")})
            own.wait_exit(None)
            return look(own)

        monkeypatch.setattr(child.Child, "has_exited", answer_and_end)
        events = process.receive()
    assert [Finished, Failed, Exited] == [type(event) for event in events]
    assert [event.batch_id for event in events[:2]] == [1, 2]
