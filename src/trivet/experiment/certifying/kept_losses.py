"""Measured losses of those who stand in under load, kept beside the catalog for whoever needs them later: the tuner."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from trivet.catalog.records import Figure
from trivet.errors import SpecError
from trivet.experiment.certifying.ladder_losses import RungLoss
from trivet.experiment.simulating.simulated import rung_configurations
from trivet.experiment.simulating.simulator_errors import folder
from trivet.spec.configuration import Configuration


def losses_path(configuration: Configuration, catalog_url: str | None = None) -> Path:
    """Of these models behind these stages: with other ones nothing of it holds."""
    every = [configuration, *rung_configurations(configuration)]
    parts = [one.stages_digest(len(one.service.pipeline)) for one in every]
    key = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
    return folder(catalog_url) / "losses" / f"{key}.json"


def keep_losses(path: Path, losses: Sequence[RungLoss]) -> None:
    """Replace the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(msgspec.json.encode(losses))
    draft.replace(path)


def kept_losses(path: Path) -> Mapping[str, Figure]:
    """By the name of who stands in; nothing: they were not measured. Raises: SpecError: a file that holds something else."""
    if not path.exists():
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[RungLoss])
    except msgspec.MsgspecError as error:
        raise SpecError(f"not a record of measured losses: {error}; move it away", str(path)) from None
    return {one.model: one.loss for one in found}
