"""Whether a server needs a background process, and what for. Read by the supervisor: no extra is imported here."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trivet.errors import ExtraMissingError, UserError
from trivet.serve.messages import Sampling
from trivet.spec.deployment import Deployment

ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


@dataclass(frozen=True, slots=True)
class BackgroundSettings:
    """What the background process does. `traces_url`: where spans are posted; empty: nowhere."""

    sampling: Sampling
    rows_dir: Path | None
    traces_url: str


def background_settings(
    deployment: Deployment, say: Callable[[str], None], environ: Mapping[str, str] = os.environ
) -> BackgroundSettings | None:
    """None: the deployment wants neither rows nor traces.

    Raises: ExtraMissingError: rows or traces are asked for without what writes them.
        UserError: rows_dir is no folder to write in, or rows_share is given and nothing is sampled.
    """
    traces_url = _traces_url(deployment, say, environ)
    rows_dir = None if deployment.rows_dir is None else _rows_dir(deployment.rows_dir)
    if rows_dir is None and not traces_url:
        if deployment.rows_share != Deployment(services=deployment.services).rows_share:
            raise UserError(
                "rows_share has no effect without --rows or --otel; add one of them, or leave it out"
            )
        return None
    sampling = Sampling(share=deployment.rows_share, traces=bool(traces_url))
    return BackgroundSettings(sampling, rows_dir, traces_url)


def _rows_dir(folder: str) -> Path:
    if not _is_installed("pyarrow"):
        raise ExtraMissingError("--rows (sampled rows as Parquet)", "rows")
    path = Path(folder).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--rows {folder}: {error.strerror}; name a folder, or one that can be made"
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"--rows {folder}: this user cannot write there; name another folder")
    return path


def _traces_url(deployment: Deployment, say: Callable[[str], None], environ: Mapping[str, str]) -> str:
    """Empty: no traces. The deployment's endpoint wins over the environment's; as there, paths are added to a base."""
    if deployment.otel_endpoint is not None:
        if not deployment.otel_endpoint.startswith(("http://", "https://")):
            raise UserError(
                f"--otel {deployment.otel_endpoint}: expected an address such as http://localhost:4318"
            )
        if not _is_installed(_EXPORTER):
            raise ExtraMissingError("--otel (OpenTelemetry export)", "otel")
        return _with_path(deployment.otel_endpoint)
    given = environ.get(TRACES_ENDPOINT) or environ.get(ENDPOINT)
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not given or is_off or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return ""
    # Set for every program of a machine, it must not keep a server without the extra from starting; asked for by
    # name, it would.
    if not _is_installed(_EXPORTER):
        say(f"{ENDPOINT} is set, but {ExtraMissingError('OpenTelemetry export', 'otel')}; no traces are sent")
        return ""
    return environ.get(TRACES_ENDPOINT) or _with_path(given)


def _with_path(base: str) -> str:
    return f"{base.rstrip('/')}/v1/traces"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
