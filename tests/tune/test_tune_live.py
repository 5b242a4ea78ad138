"""A study on this machine: real servers, real load, runs in the catalog, and a configuration that is served."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import models
from trivet.catalog.catalog import Catalog
from trivet.catalog.records import RunFilter
from trivet.cli.main import cli
from trivet.spec.service_file import load_configuration


@pytest.mark.slow
def test_a_tiny_model_is_tuned_and_its_configuration_can_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    models.write(models.matmul(), tmp_path / "m.onnx")
    levers = "{deferral: default, queue: default, graph_optimization: default, max_batch_size: default}"
    (tmp_path / "service.yaml").write_text(
        f"name: tiny\nmodels: {{m: {{file: m.onnx}}}}\nslo: {{latency: 200ms}}\ntune: {{levers: {levers}}}\n"
    )
    folder = str(tmp_path / "catalog")
    # A busy machine sends late: what is tested is the way, not the figures.
    arguments = [
        "--variants",
        "none",
        "--budget",
        "60s",
        "--max-send-lag",
        "60s",
        "--json",
        "--catalog",
        folder,
    ]
    result = CliRunner().invoke(cli, ["tune", str(tmp_path / "service.yaml"), *arguments])
    assert result.exit_code in (0, 2), result.output
    study = json.loads(result.stdout)
    measured = [trial for trial in study["trials"] if trial["stage"] in ("default", "verified")]
    assert measured[0]["measured"]["max_rate_rps"]["estimate"] > 0
    with Catalog.open(folder) as catalog:
        kept = catalog.runs(RunFilter(kind="tune", tags=(("study", study["id"]),)))
        assert {run.id for run in kept} == {run for trial in study["trials"] for run in trial["runs"]}
        assert catalog.study("last").state == "complete"
    chosen = study["recommendation"]["trial"]
    written = load_configuration(tmp_path / "configuration.yaml")
    assert written.hash == study["trials"][chosen]["configuration_hash"]
    assert not list(tmp_path.glob(".trivet-trial-*"))
