"""What a python engine's own process costs: a round trip of a batch beside a bare echo over a socket pair."""

import argparse
import gc
import os
import platform
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._harness import markdown_table
from trivet.engine.python.events import Finished
from trivet.engine.python.process import PythonProcess, PythonSpec
from trivet.spec.signature import Signature, TensorSpec
from trivet.stats.paired import ratio_of_paired_blocks
from trivet.stats.percentile import percentile_ns

QUESTION = "What does a python engine's own process cost a batch?"
SHORT = True

MODEL = "def echo(inputs):\n    return inputs['x']\n"
# The least that two processes written in Python can do: one packet there, one back.
ECHO = """
import socket, sys
sock, buffer = socket.socket(fileno=int(sys.argv[1])), memoryview(bytearray(4096))
while num_bytes := sock.recv_into(buffer):
    sock.send(buffer[:num_bytes])
"""
ECHO_BYTES = 40  # about what a message of one tensor takes
COLUMNS = 30
WARMUP = 500


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks python_engine_cost", description=QUESTION)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 32, 10_000])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--batches", type=int, default=1_000, help="in each block")
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder, bare_echo() as echo, echo_engine(Path(folder)) as engine:
        process, starts_ms = engine
        sides: dict[str, Callable[[], None]] = {"bare echo": echo}
        for rows in options.rows:
            sides[f"python engine, {rows} x {COLUMNS} FP32"] = round_trip(process, rows)
        blocks = measure(sides, options.blocks, options.batches)
        print(
            f"# {QUESTION}\n\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end=""
        )
        print(
            f"Python {platform.python_version()}, numpy {np.__version__}; {options.blocks} interleaved blocks of ",
            end="",
        )
        print(f"{options.batches} batches, {WARMUP} before them as warm-up.\n")
        print(table(blocks))
        print(
            f"\nThe engine's process: ready after {starts_ms:.0f} ms, PSS {pss_kib(process.pid) / 1024:.0f} MiB."
        )
    return 0


def measure(
    sides: dict[str, Callable[[], None]], num_blocks: int, num_batches: int
) -> dict[str, list[NDArray[np.int64]]]:
    """Latencies in ns of each side and block; sides take turns, every second time in the opposite order."""
    for run in sides.values():
        timed(run, WARMUP)
    blocks: dict[str, list[NDArray[np.int64]]] = {name: [] for name in sides}
    for block in range(num_blocks):
        for name in list(sides)[:: -1 if block % 2 else 1]:
            blocks[name].append(timed(sides[name], num_batches))
    return blocks


def timed(run: Callable[[], None], count: int) -> NDArray[np.int64]:
    gc.collect()
    latencies = np.empty(count, np.int64)
    for i in range(count):
        begin = time.perf_counter_ns()
        run()
        latencies[i] = time.perf_counter_ns() - begin
    return latencies


def table(blocks: dict[str, list[NDArray[np.int64]]]) -> str:
    floor = [percentile_ns(block, 0.5) for block in blocks["bare echo"]]
    rows = []
    for name, latencies in blocks.items():
        pooled = np.concatenate(latencies)
        ratio = ratio_of_paired_blocks([percentile_ns(block, 0.5) for block in latencies], floor)
        rows.append(
            (
                name,
                f"{percentile_ns(pooled, 0.5) / 1000:.1f}",
                f"{percentile_ns(pooled, 0.99) / 1000:.1f}",
                f"{ratio.estimate:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            )
        )
    return markdown_table(["round trip", "p50 us", "p99 us", "p50 / bare echo (95 % interval)"], rows)


@contextmanager
def bare_echo() -> Iterator[Callable[[], None]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-c", ECHO, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    poll, packet, buffer = select.poll(), b"x" * ECHO_BYTES, bytearray(4096)
    poll.register(ours, select.POLLIN)

    def run() -> None:
        ours.send(packet)
        poll.poll()
        ours.recv_into(buffer)

    with process, ours:
        yield run
        ours.shutdown(socket.SHUT_RDWR)


@contextmanager
def echo_engine(folder: Path) -> Iterator[tuple[PythonProcess, float]]:
    (folder / "model.py").write_text(MODEL)
    tensors = [(TensorSpec(name, "FP32", (-1, COLUMNS)),) for name in "xy"]
    spec = PythonSpec("model.py:echo", folder, Signature(tensors[0], tensors[1], batch_axis=True))
    process = PythonProcess(spec)
    begin = time.perf_counter()
    process.start()
    try:
        wait(process)
        yield process, (time.perf_counter() - begin) * 1000
    finally:
        process.close(1_000_000_000)


def round_trip(process: PythonProcess, rows: int) -> Callable[[], None]:
    """One batch, as the runtime sends it: sent, waited for through `fileno`, received."""
    inputs = {"x": np.random.default_rng(rows).normal(size=(rows, COLUMNS)).astype(np.float32)}
    poll = select.poll()
    poll.register(process.fileno(), select.POLLIN)

    def run() -> None:
        process.send(1, inputs)
        poll.poll()
        (event,) = process.receive()
        if not isinstance(event, Finished):
            raise SystemExit(f"the echo did not answer: {event}")

    return run


def wait(process: PythonProcess) -> None:
    poll = select.poll()
    poll.register(process.fileno(), select.POLLIN)
    poll.poll()
    process.receive()


def pss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
