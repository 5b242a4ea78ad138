"""A small service that can be changed in every way a replay or a gate must notice, and the commands run on it.

Its engine is Python: a fixed amount of arithmetic a row, times `WORK_FACTOR` of the environment, which is in no digest: how
an engine that has become slower looks from outside.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

NUM_FEATURES, NUM_CLASSES, NUM_ROWS = 16, 4, 200
ROUNDS = (
    60  # of the arithmetic: 1 to 2 ms on any processor with wide vectors, and 5 % of it is a whole number
)
CODE = """
import os
from pathlib import Path
import numpy as np

WEIGHTS = np.load(Path(__file__).with_name("weights.npy"))
ROUNDS = round({rounds} * float(os.environ.get("WORK_FACTOR", "1")))
TURN = np.linalg.qr(np.random.default_rng(2).random((64, 64)))[0].astype(np.float32)  # keeps what it multiplies in bounds

def predict(inputs):
    x = inputs["x"]
    busy = np.tile(WEIGHTS, (4, 16))
    for _ in range(ROUNDS):
        busy = busy @ TURN
    return {{"y": x @ WEIGHTS + 0 * busy[0, 0]}}
"""
SERVICE = """
name: changing
inputs: [{{name: x, datatype: FP32, shape: [-1, {features}]}}]
outputs: [{{name: y, datatype: FP32, shape: [-1, {classes}]}}]
models:
  work:
    python: work.py:predict
    files: [weights.npy]
    batch_axis: true
    levers: {{max_batch_size: {max_batch_size}, queue: {queue}}}
data: {{path: data.csv, columns: {{x: [{columns}]}}, label: label}}
decode: argmax
metric: accuracy
"""


@dataclass(frozen=True, slots=True)
class Changing:
    """The service in a folder. `rounds`: of its arithmetic, part of the code and so of the digest."""

    folder: Path
    rounds: int = ROUNDS
    max_batch_size: int = 1
    queue: str = "1s"
    weight: float = 0.0  # added to one weight

    @property
    def path(self) -> Path:
        return self.folder / "service.yaml"

    def write(self) -> "Changing":
        rng = np.random.default_rng(1)
        weights = rng.standard_normal((NUM_FEATURES, NUM_CLASSES)).astype(np.float32)
        rows = rng.standard_normal((NUM_ROWS, NUM_FEATURES)).astype(np.float32)
        labels = (rows @ weights).argmax(axis=1)
        weights[0, 0] += self.weight
        names = [f"f{i}" for i in range(NUM_FEATURES)]
        self.folder.mkdir(parents=True, exist_ok=True)
        np.save(self.folder / "weights.npy", weights)
        lines = [",".join(map(str, [*row.tolist(), label])) for row, label in zip(rows, labels, strict=True)]
        (self.folder / "data.csv").write_text("\n".join([",".join([*names, "label"]), *lines]) + "\n")
        (self.folder / "work.py").write_text(CODE.format(rounds=self.rounds))
        text = SERVICE.format(
            features=NUM_FEATURES,
            classes=NUM_CLASSES,
            max_batch_size=self.max_batch_size,
            queue=self.queue,
            columns=", ".join(names),
        )
        self.path.write_text(text)
        return self

    def changed(self, **changes: Any) -> "Changing":
        return replace(self, **changes).write()


def trivet(
    arguments: Sequence[str], catalog: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Run a command with --json; its exit code and what it printed.

    Raises: RuntimeError: it printed no JSON.
    """
    command = [sys.executable, "-m", "trivet.cli.main", *arguments, "--json"]
    env = {**os.environ, "TRIVET_CATALOG": str(catalog), **(environment or {})}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(
            f"trivet {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-2000:]}"
        ) from None


@contextlib.contextmanager
def library(requirement: str, folder: Path) -> Iterator[dict[str, str]]:
    """Variables under which another version of one package is imported, beside all others as they are."""
    if not folder.exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(folder),
            requirement,
        ]
        subprocess.run(command, check=True)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    yield {"PYTHONPATH": path}
