"""Export to a real MLflow store: a folder of files, as MLflow keeps runs without a server."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.catalog.catalog_support import FIGURES, Calendar, draft
from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.machine import Processor
from trivet.catalog.mlflow_export import export_runs, params
from trivet.catalog.records import Run
from trivet.cli.main import cli
from trivet.errors import ExtraMissingError, UserError
from trivet.spec.row import Row, RowColumns, RowsHeader


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(str(tmp_path / "catalog"), now=Calendar())


@pytest.fixture
def run(catalog: Catalog) -> Run:
    rows = RowColumns.of_rows(RowsHeader(writer="test"), [Row(intended_ns=1, done_ns=5)])
    run_id = catalog.begin(
        draft(
            tags={"branch": "main", "odd name!": "x"},
            group="g1",
            configuration={"levers": {"max_batch_size": 8, "file.py:f(x)": "auto"}, "long": "y" * 9000},
            environment=Environment(trivet="0.1", processor=Processor(model="Fast CPU")),
        )
    )
    artifacts = {"rows": catalog.put_rows(rows), "model:tiny": catalog.put(b"weights")}
    catalog.finish(run_id, "partial", figures=FIGURES, reason="Ctrl-C", artifacts=artifacts)
    return catalog.run(run_id)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return str(tmp_path / "mlruns")


def client(store: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=store)


@pytest.mark.filterwarnings("default")  # MLflow's own imports warn of each other
def test_a_run_is_exported_whole_and_once(catalog: Catalog, run: Run, store: str, tmp_path: Path) -> None:
    exported = export_runs(catalog, [run], store)
    found = client(store).get_run(exported[run.id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == f"tiny {run.id}"
    assert (found.info.end_time - found.info.start_time) == 60_000
    assert found.data.metrics == {
        "latency_p99_ms": 4.2,
        "latency_p99_ms_low": 4.0,
        "latency_p99_ms_high": 4.6,
        "throughput_rps": 995.5,
        "accuracy": 0.91,
        "accuracy_low": 0.88,
        "accuracy_high": 0.94,
    }
    expected = {
        "configuration.levers.max_batch_size": "8",
        "configuration.levers.file.py:f_x_": "auto",
        "configuration.long": "y" * 6000,
        "workload.rate_rps": "1000",
        "workload.duration_s": "10.5",
        "workload.arrivals": "poisson",
        "seed.arrivals": "1",
        "seed.inputs": "2",
        "dataset.digest": run.dataset["digest"],
        "dataset.split": "test",
    }
    assert found.data.params == expected == params(run)
    tags = found.data.tags
    assert (tags["trivet.run"], tags["trivet.state"], tags["trivet.reason"]) == (run.id, "partial", "Ctrl-C")
    assert (tags["tag.branch"], tags["tag.odd name_"], tags["trivet.processor"]) == ("main", "x", "Fast CPU")
    names = {item.path for item in client(store).list_artifacts(exported[run.id])}
    assert names == {"run.json", "rows.parquet", "model_tiny"}
    copy = Path(client(store).download_artifacts(exported[run.id], "run.json", str(tmp_path)))
    assert json.loads(copy.read_text())["id"] == run.id
    assert export_runs(catalog, [run], store) == exported


@pytest.mark.filterwarnings("default")
def test_runs_that_did_not_end_well_have_mlflows_word_for_it(catalog: Catalog, store: str) -> None:
    words = {"complete": "FINISHED", "invalid": "FAILED", "failed": "FAILED", "interrupted": "KILLED"}
    runs = {}
    for state, word in words.items():
        run_id = catalog.begin(draft())
        catalog.finish(run_id, state, figures={})  # type: ignore[arg-type]
        runs[run_id] = word
    exported = export_runs(catalog, [catalog.run(run_id) for run_id in runs], store, experiment="others")
    found = {run_id: client(store).get_run(exported[run_id]).info.status for run_id in runs}
    assert found == runs


@pytest.mark.filterwarnings("default")
def test_a_place_that_mlflow_refuses_is_told(catalog: Catalog, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MLflow at .*nowhere"):
        export_runs(catalog, [run], "nowhere://x")


def test_without_mlflow_the_extra_is_named(
    catalog: Catalog, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(ExtraMissingError, match=r"trivet\[mlflow\]"):
        export_runs(catalog, [run], "mlruns")


@pytest.mark.filterwarnings("default")
def test_the_listed_runs_are_copied_by_the_command(
    catalog: Catalog, run: Run, store: str, tmp_path: Path
) -> None:
    catalog.begin(draft(service="another"))
    arguments = [
        "runs",
        "--service",
        "tiny",
        "--json",
        "--mlflow",
        store,
        "--catalog",
        str(tmp_path / "catalog"),
    ]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stderr) == (0, f"in MLflow at {store}: 1 runs\n")
    assert [item["id"] for item in json.loads(result.stdout)] == [run.id]
    found = client(store)
    experiment = found.get_experiment_by_name("trivet").experiment_id
    assert [one.data.tags["trivet.run"] for one in found.search_runs([experiment])] == [run.id]
