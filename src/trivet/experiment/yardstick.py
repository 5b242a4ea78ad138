"""The yardstick: a service of fixed work that is measured in turn with another, so that a later replay can tell its times.

A machine that is shared changes its speed from minute to minute, and by how much depends on the work. What was measured in
turn has shared all of that: not how long a request took then is compared with now, but how long beside the yardstick's.

Source: the control side of an interleaved comparison; Bulej et al. (2020), "Duet Benchmarking", ICPE.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from trivet.catalog.records import Run
from trivet.errors import UserError
from trivet.experiment.target import Subject
from trivet.experiment.workload import Asking, Workload
from trivet.spec.configuration import Configuration

NAME = "trivet-yardstick"
NUM_BLOCKS = 10  # each on a start of its own where that takes no longer than the load: starts differ, too
SHARE = 0.2  # of a core, that its work takes at the rate of the load
ROUND_S = 20e-6  # of its work, about
MAX_ROUNDS = 50  # a millisecond: longer requests share a turn with nobody
_SIDE, _ROWS = 64, 16
_CODE = f"""
import json
import numpy as np

RNG = np.random.default_rng(0)
WEIGHTS = (RNG.standard_normal(({_SIDE}, {_SIDE})) / {_SIDE}**0.5).astype(np.float32)
BLOCK = RNG.standard_normal(({_ROWS}, {_SIDE})).astype(np.float32)

def predict(inputs):
    text = json.dumps(inputs["x"].tolist())
    rows = BLOCK + np.array(json.loads(text), np.float32)[:1]
    for _ in range({{rounds}}):
        rows = np.maximum(rows @ WEIGHTS, 0) - rows.mean()
    return {{{{"y": inputs["x"] + 0 * rows[0, 0]}}}}
"""
_SERVICE = f"""
name: {NAME}
inputs: [{{name: x, datatype: FP32, shape: [-1, {_SIDE}]}}]
outputs: [{{name: y, datatype: FP32, shape: [-1, {_SIDE}]}}]
models:
  work:
    python: work.py:predict
    batch_axis: true
    levers: {{max_batch_size: 1}}
"""


def write(folder: Path, rate_rps: float) -> Path:
    """Its service file, with as much work as a core does beside the rest at this rate."""
    rounds = min(MAX_ROUNDS, max(1, round(SHARE / rate_rps / ROUND_S)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "work.py").write_text(_CODE.format(rounds=rounds))
    path = folder / "service.yaml"
    path.write_text(_SERVICE)
    return path


def is_yardstick(run: Run) -> bool:
    return run.service == NAME


def is_yardstick_service(configuration: Configuration | None) -> bool:
    """Whether it is the yardstick's. None: of a server that runs elsewhere."""
    return configuration is not None and configuration.service.name == NAME


def with_yardstick(workload: Workload, subjects: Sequence[Subject], *, has_blocks: bool) -> Workload:
    """The load on both, in blocks.

    Args: has_blocks: their number is declared.
    Raises: UserError: no steady open loop, or not of one service that is started here.
    """
    is_steady = workload.scenario == "steady" and workload.rate_rps is not None
    if len(subjects) != 1 or not subjects[0].is_ours or not is_steady:
        raise UserError(
            "--yardstick is for one service or model that is started here, under a steady load: name one, and its --rate"
        )
    return workload if has_blocks else msgspec.structs.replace(workload, num_blocks=NUM_BLOCKS)


def workload_of_side(workload: Workload, configuration: Configuration | None) -> Workload:
    """What a side is offered: inputs, shapes and dialect are the measured service's, and nothing to the yardstick."""
    return (
        msgspec.structs.replace(workload, asking=Asking())
        if is_yardstick_service(configuration)
        else workload
    )
