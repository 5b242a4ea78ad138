"""The commands as a user types them, in their own process or through click's runner."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trivet.cli.main import cli


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


def test_validate_prints_the_same_hash_as_text_and_json(models: Path) -> None:
    path = str(models / "tiny.onnx")
    values = json.loads(run("validate", path, "--json").output)
    assert f"# configuration {values['hash']}" in run("validate", path).output
    assert values["service"]["models"]["tiny"]["levers"]["max_batch_size"] == "auto"


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
