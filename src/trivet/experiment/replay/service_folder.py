"""A recorded service as files in a folder again, so that it can be served: the way back from a run to a service.yaml."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import msgspec

from trivet.catalog.records import Run
from trivet.errors import SpecError
from trivet.experiment.data_files import put_back
from trivet.experiment.replay.archive import BundleError, digest_of
from trivet.spec.service import Service
from trivet.spec.service_file import load_configuration
from trivet.spec.yaml_text import service_yaml

SERVICE_FILE = "service.yaml"


class Store(Protocol):
    """Artifacts by digest: a catalog, or a bundle."""

    def has(self, digest: str) -> bool: ...

    def get(self, digest: str) -> bytes: ...


def check_portable(configuration: Mapping[str, Any]) -> None:
    """Raises: BundleError: a file is declared by an absolute name, which means nothing elsewhere."""
    for file in configuration.get("files", ()):
        if os.path.isabs(file["name"]):
            raise BundleError(
                f"the service names {file['name']!r}: an absolute name means nothing elsewhere; name files from the "
                "service file's folder, and measure again"
            )


def file_bytes(file: Mapping[str, str], store: Store, root: Path) -> bytes:
    """A file that a configuration covers: from the store, else from where it was, if it is still the same there.

    Args: root: the folder that the recorded paths start from.
    Raises: BundleError: neither has these bytes.
    """
    digest = f"sha256:{file['digest']}"
    if store.has(digest):
        return store.get(digest)
    path = root / file["path"]
    if path.is_file() and digest_of(data := path.read_bytes()) == digest:
        return data
    raise BundleError(
        f"{file['name']!r} ({digest[:19]}) is not kept, and {path} is not that file any more: "
        "what was measured cannot be put together again"
    )


def restore(run: Run, store: Store, folder: Path, data: bytes | None = None) -> Path:
    """Write the service of a run into `folder`, an empty one; the path of its service.yaml.

    Args: data: what is kept of the service's data.
    Raises: BundleError: a file is missing, would lie outside the folder, or together they are not what was recorded.
    """
    check_portable(run.configuration)
    files = run.configuration["files"]
    service = msgspec.convert(run.configuration["service"], Service)
    if service.data is not None and os.path.isabs(service.data.path):
        # Where the data lies is no part of the configuration; an absolute place is nobody's but the recorder's.
        beside = msgspec.structs.replace(service.data, path=f"data{Path(service.data.path).suffix}")
        service = msgspec.structs.replace(service, data=beside)
    names = [file["path"] for file in files] + ([service.data.path] if service.data is not None else [])
    root = _root(folder, names)
    source = Path(run.configuration.get("source", "")).parent
    for file in files:
        _write(_inside(folder, root, file["path"]), file_bytes(file, store, source))
    if data is not None and service.data is not None:
        put_back(_inside(folder, root, service.data.path), data, run.dataset.get("form", ""))
    path = root / SERVICE_FILE
    path.write_text(service_yaml(service))
    try:
        found = load_configuration(path).hash
    except SpecError as error:
        raise BundleError(f"the recorded service cannot be read again: {error}") from None
    if found != run.configuration_hash:
        raise BundleError(
            f"the recorded files and levers make configuration {found[:12]}, and {run.configuration_hash[:12]} was "
            "recorded: the record is damaged, or of another version of trivet"
        )
    return path


def _root(folder: Path, names: list[str]) -> Path:
    """Deep enough that files beside the service's own folder (`../models/m.onnx`) are inside `folder`, too."""
    ups = max((PurePosixPath(os.path.normpath(name)).parts.count("..") for name in names), default=0)
    root = folder.joinpath("service", *(["service"] * ups))
    root.mkdir(parents=True, exist_ok=True)
    return root


def _inside(folder: Path, root: Path, name: str) -> Path:
    path = Path(os.path.normpath(root / name))
    if os.path.isabs(name) or not path.is_relative_to(folder) or path == root / SERVICE_FILE:
        raise BundleError(
            f"the recorded file {name!r} would lie outside of the service's folder, or hide its own file"
        )
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
