"""`trivet precompute`: from its options to a published table, and what is said of it."""

import os
import sys
from pathlib import Path

import msgspec

from trivet.cli.live_line import LiveLine
from trivet.experiment.precomputing.precompute import Published, give_way, precompute
from trivet.runtime.preparing.profile import cache_folder
from trivet.runtime.preparing.resolving import known_resolutions
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration

_DEFAULT_TABLE = "answers.parquet"


def precomputed_text(
    service: Path, inputs: Path, output: Path | None, *, gives_way: bool, as_json: bool
) -> str:
    """Raises: UserError: as `precompute`."""
    configuration = load_configuration(service)
    if gives_way:
        _keep_profiles_apart(configuration)
        give_way()
    with LiveLine(sys.stderr) as line:
        published = precompute(
            configuration,
            inputs,
            output or _declared_table(configuration),
            progress=lambda progress: line.step(str(progress)),
            say=line.say,
        )
    return msgspec.json.encode(published).decode() if as_json else _text(published, configuration)


def _keep_profiles_apart(configuration: Configuration) -> None:
    """What is timed in the time that others leave is no profile for a server: it is kept where only such jobs look."""
    if any(resolution is None for resolution in known_resolutions(configuration).values()):
        os.environ["TRIVET_CACHE"] = str(cache_folder() / "idle")


def _declared_table(configuration: Configuration) -> Path:
    declared = configuration.service.precomputed
    return Path(configuration.root, _DEFAULT_TABLE if declared is None else declared.table)


def _text(published: Published, configuration: Configuration) -> str:
    lines = [
        f"{published.table}: answers to {published.distinct} inputs of configuration {configuration.short_hash}, "
        f"{published.rows} rows in {published.seconds:.1f} s"
    ]
    if published.failed:
        lines.append(
            f"{published.failed} rows were answered with an error and are not in it; the first: "
            f"{published.first_error}"
        )
    if configuration.service.precomputed is None:
        lines.append(
            f"to serve from it, declare in the service file:  precomputed: {{table: {Path(published.table).name}}}"
        )
    return "\n".join(lines)
