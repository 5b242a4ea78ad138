"""The process that measures engines: several visits of one start, and what it says when it cannot."""

from pathlib import Path

import pytest

from trivet.experiment.placement import Placement, place
from trivet.experiment.simulating.engine_points import EngineJob
from trivet.experiment.simulating.engine_process import EngineProcess, ProfilingError
from trivet.spec.service_file import load_configuration

MS = 1_000_000
CHATTY = """
print("loaded")

def double(inputs):
    print("called")
    return {"x": inputs["x"] * 2}
"""


def folder(tmp_path: Path, models: Path, text: str) -> Path:
    (tmp_path / "m.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    (tmp_path / "steps.py").write_text(CHATTY)
    path = tmp_path / "service.yaml"
    path.write_text(text)
    return path


def job(path: Path, longest_ns: int = 1_000 * MS) -> EngineJob:
    return EngineJob(
        configuration=load_configuration(path), num_cores=1, point_ns=4 * MS, longest_ns=longest_ns, lengths=1
    )


@pytest.fixture(scope="module")
def placement() -> Placement:
    return place()


def test_engines_are_asked_again_by_one_process_whatever_a_step_prints(
    tmp_path: Path, models: Path, placement: Placement
) -> None:
    path = folder(
        tmp_path,
        models,
        "inputs: [{name: x, datatype: FP32, shape: [-1, 8]}]\nmodels: {m: {file: m.onnx}}\n"
        "pipeline:\n  - {preprocess: steps.py:double, execution: inline, outputs: [{name: x, datatype: FP32, "
        "shape: [-1, 8]}]}\n  - model: m\n",
    )
    with EngineProcess(placement) as process:
        first, second = process.measure(job(path)), process.measure(job(path, longest_ns=1))
    assert {1, 2, 4, 64} <= set(first.stages[1].times[0])
    assert list(second.stages[1].times[0]) == [1]  # the first takes longer: none larger is run
    assert all(ns > 0 for rounds in first.stages[1].times[0].values() for times in rounds for ns in times)


def test_what_cannot_be_served_is_told_in_its_words(
    tmp_path: Path, models: Path, placement: Placement
) -> None:
    path = folder(tmp_path, models, "models: {m: {file: m.onnx}}\n")
    wanted = job(path)
    (tmp_path / "m.onnx").unlink()
    with EngineProcess(placement) as process, pytest.raises(ProfilingError, match=r"m\.onnx"):
        process.measure(wanted)
