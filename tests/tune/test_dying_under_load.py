"""A configuration whose server loses a process under load: the server goes on, and the trial is a result."""

from pathlib import Path

import pytest

from benchmarks import models
from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.experiment.placement import place
from trivet.experiment.workload import Workload
from trivet.spec.service_file import load_configuration
from trivet.tune.served import Kept, Served

SERVICE = """
name: dying
inputs: [{name: x, datatype: FP32, shape: [-1, 8]}]
models: {m: {file: m.onnx}}
pipeline:
  - {preprocess: steps.py:check, outputs: [{name: x, datatype: FP32, shape: [-1, 8]}]}
  - model: m
"""
STEPS = """
import os
import signal
from pathlib import Path

NOW = Path({folder!r}, "now")

def check(inputs):
    if NOW.exists():
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where there is no memory left
    return inputs
"""


@pytest.mark.slow
def test_a_process_that_dies_under_load_is_a_failure_with_its_run(tmp_path: Path) -> None:
    models.write(models.matmul(), tmp_path / "m.onnx")
    (tmp_path / "steps.py").write_text(STEPS.format(folder=str(tmp_path)))
    (tmp_path / "service.yaml").write_text(SERVICE)
    workload = Workload(rate_rps=100.0, duration_ns=300_000_000, max_send_lag_ns=60_000_000_000)
    with Catalog.open(str(tmp_path / "catalog")) as catalog:
        kept = Kept(catalog=catalog, environment=Environment(), command=("trivet", "tune"), tags={})
        with Served(load_configuration(tmp_path / "service.yaml"), 1, place(), kept, workload) as served:
            well, _ = served.block(workload, {})
            assert (well.failure, well.invalid) == ("", "")
            (tmp_path / "now").touch()
            dead, _ = served.block(workload, {})
        assert "a process of the server died under load (out of memory?)" in dead.failure
        assert "SIGKILL" in dead.failure
        assert [catalog.run(one.run).state for one in (well, dead)] == ["complete", "failed"]
        assert catalog.run(dead.run).reason == dead.failure
