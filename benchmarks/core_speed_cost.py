"""What the probes of a run's cores cost its requests: stopped and let go on in turns of 50 ms, by coins."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns

import numpy as np
from numpy.typing import NDArray

from benchmarks import models
from benchmarks._harness import OUT, Measurement, compare
from benchmarks._options import parser
from benchmarks._tables import markdown_table
from trivet.catalog.catalog import Catalog
from trivet.experiment.compare import blocks_of
from trivet.experiment.processes import ProcessTree
from trivet.experiment.run import Settings, run
from trivet.experiment.target import subject_of
from trivet.experiment.workload import Workload

QUESTION = "How much longer do requests take while pieces of work are timed on their cores?"
SHORT = False
TURN_S = 0.05
NUM_PROBES = 2  # the generator's core and the server's
FIGURES = ("p50", "p99", "mean")


def main(args: Sequence[str] = ()) -> int:
    made = parser("core_speed_cost", QUESTION, seconds=60, blocks=5)
    made.add_argument("--rate", type=float, default=200.0, help="requests a second [200]")
    options = made.parse_args(args)
    model = models.write(models.busy(200, num_weights=1), OUT / "models" / "near.onnx")
    found = compare(
        "core_speed_cost",
        {"probed": lambda seed: measured(model, options.rate, options.seconds, seed)},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={"rate": options.rate, "seconds": options.seconds, "turns": f"{TURN_S * 1e3:g} ms"},
        resume=options.resume,
    )
    print(f"# {QUESTION}\n\n{found.preface()}\n")
    rows = []
    for name in FIGURES:
        ratio = found.mean("probed", name)
        rows.append([name, f"{ratio.estimate:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"])
    print(markdown_table(["latency", "with probes / without"], rows))
    return 0


def measured(model: Path, rate: float, seconds: float, seed: int) -> Measurement:
    """One run, its requests told apart by whether the probes were running."""
    workload = Workload(rate_rps=rate, duration_ns=int(seconds * 1e9), seed=seed)
    with TemporaryDirectory() as folder:
        catalog = Catalog.open(folder)
        done = threading.Event()
        turns: list[tuple[int, bool]] = []
        switch = threading.Thread(target=_take_turns, args=(np.random.default_rng(seed), turns, done))
        switch.start()
        try:
            (found,) = run(
                [subject_of(str(model))],
                workload,
                catalog=catalog,
                settings=Settings(measure_floor=False, max_labelled=0, probe_noise=False),
            )
        finally:
            done.set()
            switch.join()
        (block,) = blocks_of(catalog, catalog.run(found.run_id))
    sent_ns, latency_ns = block.window["sent_ns"], block.window.latency_ns()
    begins_ns = np.array([at for at, _ in turns])
    runs = np.array([are_running for _, are_running in turns])[np.searchsorted(begins_ns, sent_ns) - 1]
    return Measurement(values=_ratios(latency_ns[runs], latency_ns[~runs]), invalid=found.reason)


def _take_turns(rng: np.random.Generator, turns: list[tuple[int, bool]], done: threading.Event) -> None:
    """Stop the probes of this process's run, or let them go on; write down when."""
    probes: list[int] = []
    while not done.wait(TURN_S):
        if len(probes) < NUM_PROBES:
            probes = _probes()
        are_running = bool(rng.integers(2))
        _signal(probes, signal.SIGCONT if are_running else signal.SIGSTOP)
        turns.append((monotonic_ns(), are_running))


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # the load is over
            os.kill(pid, number)


def _probes() -> list[int]:
    return [pid for pid in ProcessTree(os.getpid()).members() if b"speed_probe" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it is gone
        return b""


def _ratios(probed: NDArray[np.int64], alone: NDArray[np.int64]) -> dict[str, float]:
    return {
        "p50": float(np.median(probed) / np.median(alone)),
        "p99": float(np.quantile(probed, 0.99) / np.quantile(alone, 0.99)),
        "mean": float(probed.mean() / alone.mean()),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
