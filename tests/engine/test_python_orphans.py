"""No orphans: a python engine's process dies with the process that started it, whatever either is doing."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from python_support import HERE, bytes_array, fifo, spec, wait_events, wait_readable, wait_started

from trivet.engine.python.events import Finished
from trivet.engine.python.process import PythonProcess

PARENT = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from python_support import bytes_array, running
with running("misbehave") as process:
    process.send(1, {"how": bytes_array(sys.argv[2].encode())})
    print(process.pid, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("how", ["hang-with-the-lock", "hang-without-the-lock"])
def test_a_busy_process_dies_with_a_killed_parent(how: str, tmp_path: Path) -> None:
    started = fifo(tmp_path)
    command = [sys.executable, "-c", PARENT, str(HERE), f"{how} {started}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        wait_started(started)
        parent.send_signal(signal.SIGKILL)
    wait_readable(pidfd)
    os.close(pidfd)


def test_a_waiting_process_dies_with_a_killed_parent() -> None:
    command = [sys.executable, "-c", PARENT, str(HERE), "good"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    wait_readable(pidfd)
    os.close(pidfd)


def test_it_outlives_the_thread_that_started_it() -> None:
    """Engines are loaded in threads that end; PR_SET_PDEATHSIG would kill the process with its thread."""
    process = PythonProcess(spec("misbehave"))
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    wait_events(process)
    process.send(1, {"how": bytes_array(b"good")})
    (finished,) = wait_events(process)
    assert isinstance(finished, Finished)
    process.close()
