"""Processes that are weighed from outside: time, cores, and who listens where."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trivet.experiment.foreign import CoreSharing, listener
from trivet.experiment.processes import ProcessTree, Server, StartError
from trivet.host import affinity

ANNOUNCING = """
import signal, socket
listener = socket.create_server(("127.0.0.1", 0))
print("log line", flush=True)
print("listening on 127.0.0.1:%d now" % listener.getsockname()[1], flush=True)
signal.pause()
"""
ADDRESS = re.compile(r"listening on (\S+) now")
PARENT = """
import re, signal, sys
from pathlib import Path
from trivet.experiment.processes import Server
server = Server.start([sys.executable, "-c", sys.argv[1]], re.compile(r"listening on (\\S+) now"), log=Path(sys.argv[2]),
                      dies_with_us=True)
print(server.pid, flush=True)
signal.pause()
"""


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_server_that_prints_its_address_is_found_there(tmp_path: Path) -> None:
    with Server.start([sys.executable, "-c", ANNOUNCING], ADDRESS, log=tmp_path / "log") as server:
        host, port = server.target.split(":")
        socket.create_connection((host, int(port))).close()
        assert server.end() == ""
        found = listener(server.target)
        assert found is not None
        assert found.pid == server.pid
    assert "ended with code -15:\nlog line" in server.end()


def test_a_server_that_never_prints_its_address_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="the server was not ready in time:\nhello"):
        Server.start(
            [sys.executable, "-c", "import signal; print('hello', flush=True); signal.pause()"],
            ADDRESS,
            log=tmp_path / "log",
            timeout_s=0.3,
        )


def test_a_server_does_not_outlive_who_measures_it_however_that_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, ANNOUNCING, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        assert poller.poll(0) == []
        parent.send_signal(signal.SIGKILL)
        assert poller.poll(10_000) != []
        os.close(pidfd)


def test_processor_time_is_told_finer_than_clock_ticks() -> None:
    tree, alone = ProcessTree(os.getpid()), [os.getpid()]
    before = tree.cpu_ns(alone)
    burn(0.003)
    assert 3_000_000 <= tree.cpu_ns(alone) - before < 1_000_000_000


def test_nobody_listens_where_nobody_is_or_elsewhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine:
        port = mine.getsockname()[1]
        found = listener(f"localhost:{port}")
        assert found is not None
        assert found.pid == os.getpid()
    assert listener(f"127.0.0.1:{port}") is None
    assert listener(f"198.51.100.1:{port}") is None
    assert listener(f"example.org:{port}") is None


def test_a_server_on_the_generators_core_is_seen_there() -> None:
    core = min(os.sched_getaffinity(0))
    tree = ProcessTree(os.getpid())
    with affinity([core]):
        here, elsewhere = CoreSharing(tree, core), CoreSharing(tree, core + 1)
        burn(0.03)
        for sharing in (here, elsewhere):
            sharing.look()
    assert f"ran on core {core}, the load generator's" in here.invalid()
    assert elsewhere.invalid() == ""


def test_a_server_that_hardly_ran_disturbed_nobody() -> None:
    core = min(os.sched_getaffinity(0))
    with affinity([core]):
        sharing = CoreSharing(ProcessTree(os.getpid()), core)
        sharing.look()
    assert sharing.invalid() == ""
