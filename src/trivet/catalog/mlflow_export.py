"""Runs as MLflow keeps them: parameters, metrics with their intervals, tags and artifacts.

A metric `latency_p99_ms` has its interval beside it as `latency_p99_ms_low` and `latency_p99_ms_high`: MLflow knows
only single numbers. A run that was exported before is not exported again.
"""

import re
import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from trivet.catalog.catalog import Catalog
from trivet.catalog.records import Run, RunState
from trivet.errors import ExtraMissingError, UserError

EXPERIMENT = "trivet"
RUN_TAG = "trivet.run"
_STATUS: Mapping[RunState, str] = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "partial": "FINISHED",
    "invalid": "FAILED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_MAX_VALUE = 6000  # characters of a parameter
_BATCH = 100  # parameters that MLflow takes at once
_SUFFIX = {"rows": ".parquet", "answers": ".npz", "configuration": ".json"}


def export_runs(
    catalog: Catalog, runs: Iterable[Run], tracking_uri: str, experiment: str = EXPERIMENT
) -> dict[str, str]:
    """Args: tracking_uri: as MLflow has it: a server's URL, sqlite:///mlflow.db, or a folder where it still may.

    Returns the MLflow run id of each run's id.
    Raises: ExtraMissingError: MLflow is not installed.  UserError: MLflow cannot be reached, or refuses.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ExtraMissingError("export to MLflow", "mlflow") from None
    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        found = client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found is not None else client.create_experiment(experiment)
        return {run.id: _export(client, experiment_id, catalog, run) for run in runs}
    except MlflowException as error:
        raise UserError(f"MLflow at {tracking_uri}: {error}") from error


def _export(client: Any, experiment_id: str, catalog: Catalog, run: Run) -> str:
    from mlflow.entities import Metric, Param

    known = client.search_runs([experiment_id], filter_string=f"tags.`{RUN_TAG}` = '{run.id}'", max_results=1)
    if known:
        return str(known[0].info.run_id)
    begun_ms = _ms(run.begun)
    made = client.create_run(
        experiment_id, start_time=begun_ms, tags=tags(run), run_name=f"{run.service} {run.id}"
    )
    mlflow_id = str(made.info.run_id)
    ended_ms = _ms(run.ended) if run.ended is not None else begun_ms
    values = [Param(name, value) for name, value in params(run).items()]
    for first in range(0, len(values), _BATCH):
        client.log_batch(mlflow_id, params=values[first : first + _BATCH])
    client.log_batch(
        mlflow_id, metrics=[Metric(name, value, ended_ms, 0) for name, value in metrics(run).items()]
    )
    with tempfile.TemporaryDirectory() as folder:
        _write_artifacts(catalog, run, Path(folder))
        client.log_artifacts(mlflow_id, folder)
    # Last: a run that an export left half done is not FINISHED.
    client.set_terminated(mlflow_id, _STATUS[run.state], end_time=ended_ms)
    return mlflow_id


def params(run: Run) -> dict[str, str]:
    """Configuration, workload, seeds and dataset by their paths, in names that MLflow takes."""
    values = {
        "configuration": run.configuration,
        "workload": run.workload,
        "seed": run.seeds,
        "dataset": run.dataset,
    }
    return {_name(path): str(value)[:_MAX_VALUE] for path, value in _leaves(values)}


def metrics(run: Run) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, figure in run.figures.items():
        values = {name: figure.estimate, f"{name}_low": figure.low, f"{name}_high": figure.high}
        found |= {_name(key): value for key, value in values.items() if value is not None}
    return found


def tags(run: Run) -> dict[str, str]:
    environment = run.environment
    values = {
        RUN_TAG: run.id,
        "trivet.kind": run.kind,
        "trivet.state": run.state,
        "trivet.reason": run.reason,
        "trivet.service": run.service,
        "trivet.configuration": run.configuration_hash,
        "trivet.group": run.group,
        "trivet.command": " ".join(run.command),
        "trivet.processor": environment.processor.model,
        "trivet.version": environment.trivet,
        "mlflow.source.git.commit": environment.code.commit,
    }
    values |= {f"tag.{_name(name)}": value for name, value in run.tags.items()}
    return {name: value for name, value in values.items() if value}


def _write_artifacts(catalog: Catalog, run: Run, folder: Path) -> None:
    """The whole record, and every artifact that the run names."""
    (folder / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run)))
    for name, digest in run.artifacts.items():
        target = folder / re.sub(r"[^\w.\-]", "_", name + _SUFFIX.get(name, ""))
        catalog.fetch(digest, target)


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _name(text: str) -> str:
    """MLflow takes letters, digits and _ - . space : / in names."""
    return re.sub(r"[^\w\-. :/]", "_", text)


def _ms(date: str) -> int:
    return int(datetime.fromisoformat(date).timestamp() * 1000)
