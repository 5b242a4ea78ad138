"""What a run costs beside its load: the generator's rate while everything is recorded, and the time after the window."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import models
from benchmarks._harness import (
    NS_PER_S,
    Comparison,
    Measurement,
    compare,
    measurement_of,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._tables import Goal, goal_table, markdown_table
from trivet.catalog.catalog import Catalog
from trivet.experiment.compare import blocks_of
from trivet.experiment.measured import Weighed, measure_together
from trivet.load.job import ClosedLoop, Job
from trivet.load.null_target import REQUEST, null_target
from trivet.load.process import offer_from
from trivet.stats.mean import mean_of_blocks

QUESTION = "What does recording cost the load generator, and how soon after its window does a run end?"
WARMUP_NS = NS_PER_S // 2
NUM_USERS = 32
WINDOW = "10s"
_BARE, _RECORDED, _COMMAND = "bare", "recorded", "trivet bench"


def main(args: Sequence[str] = ()) -> int:
    made = parser("recording_cost", QUESTION, blocks=40, seconds=1)
    made.add_argument("--commands", type=int, default=10, help="runs of `trivet bench` [10]")
    options = made.parse_args(args)
    rates, commands = _rates(options), _commands(options)
    print(f"# {QUESTION}\n\n{rates.preface()}\n\n{table(rates)}\n")
    print(f"{commands.preface()}\n\n{table(commands)}\n\n{goal_table(goals(rates, commands))}")
    return 0


def _rates(options: argparse.Namespace) -> Comparison:
    """Short windows in turn: a machine that is shared changes from one second to the next."""
    server_core, client_core = server_and_client_core()
    load = ClosedLoop(num_users=NUM_USERS, duration_ns=WARMUP_NS + int(options.seconds * NS_PER_S))
    with null_target(server_core) as target:

        def job(seed: int) -> Job:
            return Job(target=target, requests=[REQUEST], load=load, seed=seed, warmup_ns=WARMUP_NS)

        def bare(seed: int) -> Measurement:
            return _usable(measurement_of(offer_from(client_core, job(seed))))

        def recorded(seed: int) -> Measurement:
            wanted = msgspec.structs.replace(job(seed), keep_answers=True)
            side = Weighed(
                job=wanted, on_progress=lambda progress: None, labels={"service": "null"}, is_pinned=True
            )
            ((_, result),) = measure_together([side], client_core)
            return _usable(measurement_of(result))

        return compare(
            "recording_cost",
            {_BARE: bare, _RECORDED: recorded},
            num_blocks=options.blocks,
            seed=options.seed,
            settings={"users": NUM_USERS, "seconds": options.seconds},
            resume=options.resume,
        )


def _commands(options: argparse.Namespace) -> Comparison:
    """After the null target has ended: that never sleeps, and the command has a server on the same core."""
    with tempfile.TemporaryDirectory() as folder:
        return compare(
            "recording_cost-command",
            {_COMMAND: lambda seed: _command(Path(folder), seed)},
            num_blocks=options.commands,
            seed=options.seed,
            settings={"window": WINDOW},
            resume=options.resume,
        )


def goals(rates: Comparison, commands: Comparison) -> list[Goal]:
    after = commands.values(_COMMAND, "after_s")
    return [
        Goal(
            "the generator's highest rate while everything is recorded / without",
            rates.ratio(_RECORDED, _BARE, "throughput_rps"),
            at_least=0.95,
        ),
        Goal(
            f"from the end of a window of {WINDOW} to the end of the command",
            mean_of_blocks(after) if len(after) > 1 else None,
            at_most=3,
            unit="s",
            reason="cannot tell: one block",
        ),
    ]


def table(comparison: Comparison) -> str:
    rows = [
        [side, f"{measured.values.get('throughput_rps', 0):,.0f}", f"{measured.values.get('after_s', 0):.2f}"]
        for side in comparison.sides()
        for measured in comparison.measured(side)
    ]
    return markdown_table(["", "answers/s", "s after the window"], rows)


def _usable(measured: Measurement) -> Measurement:
    """A closed loop at its maximum is the limit itself, which is what is asked here."""
    return msgspec.structs.replace(measured, invalid="")


def _command(folder: Path, seed: int) -> Measurement:
    """`trivet bench` of a small model, from its load's end (which the blocks know) to its own."""
    model = models.write(models.tiny(), folder / "tiny.onnx")
    catalog = folder / "catalog"
    command = [
        sys.executable,
        "-m",
        "trivet.cli.main",
        "bench",
        str(model),
        "--rate",
        "500",
        "--duration",
        WINDOW,
    ]
    command += ["--seed", str(seed), "--catalog", str(catalog), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    ended_ns = time.monotonic_ns()
    found = json.loads(done.stdout)
    kept = Catalog.open(str(catalog), create=False)
    (block,) = blocks_of(kept, kept.run(found["run"]))
    return Measurement(values={"after_s": (ended_ns - block.record.end_ns) / NS_PER_S})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
