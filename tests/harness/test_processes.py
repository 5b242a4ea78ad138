import os
import sys
from pathlib import Path

import pytest

from benchmarks._harness import measure_server
from benchmarks._processes import Server, StartError, ask, free_port, tree
from trivet.load.arrivals import Constant
from trivet.load.http import request_bytes
from trivet.load.job import HttpRequest, Job, OpenLoop

MS = 1_000_000

# A child that ignores SIGTERM, forked before its parent is ready.
STUBBORN = """
import os, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    signal.pause()
signal.signal(signal.SIGTERM, signal.SIG_DFL)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""


def null_target(tmp_path: Path, **settings: object) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "trivet.load.null_target", "--stay", "--port", str(port)]
    return Server.start(command, f"127.0.0.1:{port}", log=tmp_path / "target.log", **settings)


def is_running(pid: int) -> bool:
    """Not gone, and no zombie that waits for its parent."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_server_is_measured_by_a_load_generator_of_its_own_process(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with null_target(tmp_path, cores=cores[-1:], ready_path="/") as server:
        load = OpenLoop(arrivals=Constant(rate_rps=500, duration_ns=100 * MS))
        requests = [HttpRequest(path="/", body=b"x" * 100)]
        job = Job(target=server.target, requests=requests, load=load, seed=1)
        measured = measure_server(server, job, cores[0])
        assert os.sched_getaffinity(server.pid) == {cores[-1]}
        assert os.sched_getaffinity(0) == set(cores)
        assert measured.values["num_requests"] == 50
        assert measured.values["error_share"] == 0
        assert measured.values["cpu_ns_per_request"] <= server.cpu_ns() / 50
        assert server.ready_after_ns > 0
        (memory,) = server.memory()
        assert memory.pid == server.pid
        assert "null_target" in memory.command
        assert 2**20 < memory.pss_bytes < 2**30
        assert 1 < measured.values["pss_mib"] < 1024
        status, body = ask(server.target, request_bytes("GET", "/", "localhost"))
        assert (status, body[:11]) == (200, b'{"outputs":')
    assert not is_running(server.pid)


def test_stopping_ends_children_that_do_not_want_to(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", STUBBORN, str(port)]
    server = Server.start(command, f"127.0.0.1:{port}", log=tmp_path / "log")
    pids = tree(server.pid)
    assert len(pids) == 2
    assert not server.stop(timeout_s=0.05)
    assert [pid for pid in pids if is_running(pid)] == []


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    server = null_target(tmp_path)
    assert server.stop()
    assert server.stop()


def test_a_server_that_ends_at_once_is_an_error_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(StartError, match=r"(?s)ended with code 1:.*no such model"):
        Server.start(command, f"127.0.0.1:{free_port()}", log=tmp_path / "log")


def test_a_server_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = f"import os, signal; open({str(told)!r}, 'w').write(str(os.getpid())); signal.pause()"
    with pytest.raises(StartError, match="not ready in time"):
        Server.start(
            [sys.executable, "-c", code], f"127.0.0.1:{free_port()}", log=tmp_path / "log", timeout_s=0.5
        )
    if told.exists():  # else it was stopped before it could say who it is
        assert not is_running(int(told.read_text()))


def test_asking_where_nobody_listens_is_an_error() -> None:
    with pytest.raises(ConnectionRefusedError):
        ask(f"127.0.0.1:{free_port()}", request_bytes("GET", "/", "localhost"))
