"""A configuration that no file says, as a service file that can be served: in a folder of links to the service's own."""

import os
from pathlib import Path

import msgspec

from trivet.errors import UserError
from trivet.spec.configuration import Configuration
from trivet.spec.service import Service, Stage
from trivet.spec.service_file import load_configuration
from trivet.spec.sources import is_target
from trivet.spec.yaml_text import service_yaml

SERVICE_FILE = "service.yaml"


def laid_out(configuration: Configuration, folder: Path) -> Path:
    """Write the configuration's service file into `folder`, an empty one; its path.

    Raises: UserError: what is written is read back as another configuration.
    """
    root = Path(configuration.root).absolute()
    for entry in root.iterdir():
        if entry.name != SERVICE_FILE:
            (folder / entry.name).symlink_to(entry)
    path = folder / SERVICE_FILE
    path.write_text(service_yaml(_from_anywhere(configuration.service, root)))
    found = load_configuration(path)
    if found.hash != configuration.hash:
        raise UserError(
            f"configuration {configuration.short_hash} is read back from its own text as {found.short_hash}; "
            "name the service's files from its folder"
        )
    return path


def _from_anywhere(service: Service, root: Path) -> Service:
    """Files above the service's folder by their whole names: links lead to what is in it."""
    models = {
        name: msgspec.structs.replace(
            model,
            file=model.file and _whole(model.file, root),
            python=model.python and _whole(model.python, root),
            files=tuple(_whole(file, root) for file in model.files),
        )
        for name, model in service.models.items()
    }
    data, decode = service.data, service.decode
    if data is not None:
        data = msgspec.structs.replace(data, path=_whole(data.path, root))
    if decode is not None and isinstance(decode.labels, str):
        decode = msgspec.structs.replace(decode, labels=_whole(decode.labels, root))
    stages = tuple(_stage(stage, root) for stage in service.pipeline)
    return msgspec.structs.replace(service, models=models, pipeline=stages, data=data, decode=decode)


def _stage(stage: Stage, root: Path) -> Stage:
    return msgspec.structs.replace(
        stage,
        preprocess=stage.preprocess and _whole(stage.preprocess, root),
        postprocess=stage.postprocess and _whole(stage.postprocess, root),
        files=tuple(_whole(file, root) for file in stage.files),
    )


def _whole(name: str, root: Path) -> str:
    if os.path.isabs(name) or ".." not in Path(name).parts or (is_target(name) and ".py:" not in name):
        return name
    return os.path.normpath(root / name)
