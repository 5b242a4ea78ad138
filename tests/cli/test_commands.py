"""The commands as a user types them, in their own process or through click's runner."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks import models as build
from tests.support.runtime import prepared
from trivet.cli.main import cli
from trivet.runtime.preparing.preparing import Prepared, PreparedModel


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_help_names_every_command() -> None:
    text = run("--help").output
    for command in ("serve", "validate", "init", "completion"):
        assert command in text


def test_init_writes_a_service_that_validates(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "tiny.onnx"
    model.write_bytes((models / "tiny.onnx").read_bytes())
    (tmp_path / "d.csv").write_text(",".join([f"f{i}" for i in range(30)] + ["label"]) + "\n")
    output = tmp_path / "service.yaml"
    arguments = ("init", str(model), "--data", str(tmp_path / "d.csv"), "--output", str(output))
    assert run(*arguments).exit_code == 0
    assert "label: label" in output.read_text()
    valid = run("validate", str(output))
    assert (valid.exit_code, "not profiled yet" in valid.output) == (0, True)
    again = run(*arguments)
    assert (again.exit_code, "--force" in again.output) == (1, True)
    assert run(*arguments, "--force").exit_code == 0
    assert "note:" not in again.output + valid.output


def test_init_says_what_it_could_not_guess(models: Path, tmp_path: Path) -> None:
    model = tmp_path / "tiny.onnx"
    model.write_bytes((models / "tiny.onnx").read_bytes())
    (tmp_path / "d.csv").write_text("a,b\n")
    output = tmp_path / "service.yaml"
    found = run("init", str(model), "--data", str(tmp_path / "d.csv"), "--output", str(output))
    assert found.exit_code == 0
    assert "note: no column of d.csv was found for the input x: name it in" in found.stderr
    assert "note: no column of d.csv looks like a label" in found.stderr


def test_validate_prints_the_same_hash_as_text_and_json(models: Path) -> None:
    path = str(models / "tiny.onnx")
    values = json.loads(run("validate", path, "--json").output)
    assert f"# configuration {values['hash']}" in run("validate", path).output
    assert values["service"]["models"]["tiny"]["levers"]["max_batch_size"] == "auto"


PIPELINE = """
inputs: [{name: text, datatype: BYTES, shape: [1]}]
outputs: [{name: twice, datatype: FP32, shape: [-1, -1]}]
models: {m: {file: m.onnx}}
pipeline:
  - preprocess: steps.py:count
  - model: m
  - {postprocess: "steps.py:double", inputs: {x: y}, execution: process}
priorities: {min_share: 0.1}
data: {path: data.csv, columns: {text: t}}
"""
STEPS = """
import numpy as np
def count(inputs): return {"x": np.array([[len(inputs["text"][0])]], np.float32)}
def double(inputs): return {"twice": inputs["x"] * 2}
"""


def test_validate_shows_what_auto_became_for_each_stage(tmp_path: Path) -> None:
    build.write(build.identity(), tmp_path / "m.onnx")
    (tmp_path / "data.csv").write_text("t\na\nbb\n")
    path = tmp_path / "service.yaml"
    before = run("validate", str(write(path, PIPELINE, STEPS))).output
    for line in (
        "# workers here: 1 (auto",
        "# steps.py:count here: not profiled yet",
        "# m here: not profiled yet",
        "# steps.py:double here: not profiled yet",
        "min_share: 0.1",
    ):
        assert line in before
    close(prepared(tmp_path, PIPELINE, STEPS))
    after = run("validate", str(path)).output
    for pattern in (
        r"# steps.py:count here: execution inline, .* ms for one, profiled on 2 rows of data\n",
        r"# m here: execution inline, instances 1, threads 1, .*, profiled on 2 rows of data of length 1\n",
        r"# steps.py:double here: execution process, instances \d+, .*max_batch_size 1, .* on 2 rows of data of length 1",
    ):
        assert re.search(pattern, after), after
    values = json.loads(run("validate", str(path), "--json").output)
    assert values["workers"] == 1
    assert values["resolution"]["steps.py:double"]["execution"] == "process"


def test_validate_names_an_input_that_nobody_gives(tmp_path: Path) -> None:
    build.write(build.identity(), tmp_path / "m.onnx")
    wrong = PIPELINE.replace(
        "steps.py:count", "steps.py:count\n    outputs: [{name: x, datatype: FP32, shape: [1]}]"
    )
    wrong = wrong.replace("- model: m", "- {model: m, inputs: {x: xx}}")
    result = run("validate", str(write(tmp_path / "service.yaml", wrong, STEPS)))
    assert result.exit_code == 1
    assert f"{tmp_path / 'service.yaml'}:8: no earlier stage gives 'xx'" in result.output


def write(path: Path, service: str, code: str) -> Path:
    path.write_text(service)
    (path.parent / "steps.py").write_text(code)
    return path


def close(ready: Prepared) -> None:
    for stage in ready.stages:
        if isinstance(stage, PreparedModel):
            for engine in stage.engines:
                engine.close()


def test_a_wrong_key_is_told_with_file_line_and_the_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text("models:\n  m:\n    file: m.onnx\n    levers:\n      max_batchsize: 3\n")
    result = run("validate", str(path))
    assert result.exit_code == 1
    assert f"{path}:5: unknown key 'max_batchsize'" in result.output
    assert "did you mean 'max_batch_size'?" in result.output


def test_nothing_to_serve_and_contradictions_are_told() -> None:
    assert "nothing to serve" in run("serve").output
    assert "expected a count, or auto" in run("serve", "m.onnx", "--workers", "many").output
    assert "choose another" in run("serve", "m.onnx", "--port", "8002").output


def test_completion_scripts() -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_TRIVET_COMPLETE" in run("completion", shell).output


def test_importing_trivet_and_its_help_load_no_heavy_module() -> None:
    """Import time is a promise; what it hangs on is which modules are loaded."""
    code = (
        "import sys, trivet, trivet.cli.main\n"
        "heavy = {'numpy', 'onnxruntime', 'starlette', 'uvicorn', 'uvloop', 'prometheus_client', 'yaml'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
