"""A target that answers every request at once with a constant: what is left is the measurement's own cost.

`python -m trivet.load.null_target [--port N] [--core N]` prints `listening on 127.0.0.1:PORT`, and ends with its stdin
(so it never outlives who started it), or with `--stay` when it is told to. On a core of its own it never sleeps.
"""

import argparse
import contextlib
import functools
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trivet.load.arrivals import NS, Poisson
from trivet.load.connection import READ_BYTES, TargetError
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop
from trivet.load.process import offer_from
from trivet.load.result import Result
from trivet.stats.percentile import percentile_ns

BODY = b'{"outputs":[{"name":"y","shape":[1,2],"datatype":"FP32","data":[0.5,0.5]}]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
REQUEST = HttpRequest(
    path="/v2/models/null/infer",
    headers={"Content-Type": "application/json"},
    body=b"x" * 400,  # about what 30 floats take as JSON
)
WARMUP_NS = NS // 5
NUM_USERS = 32


@dataclass(frozen=True, slots=True)
class Floor:
    """What generator, kernel and loopback take by themselves: no figure of a target can be below.

    `rate_rps`: the offered load that the latencies belong to.  `max_rps`: answers a second to 32 users without
    a pause.  `invalid`: why even this was no measurement, or empty.
    """

    rate_rps: float
    p50_ns: int
    p99_ns: int
    send_lag_p99_ns: int
    max_rps: float
    invalid: str = ""

    def __str__(self) -> str:
        text = (
            f"floor at {self.rate_rps:,.4g}/s: p50 {self.p50_ns / 1e6:.3f} ms, p99 {self.p99_ns / 1e6:.3f} ms, "
            f"p99 send lag {self.send_lag_p99_ns / 1e6:.3f} ms; at most {self.max_rps:,.0f}/s"
        )
        return f"{text}; INVALID: {self.invalid}" if self.invalid else text


def floor(
    core: int | None,
    target_core: int | None,
    *,
    rate_rps: float = 1000,
    duration_ns: int = NS,
    request: HttpRequest = REQUEST,
    seed: int = 0,
) -> Floor:
    """Measure the null target on `target_core` from a load generator on `core`, for `duration_ns` twice.

    Args: rate_rps, request: those of the run that it is the floor of; the rate is at least 100, so that there is a p99.
    Raises: TargetError: the null target did not start.   Others as `offer_from`.
    """
    rate_rps = max(rate_rps, 100.0)
    with null_target(target_core) as target:

        def offered(load: OpenLoop | ClosedLoop) -> Result:
            server_cores = () if target_core is None else (target_core,)
            job = Job(
                target=target,
                requests=[request],
                load=load,
                seed=seed,
                warmup_ns=WARMUP_NS,
                server_cores=server_cores,
            )
            return offer_from(core, job)

        open_loop = offered(
            OpenLoop(arrivals=Poisson(rate_rps=rate_rps, duration_ns=WARMUP_NS + duration_ns))
        )
        closed_loop = offered(ClosedLoop(num_users=NUM_USERS, duration_ns=WARMUP_NS + duration_ns))
    latencies = open_loop.measured().latency_ns()
    answered = closed_loop.measured()
    return Floor(
        rate_rps,
        percentile_ns(latencies, 0.5),
        percentile_ns(latencies, 0.99),
        open_loop.generator.send_lag_p99_ns,
        answered.num_rows / (closed_loop.end_ns - closed_loop.measured_from_ns) * NS,
        open_loop.generator.invalid,
    )


@contextlib.contextmanager
def null_target(core: int | None = None) -> Iterator[str]:
    """The address of a null target in a process of its own, on `core`, for as long as the block lasts.

    Raises: TargetError: it did not start.
    """
    command = [
        sys.executable,
        "-m",
        "trivet.load.null_target",
        *([] if core is None else ["--core", str(core)]),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            line = b"" if process.stdout is None else process.stdout.readline()
            if not line:
                raise TargetError(f"the null target ended with code {process.wait()} before it listened")
            yield line.decode().split()[-1]
        finally:
            if process.stdin is not None:
                process.stdin.close()


class _Target:
    """One thread, one epoll set. With a core of its own it never sleeps: to wake it would cost the client time."""

    def __init__(self, port: int, *, spin: bool) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self.name = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        # By descriptor: what is no whole request yet.
        self._unread: dict[int, tuple[socket.socket, bytes]] = {}
        self._timeout = 0 if spin else -1

    def serve(self, until: int | None) -> None:
        """Answer until the descriptor `until` is readable."""
        if until is not None:
            self._epoll.register(until, select.EPOLLIN)
        while True:
            for descriptor, _ in self._epoll.poll(self._timeout):
                if descriptor in self._unread:
                    self._answer(descriptor)
                elif descriptor == until:
                    return
                else:
                    sock, _ = self._listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._unread[sock.fileno()] = (sock, b"")
                    self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _answer(self, descriptor: int) -> None:
        """Finds the end of each request by its Content-Length; knows no other framing."""
        sock, buffer = self._unread[descriptor]
        try:
            data = sock.recv(READ_BYTES)
            buffer += data
            num_answers = 0
            while (end := _end(buffer)) and len(buffer) >= end:
                buffer = buffer[end:]
                num_answers += 1
            if num_answers:
                sock.sendall(ANSWER * num_answers)
        except OSError:
            data = b""
        self._unread[descriptor] = (sock, buffer)
        if not data:
            del self._unread[descriptor]
            sock.close()


def _end(buffer: bytes) -> int:
    """Where the first request ends; 0: its head is not there yet."""
    head_end = buffer.find(b"\r\n\r\n") + 4
    return head_end + _body_length(buffer[:head_end]) if head_end > 3 else 0


@functools.lru_cache(maxsize=16)  # a client sends few different heads
def _body_length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
    return int(found[1]) if found else 0


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m trivet.load.null_target", description="answer at once")
    parser.add_argument("--port", type=int, default=0, help="[any]")
    parser.add_argument("--core", type=int, help="run on this core only")
    parser.add_argument("--stay", action="store_true", help="do not end with stdin")
    options = parser.parse_args(args)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    target = _Target(options.port, spin=options.core is not None)
    sys.stdout.write(f"listening on {target.name}\n")
    sys.stdout.flush()
    target.serve(None if options.stay else sys.stdin.fileno())


if __name__ == "__main__":
    main()
