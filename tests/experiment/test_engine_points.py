"""Sizes of an engine visited in turn, on a virtual clock."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from trivet.experiment.simulating.engine_points import EngineJob, sizes_in_turn
from trivet.experiment.simulating.profiled_inputs import Arrays, Measurable
from trivet.spec.service_file import load_configuration

MS = 1_000_000


class Engine:
    """3 ms a row; the second batch of a size takes seven times as long."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._ran: Counter[int] = Counter()

    def run(self, inputs: Arrays) -> None:
        rows = len(inputs["x"])
        self._ran[rows] += 1
        self.now_ns += 3 * MS * rows * (7 if self._ran[rows] == 2 else 1)


@pytest.mark.parametrize("longest_ms", [20, 200])
def test_the_run_in_which_an_engine_gets_its_memory_is_no_time_of_it(models: Path, longest_ms: int) -> None:
    engine = Engine()
    stage = Measurable("m", engine.run, {0: lambda rows: {"x": np.zeros((rows, 1))}}, max_rows=16)
    job = EngineJob(
        configuration=load_configuration(models / "matmul.onnx"),
        num_cores=1,
        point_ns=400 * MS,
        longest_ns=longest_ms * MS,
    )
    times, order = sizes_in_turn(stage, 0, job, lambda: engine.now_ns)
    assert sorted(times) == ([1, 2, 4, 8] if longest_ms == 20 else [1, 2, 4, 8, 16])
    assert {rows: {ns for visit in visits for ns in visit} for rows, visits in times.items()} == {
        rows: {3 * MS * rows} for rows in times
    }
    assert Counter(order) == {rows: len(visits) for rows, visits in times.items()}
