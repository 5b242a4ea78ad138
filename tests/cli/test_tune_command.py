"""`trivet tune` before anything is measured, what it prints, and the hint that `trivet serve` takes."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import models
from tests.tune.studies import goal, study, trial
from trivet.catalog.catalog import Catalog
from trivet.catalog.study import Goal, Study
from trivet.cli.deployment import deployment
from trivet.cli.main import cli
from trivet.cli.tune_text import study_text


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["tune", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def service(tmp_path: Path) -> Path:
    models.write(models.matmul(), tmp_path / "m.onnx")
    path = tmp_path / "service.yaml"
    path.write_text("name: tiny\nmodels: {m: {file: m.onnx}}\nslo: {latency: 10ms}\n")
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a service.yaml or a model file, or --list"),
        (["http://127.0.0.1:1"], "a server elsewhere has no levers of ours"),
        (["nothing.yaml"], "no such file"),
    ],
)
def test_what_cannot_be_tuned_is_told(tmp_path: Path, arguments: list[str], message: str) -> None:
    code, output = run(*arguments, "--catalog", str(tmp_path))
    assert code == 1
    assert message in output


@pytest.mark.parametrize("budget", ["soon", "0s", "5"])
def test_a_budget_is_a_duration(service: Path, tmp_path: Path, budget: str) -> None:
    code, output = run(str(service), "--catalog", str(tmp_path / "c"), "--budget", budget)
    assert code == 1
    assert "--budget" in output


def test_only_a_study_of_the_same_configuration_goes_on(service: Path, tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "c")) as catalog:
        draft = Study(service="tiny", budget_ns=1, goal=Goal(slo_latency_ns=1), base_hash="f" * 64)
        begun = catalog.begin_study(draft)
    code, output = run(str(service), "--catalog", str(tmp_path / "c"), "--resume", begun.id)
    assert code == 1
    assert "its trials say nothing of it; begin a new study" in output


def test_studies_are_listed(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path)) as catalog:
        assert "no studies yet" in run("--list", "--catalog", str(tmp_path))[1]
        begun = catalog.begin_study(Study(service="tiny", budget_ns=1, goal=Goal(slo_latency_ns=1)))
    assert begun.id in run("--list", "--catalog", str(tmp_path))[1]


def test_a_study_is_told_with_its_front_and_what_is_next(tmp_path: Path) -> None:
    trials = [trial(0, 100.0, 5.0, stage="default"), trial(1, 200.0, 4.0, threads=2)]
    lines = "\n".join(study_text(study(trials, goal(accuracy_drop=0.02)), tmp_path / "configuration.yaml"))
    assert "threads 2" in lines
    goal_line = "p99 within 50 ms, at most 2 points worse than the service as declared, objective rate"
    assert goal_line in lines.splitlines()[0]
    assert "as declared" in lines
    assert f"trivet serve {tmp_path}/configuration.yaml" in lines


def test_a_server_starts_with_the_hinted_workers(service: Path) -> None:
    assert deployment([str(service)], None, {}).workers == "auto"
    service.write_text(service.read_text() + "deployment: {workers: 3}\n")
    assert deployment([str(service)], None, {}).workers == 3
    assert deployment([str(service)], None, {"workers": "2"}).workers == 2
