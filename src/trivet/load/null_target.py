"""A target that answers every request at once with a constant: what is left is the measurement's own cost.

`python -m trivet.load.null_target [--port N] [--core N]` prints `listening on 127.0.0.1:PORT`, and ends with its stdin
(so it never outlives who started it), or with `--stay` when it is told to.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from trivet.load.arrivals import NS, Poisson
from trivet.load.connection import TargetError
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


class NullProtocol(asyncio.Protocol):
    """Finds the end of each request by its Content-Length; knows no other framing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        num_answers = 0
        while (head_end := self._buffer.find(b"\r\n\r\n") + 4) > 3:
            head = self._buffer[:head_end].lower()
            start = head.find(b"content-length:")
            end = head_end + (int(head[start + 15 : head.index(b"\r\n", start)]) if start >= 0 else 0)
            if len(self._buffer) < end:
                break
            self._buffer = self._buffer[end:]
            num_answers += 1
        if num_answers:
            self._transport.write(ANSWER * num_answers)


async def _serve(port: int, *, stay: bool) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(NullProtocol, "127.0.0.1", port)
    over = asyncio.Event()
    if not stay:
        loop.add_reader(sys.stdin.fileno(), over.set)  # readable: it has been closed
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"listening on 127.0.0.1:{port}\n")
    sys.stdout.flush()
    await over.wait()
    server.close()


def main(args: Sequence[str] | None = None) -> None:
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m trivet.load.null_target", description="answer at once")
    parser.add_argument("--port", type=int, default=0, help="[any]")
    parser.add_argument("--core", type=int, help="run on this core only")
    parser.add_argument("--stay", action="store_true", help="do not end with stdin")
    options = parser.parse_args(args)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    uvloop.run(_serve(options.port, stay=options.stay))


if __name__ == "__main__":
    main()
