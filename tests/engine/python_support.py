"""What the tests of python engines share: starting a process, waiting for its word instead of sleeping."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.python.events import Event, Exited, Ready
from trivet.engine.python.process import PythonProcess, PythonSpec

HERE = Path(__file__).parent
# Only a broken test waits so long: everything here answers in milliseconds.
PATIENCE_MS = 60_000


def spec(attribute: str, **settings: Any) -> PythonSpec:
    return PythonSpec(f"python_models.py:{attribute}", HERE, **settings)


def bytes_array(*items: bytes) -> NDArray[Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def wait_readable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(PATIENCE_MS), "nothing happened"


def wait_events(process: PythonProcess) -> list[Event]:
    """The next events, at least one."""
    while True:
        wait_readable(process.fileno())
        if events := process.receive():
            return events


def wait_exit(process: PythonProcess) -> list[Event]:
    """All events up to and with `Exited`."""
    events = wait_events(process)
    while not isinstance(events[-1], Exited):
        events += wait_events(process)
    return events


@contextmanager
def running(attribute: str, **settings: Any) -> Iterator[PythonProcess]:
    """A process that is ready."""
    process = PythonProcess(spec(attribute, **settings))
    process.start()
    try:
        events = wait_events(process)
        assert [Ready] == [type(event) for event in events], events
        yield process
    finally:
        process.close()


def fifo(folder: Path) -> Path:
    path = folder / "started"
    os.mkfifo(path)
    return path


def wait_started(path: Path) -> None:
    """Until the model has written to the pipe: opening it waits for the writer."""
    with open(path, "rb") as reader:
        assert reader.read(1) == b"x"
